"""Calling a program: its arguments checked and bound, an executor chosen, outputs written in place or returned."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Code, ExecutionError, ProgramError, nearest
from ..program.relaunch import has_work, host_shape, numbers_of
from ..program.spec import ProgramSpec
from .host_tensors import HostTensor, allocate, bind, is_torch, number_of, unknown
from .report import RunReport, SequenceReport, no_work

if TYPE_CHECKING:
    from ..program import Compiled
    from ..program.sequence_spec import SequenceSpec

EXECUTOR_ENV = "TILELANG_TT_EXECUTOR"
"""Environment variable: which executor runs programs called with tensors in host memory."""
EXECUTORS = ("emulator", "ttnn")


@dataclass(frozen=True)
class Stored:
    """A ttnn tensor that is in the order of storage already, for a parameter that is stored as a view of itself.

    Its shape is the ``shape`` of the program's :class:`~tilelang_tt.program.spec.TensorSpec`, whose ``storage`` says
    which reshape and which order of dimensions lead there.
    """

    tensor: Any


Report = RunReport | SequenceReport


def call(program: Compiled, tensors: Sequence[Any], *, executor: str | None = None) -> tuple[Any, Report | None]:
    """Run ``program`` once.

    Args:
        program: the program, or a sequence of them.
        tensors: numpy arrays, torch tensors or ttnn tensors for all parameters in their order, without those that are
            returned (``out_idx``). A ttnn tensor for a parameter that is stored as a view of itself is given, and
            returned, as :class:`Stored`. Outputs among them are written in place, all of them or, on failure, none.
        executor: ``"emulator"`` or ``"ttnn"``; default ``"ttnn"`` for ttnn tensors, else what ``TILELANG_TT_EXECUTOR``
            says, else the emulator.

    Returns:
        The result and the executor's report. The result is None, the one returned output, or a list of several: ttnn
        tensors if an argument is one, torch tensors if an argument is one, else numpy arrays. The report is None on a
        device, which counts nothing.

    Raises:
        ProgramError: ``argument-count``, ``argument-shape``, ``argument-dtype``, or ``bad-value`` for an output that
            cannot be written.
        ExecutionError: ``executor-unavailable``, or whatever stopped the run.
    """
    spec = program.spec
    _check_count(spec, tensors)
    chosen = _executor(executor, tensors)
    if chosen == "ttnn":
        from .ttnn_executor.call import call_on_device

        return call_on_device(program, tensors), None
    given = iter(tensors)
    as_torch = any(is_torch(tensor) for tensor in tensors)
    spec = program.spec_for(shapes_given(spec, tensors))
    returned = {index: allocate(spec.tensors[index], torch=as_torch) for index in spec.out_idx}
    bound = [
        bind(tensor, returned[index] if index in returned else next(given)) for index, tensor in enumerate(spec.tensors)
    ]
    report = _emulate(program, spec, bound)
    return as_result([returned[index] for index in spec.out_idx]), report


def as_result(returned: list[Any]) -> Any:
    """What a call gives for the outputs that it returns: None, the only one, or all of them."""
    return returned if len(returned) > 1 else returned[0] if returned else None


def is_ttnn(tensor: Any) -> bool:
    """Whether ``tensor`` is a ttnn tensor, in the order of storage or not."""
    if isinstance(tensor, Stored):
        return True
    ttnn = sys.modules.get("ttnn")
    return ttnn is not None and hasattr(ttnn, "Tensor") and isinstance(tensor, ttnn.Tensor)


def shapes_given(spec: ProgramSpec | SequenceSpec, tensors: Sequence[Any]) -> list[tuple[int, ...] | None]:
    """The shapes of the arguments of a call, by parameter; None for outputs that it returns."""
    given = iter(tensors)
    return shapes_of(spec, [None if index in spec.out_idx else next(given) for index in range(len(spec.tensors))])


def shapes_of(spec: ProgramSpec | SequenceSpec, tensors: Sequence[Any]) -> list[tuple[int, ...] | None]:
    """The shapes of tensors for all parameters, in the order of the caller's dimensions and by their rank: ttnn tensors
    are in the order of storage, and a vector [n] may be the matrix [1, n]. Of a number that is a size, that number."""
    shapes: list[tuple[int, ...] | None] = []
    for parameter, tensor in zip(spec.tensors, tensors, strict=True):
        if parameter.name in numbers_of(spec):
            shapes.append((number_of(parameter, tensor),))
            continue
        found = getattr(tensor, "shape", None)
        shape = None if found is None or spec.dynamic is None else tuple(found)
        if shape is not None and is_ttnn(tensor):
            shape = host_shape(parameter, shape)
        shapes.append(shape[1:] if shape and len(parameter.shape) == 1 and shape[:-1] == (1,) else shape)
    return shapes


def launch_specs(program: Compiled, spec: ProgramSpec | SequenceSpec) -> list[ProgramSpec]:
    """The data of each of the program's launches where its tensors are those of ``spec``."""
    each = zip(program.launches, launch_shapes(program, spec), strict=True)
    return [launch.program.spec_for(shapes) for launch, shapes in each]


