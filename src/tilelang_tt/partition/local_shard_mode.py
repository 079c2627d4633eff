"""Partitions by shards: every core works on the work tiles of its own shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..attrs import BLOCK_ARGS, LOCAL_SHARD, LOCAL_SHARD_ARGS, SHARD_STEP_ARGS
from ..devices import Core, Device
from ..errors import Code, PartitionError, ScheduleError
from ..layout import place_shards
from .grid import WorkGrid, check_index
from .numbering import numbering
from .placed_buffers import PlacedBuffer, projection_of
from .policies import (
    CONTIGUOUS,
    SHARDS_IN_TURN,
)
from .schedule import UserSchedule, check_core_count
from .shard_maps import ShardMap, check_agreement, is_resident
from .verify import clipped_shard
from .work_partition import CoreRow, WorkPartition


def check_shard_policy(schedule: UserSchedule, driver: PlacedBuffer | None) -> None:
    """Refuse a policy where shards, those of ``driver`` or the schedule's own, share out the work."""
    if schedule.policy == CONTIGUOUS:
        return
    raise ScheduleError(
        Code.SCHEDULE_CONFLICT,
        f"policy {schedule.policy!r} shares out the whole plane, but shards decide which core gets which work tiles",
        subject="policy",
        found=f"shards of buffer {driver.name!r}" if driver is not None else "partition_mode: local_shard",
        expected="no policy",
        hint='set "partition_mode": "global", or leave policy out',
    )


def partition_by_shards_of(
    driver: PlacedBuffer,
    grid: WorkGrid,
    kt: int,
    device: Device,
    buffers: Sequence[PlacedBuffer],
    schedule: UserSchedule,
    *,
    agreed: bool,
) -> WorkPartition:
    """Every core works on its own shards of ``driver``; ``agreed``: those of other buffers in L1 must agree with it."""
    driving = ShardMap.of(projection_of(driver), driver.written, device)
    _check_overrides(driving, schedule)
    _check_allowed_cores(driving, device, schedule)
    resident = []
    for buffer in buffers:
        if not buffer.l1_sharded or not projection_of(buffer).lined_up:
            continue
        shards = driving if buffer is driver else ShardMap.of(projection_of(buffer), buffer.written, device)
        if agreed:
            check_agreement(driving, shards)
        if is_resident(driving, shards):
            resident.append(buffer.name)
    made = _local_shard(grid, kt, driving, schedule.order)
    return replace(made, driving_buffer=driver.name, resident_buffers=tuple(resident))


def _check_overrides(driving: ShardMap, schedule: UserSchedule) -> None:
    for key, value, shards in (
        ("shard_grid", schedule.shard_grid, driving.grid),
        ("local_shape_tiles", schedule.local_shape_tiles, driving.shape),
    ):
        if value not in (None, shards):
            raise ScheduleError(
                Code.SCHEDULE_CONFLICT,
                f"{key} is not that of buffer {driving.buffer!r}, whose shards decide the partition",
                subject=key,
                found=list(value),
                expected=list(shards),
                hint=f"leave {key} out",
            )


def _check_allowed_cores(driving: ShardMap, device: Device, schedule: UserSchedule) -> None:
    allowed = set(schedule.available_cores(device))
    outside = next((core for core in driving.cores if core not in allowed), None)
    if outside is not None:
        raise ScheduleError(
            Code.SCHEDULE_CONFLICT,
            f"a shard of buffer {driving.buffer!r} lies on core {outside}, which the schedule does not allow",
            subject=driving.buffer,
            found=f"core {outside}",
            expected=f"cores of {schedule.core_set(device)}",
            hint="give the buffer's nd_shard core_ranges within the schedule's cores",
        )
    if schedule.num_cores is not None:
        check_core_count(schedule.num_cores, len(allowed), "num_cores", f"device {device.name!r}")
        if (cores := len(set(driving.cores))) > schedule.num_cores:
            raise ScheduleError(
                Code.SCHEDULE_CONFLICT,
                f"buffer {driving.buffer!r} has its shards on more cores than num_cores allows",
                subject="num_cores",
                found=f"shards on {cores} cores",
                expected=f"at most {schedule.num_cores}",
            )


