"""LayoutAwareWorkPartitionTT: which core works on which blocks, from where each tensor lives and the user's schedule.

A thin adapter: the decision is :func:`tilelang_tt.partition.partition`'s, on plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..devices import Device
from ..language.kernel import KernelInfo, TensorAccess, read_kernel
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..partition import PlacedBuffer, parse_legacy_schedule, parse_user_schedule, partition
from .common import device_of, function_pass, layout_of, projection_of, with_attrs, work_grid


def LayoutAwareWorkPartitionTT(device: str | Device | None = None) -> tvm.transform.Pass:
    """The pass. Writes the partition's attributes (see ``attrs`` and docs/architecture.md) in global or local_shard mode.

    Args:
        device: whose cores to use; default the function's ``tt.device``, else a Wormhole n150.

    Raises, when run:
        LayoutError, ScheduleError, PartitionError, DeviceError: for everything that cannot be honoured exactly.
    """

    def rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
        plain, kernel = plain_attrs(func), read_kernel(func)
        result = partition(
            work_grid(kernel),
            kernel.kt,
            device_of(plain, device),
            [_placed(plain, kernel, tensor) for tensor in kernel.tensors],
            parse_user_schedule(plain.get(attrs.USER_SCHEDULE), location_of(func)),
            parse_legacy_schedule(plain),
        )
        return with_attrs(func, result.to_attrs())

    return function_pass("LayoutAwareWorkPartitionTT", rewrite)


def _placed(plain: Mapping[str, Any], kernel: KernelInfo, tensor: TensorAccess) -> PlacedBuffer:
    layout = layout_of(plain, tensor)
    return PlacedBuffer(
        tensor.name, tensor.written, layout.memory, layout.layout, projection_of(kernel, tensor, layout)
    )