def launch_shapes(program: Compiled, spec: ProgramSpec | SequenceSpec) -> list[list[tuple[int, ...] | None]]:
    """What :func:`shapes_of` says of the arguments of each launch."""
    numbers = numbers_of(spec)
    sizes = spec.dynamic.sizes if spec.dynamic is not None else {}
    shapes = [(sizes[tensor.name],) if tensor.name in numbers else tensor.host_shape for tensor in spec.all_tensors]
    return [[shapes[index] for index in launch.tensors] for launch in program.launches]


def _emulate(program: Compiled, spec: ProgramSpec | SequenceSpec, bound: Sequence[HostTensor]) -> Report:
    from ..program import Program

    specs = launch_specs(program, spec)
    intermediates = spec.all_tensors[len(bound) :]
    arrays = [tensor.array for tensor in bound] + [unknown(tensor) for tensor in intermediates]
    if len(specs) > 1:
        # A launch that fails must not leave behind what the ones before it wrote.
        arrays = [a.copy() if t.direction != "in" else a for a, t in zip(arrays, spec.all_tensors, strict=True)]
    reports = [
        _launch(each, launch.program.sources, [arrays[index] for index in launch.tensors])
        for each, launch in zip(specs, program.launches, strict=True)
    ]
    for tensor, array in zip(bound, arrays, strict=False):
        tensor.write_back(array)
    return reports[0] if isinstance(program, Program) else SequenceReport(tuple(reports))


def _launch(spec: ProgramSpec, sources: Mapping[str, str], arrays: Sequence[np.ndarray]) -> RunReport:
    from . import emulator

    return emulator.run(spec, sources, arrays) if has_work(spec) else no_work(spec)


def _executor(asked: str | None, tensors: Sequence[Any]) -> str:
    source = "executor" if asked is not None else EXECUTOR_ENV
    name = asked if asked is not None else os.environ.get(EXECUTOR_ENV) or None
    if name is not None and name not in EXECUTORS:
        raise ExecutionError(
            Code.EXECUTOR_UNAVAILABLE,
            "there is no such executor",
            subject=source,
            found=name,
            expected=" or ".join(EXECUTORS),
            hint=nearest(name, EXECUTORS),
        )
    if any(is_ttnn(tensor) for tensor in tensors):
        if asked == "emulator":
            raise ExecutionError(
                Code.EXECUTOR_UNAVAILABLE,
                "the emulator cannot run on ttnn tensors",
                subject=source,
                found="a ttnn tensor",
                expected="numpy arrays or torch tensors",
            )
        return "ttnn"
    return name or "emulator"


def _check_count(spec: ProgramSpec | SequenceSpec, tensors: Sequence[Any]) -> None:
    names = [tensor.name for index, tensor in enumerate(spec.tensors) if index not in spec.out_idx]
    if len(tensors) != len(names):
        returned = ", ".join(spec.tensors[index].name for index in spec.out_idx)
        raise ProgramError(
            Code.ARGUMENT_COUNT,
            f"{spec.name} takes {len(names)} tensors",
            subject=names[len(tensors)] if len(tensors) < len(names) else None,
            found=f"{len(tensors)} tensors",
            expected=f"{len(names)}: {', '.join(names)}" + (f" ({returned} is returned)" if returned else ""),
        )