def partition_by_given_shards(
    grid: WorkGrid, kt: int, device: Device, buffers: Sequence[PlacedBuffer], schedule: UserSchedule
) -> WorkPartition:
    """Every core works on its own shard of those that the schedule gives."""
    shard_grid, shape = schedule.shard_grid, schedule.local_shape_tiles
    if shard_grid is None or shape is None:
        absent = [key for key in ("shard_grid", "local_shape_tiles") if getattr(schedule, key) is None]
        missing = " and ".join(absent)
        reasons = [reason for buffer in buffers if buffer.projection and (reason := buffer.projection.reason)]
        raise ScheduleError(
            Code.SCHEDULE_INCOMPLETE,
            f"partition_mode local_shard needs {missing}, as no buffer's shards decide the partition",
            subject=absent[0],
            found=f"{missing} missing" + "".join(f"; {reason}" for reason in reasons),
            expected="both of them, or a buffer sharded in L1 that lines up with the work grid",
        )
    covered = [parts * size for parts, size in zip(shard_grid, shape, strict=True)]
    if covered[0] < grid.mt or covered[1] < grid.nt:
        raise ScheduleError(
            Code.SHARD_GRID_COVERAGE,
            "shard_grid of local_shape_tiles leaves work tiles out",
            subject="shard_grid",
            found=f"{list(shard_grid)} shards of {list(shape)}: {covered} work tiles",
            expected=f"at least {[grid.mt, grid.nt]}",
        )
    cores = cores_for_given_shards(shard_grid, device, schedule)
    return _local_shard(grid, kt, ShardMap("shard_grid", False, shard_grid, shape, cores), schedule.order)


def cores_for_given_shards(shard_grid: tuple[int, int], device: Device, schedule: UserSchedule) -> tuple[Core, ...]:
    """The core of every shard of a schedule's own, row by row. Raises where there are too few cores."""
    available, shards = schedule.available_cores(device), shard_grid[0] * shard_grid[1]
    if schedule.num_cores is not None:
        check_core_count(schedule.num_cores, len(available), "num_cores", schedule.core_set(device))
        if shards > schedule.num_cores:
            raise PartitionError(
                Code.TOO_MANY_SHARDS,
                "shard_grid has more shards than num_cores allows cores",
                subject="shard_grid",
                found=f"{shards} shards",
                expected=f"at most {schedule.num_cores}",
            )
    ranges = schedule.core_ranges
    if schedule.core_grid is not None and not (
        shard_grid[0] <= schedule.core_grid[1] and shard_grid[1] <= schedule.core_grid[0]
    ):
        ranges = ((0, 0, schedule.core_grid[0] - 1, schedule.core_grid[1] - 1),)
    return place_shards(shard_grid, device, subject="shard_grid", core_ranges=ranges)


def _local_shard(grid: WorkGrid, kt: int, shards: ShardMap, order: str) -> WorkPartition:
    plane, shape, (gy, gx) = (grid.mt, grid.nt), shards.shape, shards.grid
    check_index("local_shape_tiles", "work tiles of a shard", max(shape))
    order, block = numbering(order, shape, shard=True)
    first: dict[Core, int] = {}
    counts: dict[Core, int] = {}
    for number, core in enumerate(shards.cores):
        height, width = clipped_shard(plane, shape, *divmod(number, gx))
        first.setdefault(core, number)
        counts[core] = counts.get(core, 0) + height * width
    rows: list[tuple[CoreRow, tuple[int, ...]]] = [
        ((x, y, x, y, 0, count), (0, count, *divmod(first[x, y], gx))) for (x, y), count in counts.items() if count
    ]
    rows.sort(key=lambda row: (row[0][1], row[0][0]))
    names, values = LOCAL_SHARD_ARGS, {"Mt": grid.mt, "Kt": kt, "Nt": grid.nt}
    values |= {"Sm": shape[0], "Sn": shape[1], "Gy": gy, "Gx": gx}
    several = (shards.per_core, shards.step) if shards.per_core > 1 else None
    for extra, of in ((SHARD_STEP_ARGS, several), (BLOCK_ARGS, block)):
        if of is not None:
            names, values = (*names, *extra), {**values, **dict(zip(extra, of, strict=True))}
    return WorkPartition(
        mode=LOCAL_SHARD,
        grid_tiles=plane,
        shard_grid=shards.grid,
        local_shape_tiles=shape,
        runtime_arg_names=names,
        runtime_constants=values,
        core_ranges=tuple(core_range for core_range, _ in rows),
        core_runtime_args=tuple(args for _, args in rows),
        policy=SHARDS_IN_TURN if several else CONTIGUOUS,
        order=order,
    )
