"""Calling a program on a device with numpy arrays, torch tensors or ttnn tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..call import as_result, is_ttnn
from ..host_tensors import HostTensor, bind, is_torch
from ..host_tensors import allocate as allocate_on_host
from .devices import current_device
from .program import TtnnProgram
from .tensors import allocate, download, upload

if TYPE_CHECKING:
    from ...program import Program

_programs: WeakKeyDictionary[Program, TtnnProgram] = WeakKeyDictionary()


def call_on_device(program: Program, tensors: Sequence[Any]) -> Any:
    """Run ``program`` once on the device of the ttnn tensors among ``tensors``, else on :func:`current_device`.

    Tensors in host memory are copied to the device before the run and outputs among them back after it. Outputs that
    are returned are ttnn tensors where an argument is one. Otherwise as :func:`tilelang_tt.runtime.call.call`, which
    has counted the arguments.
    """
    spec = program.spec
    on_device = [tensor for tensor in tensors if is_ttnn(tensor)]
    device = next((place for tensor in on_device if (place := tensor.device()) is not None), None)
    device = current_device() if device is None else device
    loaded = _loaded(program, device)
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
            returned.append(argument)
        arguments.append(argument)
        # All host tensors are checked before the first is copied.
        copies.append(None if is_ttnn(argument) else bind(tensor, argument))
    placed = [
        argument if copy is None else upload(copy.spec, copy.array, device)
        for argument, copy in zip(arguments, copies, strict=True)
    ]
    loaded.run(placed)
    results = [
        (copy, download(copy.spec, tensor))
        for copy, tensor in zip(copies, placed, strict=True)
        if copy is not None and copy.spec.direction != "in"
    ]
    for copy, content in results:
        copy.view[...] = content
    return as_result(returned)


def _loaded(program: Program, device: Any) -> TtnnProgram:
    loaded = _programs.get(program)
    if loaded is None or loaded.device is not device:
        loaded = TtnnProgram(program.spec, program.sources, device)
        _programs[program] = loaded
    return loaded
