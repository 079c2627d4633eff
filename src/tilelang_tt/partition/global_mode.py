"""Partitions of the whole work plane: every core gets a share of its work tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..attrs import BLOCK_ARGS, GLOBAL, GLOBAL_ARGS, RUN_ARGS
from ..devices import Core, Device
from ..errors import Code, ScheduleError
from .grid import WorkGrid
from .legacy import LegacySchedule
from .numbering import named_policy, numbering
from .placed_buffers import PlacedBuffer
from .policies import (
    BLOCK_2D,
    BLOCK_CYCLIC,
    COLUMN_MAJOR,
    CONTIGUOUS,
    ROW_MAJOR,
    Named,
    Rectangles,
    TileRange,
    block_cyclic,
    contiguous,
    even_rectangles,
    rectangle_cores,
)
from .schedule import AUTO, UserSchedule, check_core_count
from .work_partition import WorkPartition


def global_partition(
    grid: WorkGrid,
    kt: int,
    device: Device,
    buffers: Sequence[PlacedBuffer],
    schedule: UserSchedule,
    legacy: LegacySchedule | None,
) -> WorkPartition:
    """The plane shared out by the schedule's policy, or as the legacy schedule has it; see ``engine.partition``."""
    plane = (grid.mt, grid.nt)
    for key, value, only in (
        ("shard_grid", schedule.shard_grid, (1, 1)),
        ("local_shape_tiles", schedule.local_shape_tiles, plane),
    ):
        if value not in (None, only):
            raise ScheduleError(
                Code.SCHEDULE_CONFLICT,
                f"{key} cuts the work into shards, but the partition is global",
                subject=key,
                found=list(value),
                expected=f"{list(only)} in global mode",
                hint='set "partition_mode": "local_shard"' if schedule.partition_mode == AUTO else None,
            )
    cores = global_cores(device, schedule, legacy)
    order, block = numbering(schedule.order, plane, buffers)
    if legacy is not None and legacy.tiles_per_core is not None:
        check_core_count(len(legacy.tiles_per_core), len(cores), "tt_tiles_per_core", schedule.core_set(device))
        check_legacy_policy(schedule)
        shares = _Shares(CONTIGUOUS, cores, legacy.tiles_per_core)
    else:
        shares = _share_out(schedule.policy, order, plane, cores)
    names, values = (GLOBAL_ARGS, {"Mt": grid.mt, "Kt": kt, "Nt": grid.nt})
    for extra, of in ((RUN_ARGS, shares.run), (BLOCK_ARGS, block)):
        if of is not None:
            names, values = (*names, *extra), {**values, **dict(zip(extra, of, strict=True))}
    used = [(core, share) for core, share in zip(shares.cores, shares.ranges, strict=False) if share[1]]
    return WorkPartition(
        mode=GLOBAL,
        grid_tiles=plane,
        shard_grid=(1, 1),
        local_shape_tiles=plane,
        runtime_arg_names=names,
        runtime_constants=values,
        core_ranges=tuple((x, y, x, y, start, count) for (x, y), (start, count) in used),
        core_runtime_args=tuple(share for _, share in used),
        policy=shares.policy,
        order=order,
    )


def global_cores(device: Device, schedule: UserSchedule, legacy: LegacySchedule | None = None) -> list[Core]:
    """The cores that share a plane, row by row. Raises where the schedules ask for more than there are."""
    cores = sorted(schedule.available_cores(device), key=lambda core: (core[1], core[0]))
    limits = [("num_cores", schedule.num_cores)]
    if legacy is not None:
        limits.append(("tt_num_cores", legacy.num_cores))
    for key, count in limits:
        if count is not None:
            check_core_count(count, len(cores), key, schedule.core_set(device))
            cores = cores[:count]
    return cores


def check_legacy_policy(schedule: UserSchedule) -> None:
    """Refuse a schedule that shares work out in another way than the legacy ranges that are there."""
    for key, value, only in (("policy", schedule.policy, CONTIGUOUS), ("order", schedule.order, ROW_MAJOR)):
        if value != only:
            raise ScheduleError(
                Code.SCHEDULE_CONFLICT,
                f"{key} {value!r} is asked for, but tt_tiles_per_core already says which core gets which tiles",
                subject=key,
                found=value,
                expected=f"{only}, as the legacy schedule has it",
                hint=f"leave out {key} or tt_tiles_per_core",
            )


@dataclass(frozen=True)
class _Shares:
    """What a policy decides: its normalised name, and row for row core and tile numbers; ``run`` as in RUN_ARGS."""

    policy: str
    cores: Sequence[Core]
    ranges: Sequence[TileRange]
    run: tuple[int, int] | None = None


def _share_out(policy: str, order: str, plane: tuple[int, int], cores: Sequence[Core]) -> _Shares:
    named, tiles = named_policy(policy, "policy"), plane[0] * plane[1]
    if named.kind == BLOCK_CYCLIC:
        chunk = min(named.sizes[0] if named.sizes else 1, tiles)
        ranges = block_cyclic(tiles, len(cores), chunk)
        return _Shares(str(Named(BLOCK_CYCLIC, (chunk,))), cores, ranges, (chunk, chunk * len(ranges)))
    if named.kind == BLOCK_2D:
        return _rectangle_shares(named, order, plane, cores)
    return _Shares(CONTIGUOUS, cores, contiguous(tiles, len(cores)))


def _rectangle_shares(named: Named, order: str, plane: tuple[int, int], cores: Sequence[Core]) -> _Shares:
    if order not in (ROW_MAJOR, COLUMN_MAJOR):
        raise ScheduleError(
            Code.SCHEDULE_CONFLICT,
            f"order {order!r} does not go through the rectangles of policy block_2d",
            subject="order",
            found=order,
            expected="row_major or column_major",
        )
    if named.sizes:
        check_core_count(named.sizes[0] * named.sizes[1], len(cores), "policy", "those that the schedule allows")
        cut = Rectangles.cut(plane, (named.sizes[0], named.sizes[1]))
    else:
        cut = even_rectangles(plane, cores)
    by_column = order == COLUMN_MAJOR
    placed = zip(rectangle_cores(cut.grid, cores), cut.ranges(by_column), strict=True)
    rows = sorted(placed, key=lambda row: (row[0][1], row[0][0]))
    label = str(Named(BLOCK_2D, cut.grid))
    return _Shares(label, [core for core, _ in rows], [share for _, share in rows], cut.run(by_column))
