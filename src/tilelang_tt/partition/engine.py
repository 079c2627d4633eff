"""The partition engine: from launch grid, device, layouts and schedule to a work partition. Plain values in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .._plain import is_int
from ..attrs import BLOCK_ARGS, GLOBAL, GLOBAL_ARGS, LOCAL_SHARD, LOCAL_SHARD_ARGS, RUN_ARGS, SHARD_STEP_ARGS
from ..devices import Core, Device
from ..errors import Code, PartitionError, ScheduleError
from ..layout import Memory, Placement, Projection, place_shards
from .grid import WorkGrid, check_index
from .legacy import LegacySchedule
from .multicast import Follows, with_multicast
from .policies import (
    AUTO_POLICY,
    BLOCK_2D,
    BLOCK_CYCLIC,
    BLOCK_LINEAR,
    COLUMN_MAJOR,
    CONTIGUOUS,
    MATCH_SHARD,
    ROW_MAJOR,
    SHARDS_IN_TURN,
    Named,
    Rectangles,
    TileRange,
    block_cyclic,
    contiguous,
    even_rectangles,
    rectangle_cores,
)
from .schedule import AUTO, UserSchedule, check_core_count
from .shard_maps import ShardMap, check_agreement, is_resident
from .verify import clipped_shard
from .work_partition import CoreRow, WorkPartition


@dataclass(frozen=True)
class PlacedBuffer:
    """A tensor parameter as the partitioner sees it.

    Attributes:
        name: the buffer.
        written: whether the kernel writes it.
        memory, layout: where it lives and how, see :class:`BufferLayout`.
        projection: its shards on the work plane; needed when it is sharded in L1.
        follows: the axis of the plane, "M" or "N", that its block moves along, "" for neither, where the kernel only
            reads it; None for anything else.
    """

    name: str
    written: bool
    memory: Memory = "DRAM"
    layout: Placement = "interleaved"
    projection: Projection | None = None
    follows: Follows | None = None

    @property
    def l1_sharded(self) -> bool:
        """Whether every core holds its own part of the buffer in L1."""
        return self.memory == "L1" and self.layout == "sharded"


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
        _check_shard_policy(schedule, deciding)
    if deciding is not None:
        result = _by_shards_of(deciding, grid, kt, device, buffers, schedule, agreed=driver is None)
    elif schedule.partition_mode == LOCAL_SHARD:
        result = _by_given_shards(grid, kt, device, buffers, schedule)
    else:
        result = _global(grid, kt, device, buffers, schedule, legacy)
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


# --- global


def _global(
    grid: WorkGrid,
    kt: int,
    device: Device,
    buffers: Sequence[PlacedBuffer],
    schedule: UserSchedule,
    legacy: LegacySchedule | None,
) -> WorkPartition:
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
    order, block = _numbering(schedule.order, plane, buffers)
    if legacy is not None and legacy.tiles_per_core is not None:
        check_core_count(len(legacy.tiles_per_core), len(cores), "tt_tiles_per_core", _core_set(device, schedule))
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
            check_core_count(count, len(cores), key, _core_set(device, schedule))
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
    named, tiles = _named(policy, "policy"), plane[0] * plane[1]
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


def _numbering(
    order: str, plane: tuple[int, int], buffers: Sequence[PlacedBuffer] = (), shard: bool = False
) -> tuple[str, tuple[int, int] | None]:
    """The order's normalised name, and its block (see BLOCK_ARGS) within a plane or shard of ``plane`` work tiles."""
    named = _named(order, "order")
    if named.kind == MATCH_SHARD:
        # A core's shard is one block of its own, which row_major already goes through.
        if shard:
            return ROW_MAJOR, None
        sizes = named.sizes or _shard_to_match(buffers)
        block = (min(sizes[0], plane[0]), min(sizes[1], plane[1]))
        return str(Named(MATCH_SHARD, block)), block
    if named.kind == BLOCK_LINEAR:
        side = min(named.sizes[0], max(plane))
        return str(Named(BLOCK_LINEAR, (side,))), (min(side, plane[0]), min(side, plane[1]))
    return named.kind, (plane[0], 1) if named.kind == COLUMN_MAJOR else None


