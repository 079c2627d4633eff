"""The partition engine: from launch grid, device, layouts and schedule to a work partition. Plain values in and out."""

from __future__ import annotations

from collections.abc import Sequence

from .._plain import is_int
from ..attrs import GLOBAL, LOCAL_SHARD
from ..devices import Device
from ..errors import Code, PartitionError, ScheduleError
from .global_mode import global_partition
from .grid import WorkGrid, check_index
from .legacy import LegacySchedule
from .local_shard_mode import check_shard_policy, partition_by_given_shards, partition_by_shards_of
from .multicast import with_multicast
from .placed_buffers import PlacedBuffer, driving_buffer
from .policies import (
    AUTO_POLICY,
)
from .schedule import UserSchedule
from .work_partition import WorkPartition


def partition(
    grid: WorkGrid,
    kt: int,
    device: Device,
    buffers: Sequence[PlacedBuffer] = (),
    schedule: UserSchedule | None = None,
    legacy: LegacySchedule | None = None,
    driver: str | None = None,
) -> WorkPartition:
    """The work partition of one kernel.

    Left to itself it is local_shard when a buffer that the kernel writes is sharded in L1, or else one that it reads
    whose shards line up with the work grid (of several, the one with most shards); otherwise global. Takes time by
    cores, not by work tiles.

    Args:
        grid: the launch grid.
        kt: the kernel's number of reduction steps, 1 without a reduction loop.
        device: whose cores to use.
        buffers: the tensor parameters in their order.
        schedule: what the user decided; None for nothing.
        legacy: the legacy schedule; its ranges are the partition in global mode, and only checked in local_shard mode.
        driver: the buffer sharded in L1 whose shards are to decide; the others need not agree with it then, and are
            used in place only where they do. None for the rule above.

    Raises:
        PartitionError, ScheduleError, LayoutError, DeviceError: for everything that cannot be honoured exactly.
    """
    schedule = schedule or UserSchedule()
    _check_reduction(kt)
    _check_grid_tiles(grid, schedule)
    if legacy is not None:
        legacy.check(grid)
    if schedule.policy == AUTO_POLICY:
        raise ScheduleError(
            Code.SCHEDULE_INCOMPLETE,
            "policy auto is a choice between partitions, which the planner makes",
            subject="policy",
            found=AUTO_POLICY,
            expected="a policy, or tilelang_tt.partition.plan",
        )
    deciding = None if schedule.partition_mode == GLOBAL else driving_buffer(buffers, driver)
    if deciding is not None or schedule.partition_mode == LOCAL_SHARD:
        check_shard_policy(schedule, deciding)
    if deciding is not None:
        result = partition_by_shards_of(deciding, grid, kt, device, buffers, schedule, agreed=driver is None)
    elif schedule.partition_mode == LOCAL_SHARD:
        result = partition_by_given_shards(grid, kt, device, buffers, schedule)
    else:
        result = global_partition(grid, kt, device, buffers, schedule, legacy)
    _check_runtime_args(result, schedule)
    return with_multicast(result, schedule.multicast, buffers) if schedule.multicast else result


def _check_reduction(kt: int) -> None:
    if not is_int(kt, minimum=1):
        raise PartitionError(
            Code.BAD_VALUE,
            "the number of reduction steps is wrong",
            subject="Kt",
            found=kt,
            expected="an integer from 1 up",
        )
    check_index("Kt", "reduction steps", kt)


def _check_grid_tiles(grid: WorkGrid, schedule: UserSchedule) -> None:
    if schedule.grid_tiles not in (None, (grid.mt, grid.nt)):
        raise ScheduleError(
            Code.GRID_TILES_MISMATCH,
            "grid_tiles is not the launch grid",
            subject="grid_tiles",
            found=list(schedule.grid_tiles),
            expected=f"{[grid.mt, grid.nt]}, [grid y * grid z, grid x]",
        )


def _check_runtime_args(result: WorkPartition, schedule: UserSchedule) -> None:
    if schedule.runtime_args not in (None, result.runtime_arg_names):
        raise ScheduleError(
            Code.SCHEDULE_MALFORMED,
            f"runtime_args are not those of {result.mode} mode in canonical order",
            subject="runtime_args",
            found=list(schedule.runtime_args),
            expected=list(result.runtime_arg_names),
        )
