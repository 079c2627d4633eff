"""From a program's data to ttnn's descriptors of its kernels and circular buffers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...devices import Core
from ...program.spec import CircularBufferSpec, ComputeConfig, KernelSpec, ProgramSpec
from ..placement import launch_args, launched_cores
from .layouts import core_range_set
from .versions import ttnn_api


def program_cores(spec: ProgramSpec) -> Any:
    """The cores that the program is launched on, as a ttnn CoreRangeSet."""
    return core_range_set(sorted(launched_cores(spec), key=lambda core: (core[1], core[0])))


def kernel_descriptors(
    spec: ProgramSpec, sources: Mapping[str, str], tensors: Sequence[Any], architecture: str, device: Any
) -> list[Any]:
    """The program's kernels, all but their common runtime arguments, for tensors laid out as ``tensors`` are.

    Every core's runtime arguments are the program's canonical ones and, in the coordinates of ``device``, those of
    multicasts, the same for all kernels.
    """
    api = ttnn_api()
    ttnn = api.ttnn
    cores, runtime_args = program_cores(spec), ttnn.RuntimeArgs()

    def noc_place(core: Core) -> Core:
        place = device.worker_core_from_logical_core(ttnn.CoreCoord(*core))
        return place.x, place.y

    for (x, y), values in launch_args(spec, noc_place).items():
        runtime_args[x][y] = list(values)
    by_name = {tensor.name: tensors[index] for index, tensor in enumerate(spec.tensors)}
    return [
        ttnn.KernelDescriptor(
            kernel_source=sources[kernel.source],
            source_type=ttnn.KernelDescriptor.SourceType.SOURCE_CODE,
            core_ranges=cores,
            compile_time_args=_accessor_args(kernel, by_name),
            named_compile_time_args=list(kernel.named_args.items()),
            runtime_args=runtime_args,
            config=_config(kernel, spec.circular_buffers, architecture),
        )
        for kernel in spec.kernels
    ]


def semaphore_descriptors(spec: ProgramSpec) -> list[Any]:
    """The program's semaphores, on all its cores."""
    ttnn, cores = ttnn_api().ttnn, program_cores(spec)
    return [
        ttnn.SemaphoreDescriptor(id=semaphore.id, core_ranges=cores, initial_value=semaphore.initial_value)
        for semaphore in spec.semaphores
    ]


def buffer_descriptors(spec: ProgramSpec, tensors: Sequence[Any]) -> list[Any]:
    """The program's circular buffers: those on a shard lie on the shards of ``tensors``."""
    api = ttnn_api()
    ttnn = api.ttnn
    cores = program_cores(spec)
    by_name = {tensor.name: tensors[index] for index, tensor in enumerate(spec.tensors)}
    descriptors = []
    for buffer in spec.circular_buffers:
        size = buffer.page_size * buffer.num_pages
        if buffer.tensor is not None:
            # The cores are given: ttnn would take all of the shard grid, and knows it for its older shardings only.
            descriptor = ttnn.cb_descriptor_from_sharded_tensor(
                buffer.index, by_name[buffer.tensor], total_size=size, core_ranges=cores
            )
        else:
            pages = ttnn.CBFormatDescriptor(
                buffer_index=buffer.index, data_format=api.data_format(buffer.data_format), page_size=buffer.page_size
            )
            descriptor = ttnn.CBDescriptor(total_size=size, core_ranges=cores, format_descriptors=[pages])
        descriptors.append(descriptor)
    return descriptors


def _accessor_args(kernel: KernelSpec, by_name: Mapping[str, Any]) -> list[int]:
    ttnn = ttnn_api().ttnn
    args: list[int] = []
    for name in kernel.accessors:
        args.extend(ttnn.TensorAccessorArgs(by_name[name]).get_compile_time_args())
    return args


def _config(kernel: KernelSpec, buffers: Sequence[CircularBufferSpec], architecture: str) -> Any:
    ttnn = ttnn_api().ttnn
    if kernel.role == "reader":
        return ttnn.ReaderConfigDescriptor()
    if kernel.role == "writer":
        return ttnn.WriterConfigDescriptor()
    compute = kernel.compute or ComputeConfig()
    config = ttnn.ComputeConfigDescriptor(
        math_fidelity=getattr(ttnn.MathFidelity, compute.math_fidelity),
        fp32_dest_acc_en=compute.fp32_dest_acc,
        math_approx_mode=compute.math_approx_mode,
    )
    exact = {buffer.index for buffer in buffers if buffer.unpack_to_dest_fp32}
    if exact and not _lacks_unpack_to_dest(architecture):
        config.unpack_to_dest_mode = _unpack_modes(exact, architecture)
    return config


def _lacks_unpack_to_dest(architecture: str) -> bool:
    """The simulated Wormhole stops at float32 tiles on their way straight to DST: there they go as TF32."""
    return architecture == "wormhole" and bool(os.environ.get("TT_METAL_SIMULATOR"))


def _unpack_modes(exact: set[int], architecture: str) -> Any:
    api = ttnn_api()
    modes = api.descriptors.UnpackToDestMode
    return api.descriptors.VectorUnpackToDestMode(
        [
            modes.UnpackToDestFp32 if index in exact else modes.Default
            for index in range(api.table.circular_buffers[architecture])
        ]
    )
