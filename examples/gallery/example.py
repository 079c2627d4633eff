"""What the gallery's files share: an example is kernels, shapes and a torch reference, run on the emulator."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import tilelang_tt as tt
from tilelang_tt.program.relaunch import host_shapes

Shape = Sequence[Any]


@dataclass(frozen=True)
class Example:
    """Kernels, the arguments to build them with, and what they compute.

    Several kernels run one after the other: what one returns comes first among the parameters of the next.

    Args:
        kernels: ``@tilelang.jit`` functions, all built with the arguments of one of ``shapes``.
        reference: from the inputs as float64 tensors, the output or a tuple of outputs.
        outputs: which parameters of each kernel are outputs.
        sharded: from the arguments, the layout of tensors that are sharded in L1 (``partition_mode`` local_shard).
        tolerance: of the largest output. A bfloat16 output is rounded to 8 bits of mantissa, half of 2**-8 per element;
            the default leaves as much again for sums in another order. Kernels that round to bfloat16 on the way, such
            as the probabilities of attention, are given twice as much.
        draw: makes an input; default normally distributed numbers.
        sizes: symbolic sizes that a program, compiled once, is called with, one call each.
    """

    kernels: Sequence[Any]
    shapes: Sequence[Shape]
    reference: Callable[..., Any]
    outputs: Sequence[int] = (-1,)
    sharded: Callable[..., Mapping[str, Any]] | None = None
    tolerance: float = 2**-8
    draw: Callable[[Any], torch.Tensor] | None = None
    sizes: Sequence[Mapping[str, int]] = ()

    @property
    def name(self):
        return self.kernels[0].func.__name__

    def programs(self, shape: Shape, *, sharded: bool = False, device=None, schedule=None):
        layout = self.sharded(*shape) if sharded and self.sharded else {}
        options = {"device": device, "schedule": schedule, "out_idx": self.outputs}
        return [compiled(kernel.get_tir(*shape), layout, options) for kernel in self.kernels]

    def run(self, programs):
        """The largest error against torch, as a part of the largest output."""
        torch.manual_seed(0)
        return max(self.run_once(programs, sizes) for sizes in self.sizes or ({},))

    def run_once(self, programs, sizes):
        handed, given = [], []
        for program in programs:
            fresh = [(self.draw or random)(tensor) for tensor in inputs_of(program, sizes)[len(handed) :]]
            given += fresh
            handed = as_list(program(*handed, *fresh))
        expected = as_list(self.reference(*(tensor.double() for tensor in given)))
        return max(error(*pair) for pair in zip(handed, expected, strict=True))


def compiled(func, layout, options):
    names = {func.buffer_map[param].name for param in func.params}
    mine = {name: where for name, where in layout.items() if name in names}
    return tt.compile(func, layout=mine, **options)


def partitions(programs):
    """The partition of every grid."""
    return [launch.program.partition for program in programs for launch in program.launches]


def inputs_of(program, sizes):
    spec = program.spec_for(host_shapes(program.spec, sizes)) if sizes else program.spec
    return [tensor for index, tensor in enumerate(spec.tensors) if index not in spec.out_idx]


def random(tensor):
    return torch.randn(*tensor.host_shape).to(getattr(torch, tensor.dtype))


def as_list(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def error(found, expected):
    if not torch.isfinite(found).all():
        return float("inf")
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


def main(examples: Sequence[Example]):
    """Run every example over its shapes, and print its error against torch."""
    arguments = argparse.ArgumentParser(description="TileLang kernels against torch, on emulated Tensix cores.")
    arguments.add_argument("--device", help="a device name, default a Wormhole n150")
    device = arguments.parse_args().device
    wrong = 0
    for example in examples:
        for shape in example.shapes:
            for sharded in (False, True) if example.sharded else (False,):
                programs = example.programs(shape, sharded=sharded, device=device)
                found, mode = example.run(programs), partitions(programs)[0].mode
                wrong += found > example.tolerance
                print(f"{example.name:24} {shape!s:36} {mode:12} error {found:.1e} of {example.tolerance:.1e}")
    raise SystemExit(wrong > 0)
