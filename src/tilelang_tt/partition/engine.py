"""The partition engine: from launch grid, device, layouts and schedule to a work partition. Plain values in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._plain import is_int
from ..attrs import GLOBAL, GLOBAL_ARGS, LOCAL_SHARD, LOCAL_SHARD_ARGS
from ..devices import Core, Device
from ..errors import Code, PartitionError, ScheduleError
from ..layout import Memory, Placement, Projection, place_shards
from .grid import WorkGrid, check_uint32
from .legacy import LegacySchedule
from .policies import POLICIES
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
    """

    name: str
    written: bool
    memory: Memory = "DRAM"
    layout: Placement = "interleaved"
    projection: Projection | None = None

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

    Raises:
        PartitionError, ScheduleError, LayoutError, DeviceError: for everything that cannot be honoured exactly.
    """
    schedule = schedule or UserSchedule()
    _check_reduction(kt)
    _check_grid_tiles(grid, schedule)
    if legacy is not None:
        legacy.check(grid)
    driver = None if schedule.partition_mode == GLOBAL else _driving_buffer(buffers)
    if driver is not None:
        result = _by_shards_of(driver, grid, kt, device, buffers, schedule)
    elif schedule.partition_mode == LOCAL_SHARD:
        result = _by_given_shards(grid, kt, device, buffers, schedule)
    else:
        result = _global(grid, kt, device, schedule, legacy)
    _check_runtime_args(result, schedule)
    return result


def _check_reduction(kt: int) -> None:
    if not is_int(kt, minimum=1):
        raise PartitionError(
            Code.BAD_VALUE,
            "the number of reduction steps is wrong",
            subject="Kt",
            found=kt,
            expected="an integer from 1 up",
        )
    check_uint32("Kt", "reduction steps", kt)


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
    grid: WorkGrid, kt: int, device: Device, schedule: UserSchedule, legacy: LegacySchedule | None
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
    cores = sorted(schedule.available_cores(device), key=lambda core: (core[1], core[0]))
    limits = [("num_cores", schedule.num_cores)]
    if legacy is not None:
        limits.append(("tt_num_cores", legacy.num_cores))
    for key, count in limits:
        if count is not None:
            check_core_count(count, len(cores), key, _core_set(device, schedule))
            cores = cores[:count]
    if legacy is not None and legacy.tiles_per_core is not None:
        check_core_count(len(legacy.tiles_per_core), len(cores), "tt_tiles_per_core", _core_set(device, schedule))
        ranges = legacy.tiles_per_core
    else:
        ranges = POLICIES[schedule.policy](grid.tiles, len(cores))
    used = [(core, run) for core, run in zip(cores, ranges, strict=False) if run[1]]
    return WorkPartition(
        mode=GLOBAL,
        grid_tiles=plane,
        shard_grid=(1, 1),
        local_shape_tiles=plane,
        runtime_arg_names=GLOBAL_ARGS,
        runtime_constants={"Mt": grid.mt, "Kt": kt, "Nt": grid.nt},
        core_ranges=tuple((x, y, x, y, start, count) for (x, y), (start, count) in used),
        core_runtime_args=tuple(run for _, run in used),
    )


def _core_set(device: Device, schedule: UserSchedule) -> str:
    limits = [key for key in ("core_grid", "core_ranges", "num_cores") if getattr(schedule, key) is not None]
    return f"device {device.name!r}" + (f" within {' and '.join(limits)}" if limits else "")


# --- local_shard


def _driving_buffer(buffers: Sequence[PlacedBuffer]) -> PlacedBuffer | None:
    sharded = [buffer for buffer in buffers if buffer.l1_sharded]
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
) -> WorkPartition:
    driving = ShardMap.of(_projection(driver), driver.written, device)
    _check_overrides(driving, schedule)
    _check_allowed_cores(driving, device, schedule)
    resident = []
    for buffer in buffers:
        if not buffer.l1_sharded or not _projection(buffer).lined_up:
            continue
        shards = driving if buffer is driver else ShardMap.of(_projection(buffer), buffer.written, device)
        check_agreement(driving, shards)
        if is_resident(driving, shards):
            resident.append(buffer.name)
    return _local_shard(grid, kt, driving.grid, driving.shape, driving.cores, driver.name, tuple(resident))


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
        if len(driving.cores) > schedule.num_cores:
            raise ScheduleError(
                Code.SCHEDULE_CONFLICT,
                f"buffer {driving.buffer!r} has its shards on more cores than num_cores allows",
                subject="num_cores",
                found=f"{len(driving.cores)} shards",
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
    cores = _cores_for_given_shards(shard_grid, device, schedule)
    return _local_shard(grid, kt, shard_grid, shape, cores, None, ())


def _cores_for_given_shards(shard_grid: tuple[int, int], device: Device, schedule: UserSchedule) -> tuple[Core, ...]:
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


def _local_shard(
    grid: WorkGrid,
    kt: int,
    shard_grid: tuple[int, int],
    shape: tuple[int, int],
    cores: Sequence[Core],
    driving_buffer: str | None,
    resident_buffers: tuple[str, ...],
) -> WorkPartition:
    plane = (grid.mt, grid.nt)
    check_uint32("local_shape_tiles", "work tiles of a shard", max(shape))
    rows: list[tuple[CoreRow, tuple[int, ...]]] = []
    for number, (x, y) in enumerate(cores):
        sy, sx = divmod(number, shard_grid[1])
        height, width = clipped_shard(plane, shape, sy, sx)
        if height and width:
            count = height * width
            rows.append(((x, y, x, y, 0, count), (0, count, sy, sx)))
    rows.sort(key=lambda row: (row[0][1], row[0][0]))
    return WorkPartition(
        mode=LOCAL_SHARD,
        grid_tiles=plane,
        shard_grid=shard_grid,
        local_shape_tiles=shape,
        runtime_arg_names=LOCAL_SHARD_ARGS,
        runtime_constants={
            **{"Mt": grid.mt, "Kt": kt, "Nt": grid.nt},
            **{"Sm": shape[0], "Sn": shape[1], "Gy": shard_grid[0], "Gx": shard_grid[1]},
        },
        core_ranges=tuple(core_range for core_range, _ in rows),
        core_runtime_args=tuple(args for _, args in rows),
        driving_buffer=driving_buffer,
        resident_buffers=resident_buffers,
    )
