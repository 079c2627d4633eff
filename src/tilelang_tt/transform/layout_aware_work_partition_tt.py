"""LayoutAwareWorkPartitionTT: which core works on which blocks, from where each tensor lives and the user's schedule.

A thin adapter: the decision is :func:`tilelang_tt.partition.partition`'s, or with policy auto
:func:`tilelang_tt.partition.plan`'s, on plain values.
"""

from __future__ import annotations

from dataclasses import replace

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..devices import Device
from ..errors import Code, ScheduleError
from ..language.kernel import read_kernel
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..partition import UserSchedule, parse_legacy_schedule, parse_user_schedule, partition, plan
from ..partition.policies import AUTO_POLICY
from .common import device_of, dynamic_attrs, function_pass, placed_buffer, with_attrs, work_grid
from .workload import workload_of


def LayoutAwareWorkPartitionTT(device: str | Device | None = None) -> tvm.transform.Pass:
    """The pass. Writes the partition's attributes (see ``attrs`` and docs/architecture.md), global or local_shard.

    Args:
        device: whose cores to use; default the function's ``tt.device``, else a Wormhole n150.

    Raises, when run:
        LayoutError, ScheduleError, PartitionError, DeviceError: for everything that cannot be honoured exactly.
    """

    def rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
        plain, kernel = plain_attrs(func), read_kernel(func)
        schedule = parse_user_schedule(plain.get(attrs.USER_SCHEDULE), location_of(func))
        if kernel.symbols.variables:
            schedule = _without_multicast(func, schedule)
        target, legacy = device_of(plain, device), parse_legacy_schedule(plain)
        if schedule.policy == AUTO_POLICY:
            result = plan(workload_of(func, kernel, plain), target, schedule, legacy).best.partition
            assert result is not None
        else:
            buffers = [placed_buffer(plain, kernel, tensor) for tensor in kernel.tensors]
            result = partition(work_grid(kernel), kernel.kt, target, buffers, schedule, legacy)
        for key in (attrs.POLICY, attrs.ORDER, attrs.DRIVING_BUFFER, attrs.MULTICAST, attrs.DYNAMIC):
            # Written only where they say something: none is left over from an earlier run.
            func = func.without_attr(key) if key in plain else func
        return with_attrs(func, result.to_attrs() | dynamic_attrs(kernel))

    return function_pass("LayoutAwareWorkPartitionTT", rewrite)


def _without_multicast(func: tirx.PrimFunc, schedule: UserSchedule) -> UserSchedule:
    """``schedule`` without multicast: its groups are for one size, and other sizes have other groups, or none."""
    if schedule.multicast:
        raise ScheduleError(
            Code.SCHEDULE_CONFLICT,
            "multicast is for one size, but the kernel's sizes are known only at launch",
            subject="multicast",
            found=list(schedule.multicast),
            expected="no multicast, or a kernel of constant sizes",
            location=location_of(func),
        )
    return replace(schedule, multicast=())
