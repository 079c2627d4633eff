"""A program on one ttnn device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import Code, ExecutionError, ProgramError
from ...program.spec import ProgramSpec
from .descriptors import buffer_descriptors, kernel_descriptors, semaphore_descriptors
from .devices import check_device, device_of
from .tensors import check_tensor
from .versions import device_faults, ttnn_api


@dataclass
class _Prepared:
    """What calls with tensors of the same layouts share. The descriptor is for the tensors of the last call."""

    layouts: list[Any]
    descriptor: Any
    buffer_ids: list[int] | None = None


class TtnnProgram:
    """A program made ready for one open ttnn device.

    The first call with tensors of some layouts builds the descriptors; ttnn then compiles the kernels and caches them.
    A later call with other tensors of the same layouts only exchanges addresses.
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
            api.dtype(tensor.dtype)
        for buffer in spec.circular_buffers:
            api.data_format(buffer.data_format)
        self._sources = dict(sources)
        self._outputs_last = sorted(range(len(spec.tensors)), key=lambda index: spec.tensors[index].direction != "in")
        self._buffers_on_shards = any(buffer.tensor is not None for buffer in spec.circular_buffers)
        self._prepared: list[_Prepared] = []

    def run(self, tensors: Sequence[Any]) -> None:
        """Run once on ttnn tensors for all parameters in their order; outputs are written in place.

        Returns as soon as ttnn has queued the program, as ttnn's own operations do.

        Raises:
            ProgramError: ``argument-count``, ``argument-shape``, ``argument-dtype`` or ``argument-layout``, for tensors
                that are not what the program was compiled for.
            ExecutionError: ``device-fault``, when ttnn cannot build or launch the kernels.
        """
        descriptor = self.descriptor(tensors)
        with device_faults("launching the program", self.spec.name):
            ttnn_api().ttnn.generic_op([tensors[index] for index in self._outputs_last], descriptor)

    def descriptor(self, tensors: Sequence[Any]) -> Any:
        """The ttnn ProgramDescriptor for ``tensors``, good until the next call with others; raises as :meth:`run`."""
        prepared = self._prepare(tensors)
        buffer_ids = [tensor.buffer_unique_id() for tensor in tensors]
        if prepared.buffer_ids != buffer_ids:
            addresses = [tensor.buffer_address() for tensor in tensors]
            # The descriptor's own kernels are changed: a new descriptor would copy every core's arguments.
            for kernel in prepared.descriptor.kernels:
                kernel.common_runtime_args = addresses
            if self._buffers_on_shards:
                prepared.descriptor.cbs = buffer_descriptors(self.spec, tensors)
            prepared.buffer_ids = buffer_ids
        return prepared.descriptor

    def _prepare(self, tensors: Sequence[Any]) -> _Prepared:
        if len(tensors) != len(self.spec.tensors):
            raise ProgramError(
                Code.ARGUMENT_COUNT,
                f"{self.spec.name} has {len(self.spec.tensors)} tensors",
                found=f"{len(tensors)} tensors",
                expected=", ".join(tensor.name for tensor in self.spec.tensors),
            )
        # A ttnn tensor's spec is its shape, dtype and memory configuration: checked once, it need not be again.
        layouts = [tensor.spec for tensor in tensors]
        if all(tensor.device() is self.device for tensor in tensors):
            for prepared in self._prepared:
                if prepared.layouts == layouts:
                    return prepared
        for spec, tensor in zip(self.spec.tensors, tensors, strict=True):
            check_tensor(spec, tensor, self.device, self._model)
        descriptor = ttnn_api().ttnn.ProgramDescriptor(
            kernels=kernel_descriptors(self.spec, self._sources, tensors, self._model.arch, self.device),
            semaphores=semaphore_descriptors(self.spec),
            cbs=buffer_descriptors(self.spec, tensors),
        )
        self._prepared.append(_Prepared(layouts, descriptor))
        return self._prepared[-1]
