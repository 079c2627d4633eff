"""Calling a program on a device with numpy arrays, torch tensors or ttnn tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...errors import Code, ProgramError
from ...program.spec import TensorSpec
from ..call import Stored, as_result, is_ttnn, launch_shapes, launch_specs, shapes_given
from ..host_tensors import HostTensor, bind, is_torch
from ..host_tensors import allocate as allocate_on_host
from .devices import current_device
from .program import TtnnProgram
from .tensors import allocate, download, upload

if TYPE_CHECKING:
    from ...program import Compiled, Program

_programs: WeakKeyDictionary[Program, TtnnProgram] = WeakKeyDictionary()


def call_on_device(program: Compiled, tensors: Sequence[Any]) -> Any:
    """Run ``program`` once on the device of the ttnn tensors among ``tensors``, else on :func:`current_device`.

    Tensors in host memory are copied to the device before the run and outputs among them back after it. Outputs that
    are returned are ttnn tensors where an argument is one. Otherwise as :func:`tilelang_tt.runtime.call.call`, which
    has counted the arguments.
    """
    given = iter(tensors)
    for index, tensor in enumerate(program.spec.tensors):
        if index not in program.spec.out_idx:
            _check_order(tensor, next(given))
    tensors = [tensor.tensor if isinstance(tensor, Stored) else tensor for tensor in tensors]
    spec = program.spec_for(shapes_given(program.spec, tensors))
    on_device = [tensor for tensor in tensors if is_ttnn(tensor)]
    device = next((place for tensor in on_device if (place := tensor.device()) is not None), None)
    device = current_device() if device is None else device
    loaded = [_loaded(launch.program, device) for launch in program.launches]
    launch_specs(program, spec)
    as_torch = any(is_torch(tensor) for tensor in tensors)
    given = iter(tensors)
    returned: list[Any] = []
    arguments: list[Any] = []
    copies: list[HostTensor | None] = []
    for index, tensor in enumerate(spec.tensors):
        if index not in spec.out_idx:
            argument = next(given)
        else:
            argument = allocate(tensor, device) if on_device else allocate_on_host(tensor, torch=as_torch)
            returned.append(Stored(argument) if on_device and tensor.storage is not None else argument)
        arguments.append(argument)
        # All host tensors are checked before the first is copied.
        copies.append(None if is_ttnn(argument) else bind(tensor, argument))
    placed = [
        argument if copy is None else upload(copy.spec, copy.array, device)
        for argument, copy in zip(arguments, copies, strict=True)
    ]
    every = placed + [allocate(tensor, device) for tensor in spec.all_tensors[len(placed) :]]
    for each, launch, shapes in zip(loaded, program.launches, launch_shapes(program, spec), strict=True):
        each.run([every[index] for index in launch.tensors], shapes)
    results = [
        (copy, download(copy.spec, tensor))
        for copy, tensor in zip(copies, placed, strict=True)
        if copy is not None and copy.spec.direction != "in"
    ]
    for copy, content in results:
        copy.give(content)
    return as_result(returned)


def _check_order(spec: TensorSpec, argument: Any) -> None:
    """Refuse a ttnn tensor whose order of dimensions is not the program's."""
    if not is_ttnn(argument) or isinstance(argument, Stored) == (spec.storage is not None):
        return
    if spec.storage is None:
        found, expected, hint = "a Stored tensor", "the tensor itself", None
    else:
        split, order = list(spec.storage.split), list(spec.storage.order)
        found, expected = "a ttnn tensor in the kernel's order", f"Stored(tensor of shape {list(spec.shape)})"
        hint = f"pass a host tensor, or Stored(ttnn.permute(ttnn.reshape(tensor, {split}), {order}))"
    raise ProgramError(
        Code.ARGUMENT_LAYOUT,
        f"argument {spec.name!r} is not in the order in which the program stores it",
        subject=spec.name,
        found=found,
        expected=expected,
        hint=hint,
    )


def _loaded(program: Program, device: Any) -> TtnnProgram:
    loaded = _programs.get(program)
    if loaded is None or loaded.device is not device:
        loaded = TtnnProgram(program.spec, program.sources, device)
        _programs[program] = loaded
    return loaded
