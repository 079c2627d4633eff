"""A program on one ttnn device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import Code, ExecutionError, ProgramError
from ...program.relaunch import Relaunches, has_work
from ...program.spec import ProgramSpec
from ..call import shapes_of
from ..placement import size_args
from .descriptors import buffer_descriptors, kernel_descriptors, semaphore_descriptors
from .devices import check_device, device_of
from .tensors import check_tensor
from .versions import device_faults, ttnn_api

KEPT_SHAPES = 256
"""Combinations of symbolic sizes that stay prepared; the one prepared first goes for one more."""


@dataclass
class _Prepared:
    """What calls with tensors of the same layouts share. The descriptor is for the tensors of the last call."""

    layouts: list[Any]
    spec: ProgramSpec
    descriptor: Any
    buffer_ids: list[int] | None = None


class TtnnProgram:
    """A program made ready for one open ttnn device.

    The first call with tensors of some layouts builds the descriptors; ttnn then compiles the kernels and caches them.
    A later call with other tensors of the same layouts only exchanges addresses, and one with tensors of other symbolic
    sizes the runtime arguments: the kernels are not compiled again.
    """

    def __init__(self, spec: ProgramSpec, sources: Mapping[str, str], device: Any) -> None:
        """Make ``spec`` with its ``sources`` (file name -> text) ready for ``device``.

        Raises:
            ExecutionError: ``executor-unavailable`` for a ttnn or a kernel API of another version, ``device-mismatch``
                for a device without the cores it needs, ``unsupported`` for dtypes that ttnn does not have.
        """
        api = ttnn_api()
        if spec.metalium_api != api.table.kernel_api:
            raise ExecutionError(
                Code.EXECUTOR_UNAVAILABLE,
                f"the kernels of {spec.name} are written for another version of ttnn",
                subject=spec.name,
                found=spec.metalium_api,
                expected=api.table.kernel_api,
                hint="compile the kernel again, or install the version it was compiled for",
            )
        self.spec = spec
        self.device = device
        self._model = device_of(device)
        check_device(spec, self._model)
        for tensor in spec.tensors:
            api.data_format(tensor.data_format)
        for buffer in spec.circular_buffers:
            api.data_format(buffer.data_format)
        self._sources = dict(sources)
        self._outputs_last = sorted(range(len(spec.tensors)), key=lambda index: spec.tensors[index].direction != "in")
        self._buffers_on_shards = any(buffer.tensor is not None for buffer in spec.circular_buffers)
        self._relaunches = None if spec.dynamic is None else Relaunches(spec)
        # By the tensors' shapes where these differ from call to call.
        self._prepared: dict[tuple[Any, ...], list[_Prepared]] = {}

    def run(self, tensors: Sequence[Any], shapes: Sequence[tuple[int, ...] | None] | None = None) -> None:
        """Run once on ttnn tensors for all parameters in their order; outputs are written in place.

        ``shapes`` are what :func:`shapes_of` says of the arguments that they are made of, which may be numbers.

        Returns as soon as ttnn has queued the program, as ttnn's own operations do.

        Raises:
            ProgramError: ``argument-count``, ``argument-shape``, ``argument-dtype`` or ``argument-layout``, for tensors
                that are not what the program was compiled for.
            ExecutionError: ``device-fault``, when ttnn cannot build or launch the kernels.
        """
        prepared = self._prepare(tensors, shapes)
        if not has_work(prepared.spec):
            return
        descriptor = self._bound(prepared, tensors)
        with device_faults("launching the program", self.spec.name):
            ttnn_api().ttnn.generic_op([tensors[index] for index in self._outputs_last], descriptor)

    def descriptor(self, tensors: Sequence[Any]) -> Any:
        """The ttnn ProgramDescriptor for ``tensors``, good until the next call with others; raises as :meth:`run`."""
        return self._bound(self._prepare(tensors), tensors)

    def _bound(self, prepared: _Prepared, tensors: Sequence[Any]) -> Any:
        buffer_ids = [tensor.buffer_unique_id() for tensor in tensors]
        if prepared.buffer_ids != buffer_ids:
            common_args = [tensor.buffer_address() for tensor in tensors] + size_args(prepared.spec)
            # The descriptor's own kernels are changed: a new descriptor would copy every core's arguments.
            for kernel in prepared.descriptor.kernels:
                kernel.common_runtime_args = common_args
            if self._buffers_on_shards:
                prepared.descriptor.cbs = buffer_descriptors(prepared.spec, tensors)
            prepared.buffer_ids = buffer_ids
        return prepared.descriptor

    def _prepare(self, tensors: Sequence[Any], given: Sequence[tuple[int, ...] | None] | None = None) -> _Prepared:
        if len(tensors) != len(self.spec.tensors):
            raise ProgramError(
                Code.ARGUMENT_COUNT,
                f"{self.spec.name} has {len(self.spec.tensors)} tensors",
                found=f"{len(tensors)} tensors",
                expected=", ".join(tensor.name for tensor in self.spec.tensors),
            )
        # A ttnn tensor's spec is its shape, dtype and memory configuration: checked once, it need not be again.
        layouts = [tensor.spec for tensor in tensors]
        shapes = () if self._relaunches is None else tuple(given or shapes_of(self.spec, tensors))
        known = self._prepared.get(shapes, [])
        if all(tensor.device() is self.device for tensor in tensors):
            for prepared in known:
                if prepared.layouts == layouts:
                    return prepared
        prepared = self._made(tensors, layouts, shapes)
        if len(self._prepared) == KEPT_SHAPES and shapes not in self._prepared:
            del self._prepared[next(iter(self._prepared))]
        self._prepared.setdefault(shapes, []).append(prepared)
        return prepared

    def _made(self, tensors: Sequence[Any], layouts: list[Any], shapes: tuple[Any, ...]) -> _Prepared:
        spec = self.spec if self._relaunches is None else self._relaunches.at(shapes)
        for parameter, tensor in zip(spec.tensors, tensors, strict=True):
            check_tensor(parameter, tensor, self.device, self._model)
        descriptor = ttnn_api().ttnn.ProgramDescriptor(
            kernels=kernel_descriptors(spec, self._sources, tensors, self._model.arch, self.device),
            semaphores=semaphore_descriptors(spec),
            cbs=buffer_descriptors(spec, tensors),
        )
        return _Prepared(layouts, spec, descriptor)