def _shard_to_match(buffers: Sequence[PlacedBuffer]) -> tuple[int, int]:
    """Work tiles of a shard of the first written sharded buffer that lines up, else of the first read one."""
    for buffer in sorted(buffers, key=lambda buffer: not buffer.written):
        if buffer.projection is not None and buffer.projection.shard_work_tiles is not None:
            return buffer.projection.shard_work_tiles
    raise ScheduleError(
        Code.SCHEDULE_INCOMPLETE,
        "order match_shard needs shards to match, and no buffer has shards that line up with the work grid",
        subject="order",
        found=MATCH_SHARD,
        expected="match_shard(Sm,Sn) with the work tiles of a block, or a sharded buffer",
    )


def _named(text: str, key: str) -> Named:
    named = Named.parse(text)
    if named is None:
        raise ScheduleError(Code.SCHEDULE_MALFORMED, f"{key} is wrong", subject=key, found=repr(text))
    return named


def _core_set(device: Device, schedule: UserSchedule) -> str:
    limits = [key for key in ("core_grid", "core_ranges", "num_cores") if getattr(schedule, key) is not None]
    return f"device {device.name!r}" + (f" within {' and '.join(limits)}" if limits else "")


# --- local_shard


def _check_shard_policy(schedule: UserSchedule, driver: PlacedBuffer | None) -> None:
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


def driving_buffer(buffers: Sequence[PlacedBuffer], name: str | None = None) -> PlacedBuffer | None:
    """The buffer whose shards decide: ``name`` where it is given, else by the rule of :func:`partition`; None for none.

    Raises :class:`PartitionError` for a written buffer whose shards in L1 do not line up with the work grid.
    """
    sharded = [buffer for buffer in buffers if buffer.l1_sharded]
    if name is not None:
        return next((buffer for buffer in sharded if buffer.name == name and _projection(buffer).lined_up), None)
    written = [buffer for buffer in sharded if buffer.written]
    for buffer in written:
        misfit = _projection(buffer).misfit
        if misfit is not None:
            raise PartitionError(
                misfit.code,
                f"{misfit.reason}, but the kernel writes it and it lives sharded in L1",
                subject=buffer.name,
                found=misfit.found,
                expected=misfit.expected,
                hint='change its shards, or set "partition_mode": "global" in the schedule',
            )
    if written:
        return written[0]
    lined_up = [buffer for buffer in sharded if _projection(buffer).lined_up]
    return max(lined_up, key=lambda buffer: _shards(_projection(buffer)), default=None)


def _shards(projection: Projection) -> int:
    gy, gx = projection.projected_grid
    return gy * gx


def _projection(buffer: PlacedBuffer) -> Projection:
    if buffer.projection is None:
        raise PartitionError(
            Code.METADATA_MISSING,
            f"buffer {buffer.name!r} is sharded in L1 but was not projected onto the work plane",
            subject=buffer.name,
        )
    return buffer.projection


def _by_shards_of(
    driver: PlacedBuffer,
    grid: WorkGrid,
    kt: int,
    device: Device,
    buffers: Sequence[PlacedBuffer],
    schedule: UserSchedule,
    *,
    agreed: bool,
) -> WorkPartition:
    driving = ShardMap.of(_projection(driver), driver.written, device)
    _check_overrides(driving, schedule)
    _check_allowed_cores(driving, device, schedule)
    resident = []
    for buffer in buffers:
        if not buffer.l1_sharded or not _projection(buffer).lined_up:
            continue
        shards = driving if buffer is driver else ShardMap.of(_projection(buffer), buffer.written, device)
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
            expected=f"cores of {_core_set(device, schedule)}",
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


def _by_given_shards(
    grid: WorkGrid, kt: int, device: Device, buffers: Sequence[PlacedBuffer], schedule: UserSchedule
) -> WorkPartition:
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
        check_core_count(schedule.num_cores, len(available), "num_cores", _core_set(device, schedule))
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
    order, block = _numbering(order, shape, shard=True)
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
