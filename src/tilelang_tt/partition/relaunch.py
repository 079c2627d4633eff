"""The partition of a compiled kernel for another launch grid: new runtime arguments for the same kernels.

Takes time by cores, well under a millisecond for those of one chip, so that it can be done at every launch of a kernel
whose shapes are known only then.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..attrs import GLOBAL, MULTICAST, RUNTIME_ARG_NAMES
from ..devices import Core, Device
from ..errors import Code, PartitionError
from .engine import partition
from .global_mode import global_cores
from .grid import WorkGrid
from .local_shard_mode import cores_for_given_shards
from .multicast import has_rest, with_multicast
from .placed_buffers import PlacedBuffer
from .policies import AUTO_POLICY, BLOCK_2D, MATCH_SHARD, ROW_MAJOR, Named
from .schedule import UserSchedule
from .verify import clipped_shard
from .work_partition import WorkPartition


def repartition(
    made: WorkPartition, grid: WorkGrid, device: Device, *, kt: int | None = None, schedule: UserSchedule | None = None
) -> WorkPartition:
    """``made`` for another launch grid: same mode, policy and order, and so the same runtime arguments by name.

    In global mode the work is shared out anew over the cores that ``schedule`` allows. In local_shard mode the shards
    stay where they are, and are clipped at the end of the new plane; shards past it have no work.

    Args:
        made: the partition that the kernels were compiled for.
        grid: the launch grid now.
        device: the device they run on.
        kt: reduction steps now; as before where None.
        schedule: the user's schedule that the kernels were compiled with.

    Raises:
        PartitionError: ``shard-grid-coverage`` for a plane that the shards do not cover, and the errors of
            :func:`partition`.
    """
    kt = made.runtime_constants["Kt"] if kt is None else kt
    schedule = schedule or UserSchedule(policy=AUTO_POLICY)
    if made.mode != GLOBAL and made.driving_buffer is None and schedule.shard_grid is not None:
        # Shards of the schedule's own may have work now that had none before.
        again = partition(grid, kt, device, _multicast_buffers(made), replace(schedule, grid_tiles=None))
        _check_rest(made, again)
        return again
    if made.mode != GLOBAL:
        again = with_multicast(_clipped(made, grid, kt), tuple(made.multicast), _multicast_buffers(made))
        _check_rest(made, again)
        return again
    fixed = replace(schedule, partition_mode=GLOBAL, grid_tiles=None, local_shape_tiles=None, runtime_args=None)
    policy, order = _asked(made, schedule)
    buffers = _multicast_buffers(made)
    fixed = replace(fixed, policy=policy, order=order, multicast=tuple(made.multicast))
    again = partition(grid, kt, device, buffers, fixed)
    if again.runtime_arg_names != made.runtime_arg_names:
        raise PartitionError(
            Code.PARTITION_INVALID,
            "the partition for another grid has other runtime arguments",
            subject=RUNTIME_ARG_NAMES,
            found=list(again.runtime_arg_names),
            expected=list(made.runtime_arg_names),
        )
    _check_rest(made, again)
    return again


def _multicast_buffers(made: WorkPartition) -> list[PlacedBuffer]:
    """The multicast buffers, of which only what each follows matters here."""
    return [PlacedBuffer(name, written=False, follows=item.follows) for name, item in made.multicast.items()]


def _check_rest(made: WorkPartition, again: WorkPartition) -> None:
    for name in made.multicast:
        # Kernels made for equal shares know nothing of a rest that other cores of a group have.
        if has_rest(again, name) and not has_rest(made, name):
            raise PartitionError(
                Code.PARTITION_INVALID,
                f"some cores have other work tiles than its group in the multicast of {name!r}",
                subject=MULTICAST,
                found=f"{again.policy} of {again.grid_tiles[0]} x {again.grid_tiles[1]} work tiles",
                expected="shares as equal as those that the kernels were compiled for",
                hint="compile for this grid",
            )


def launch_cores(made: WorkPartition, device: Device, schedule: UserSchedule) -> tuple[Core, ...]:
    """The cores that have work in some partition of :func:`repartition`, row by row."""
    if made.mode == GLOBAL:
        return tuple(global_cores(device, schedule))
    if made.driving_buffer is not None:
        return made.cores
    cores = cores_for_given_shards(made.shard_grid, device, schedule)
    return tuple(sorted(cores, key=lambda core: (core[1], core[0])))


def _asked(made: WorkPartition, schedule: UserSchedule) -> tuple[str, str]:
    """Policy and order for any plane: as the user has them, or else as they were chosen.

    The sizes in the names of ``made`` may have been cut off by its plane.
    """
    policy, order = schedule.policy, schedule.order
    if policy == AUTO_POLICY:
        # A cut into rectangles was chosen for another plane.
        chosen = Named.parse(made.policy)
        policy = BLOCK_2D if chosen is not None and chosen.kind == BLOCK_2D else made.policy
        order = made.order if order == ROW_MAJOR else order
    return policy, made.order if order == MATCH_SHARD else order


def _clipped(made: WorkPartition, grid: WorkGrid, kt: int) -> WorkPartition:
    plane, shape = (grid.mt, grid.nt), made.local_shape_tiles
    rows = []
    for row, (core_range, (_, _, sy, sx)) in enumerate(zip(made.core_ranges, made.core_runtime_args, strict=True)):
        count = sum(prod(clipped_shard(plane, shape, *shard)) for shard in made.shards_of(row))
        if count:
            rows.append(((*core_range[:4], 0, count), (0, count, sy, sx)))
    if sum(args[1] for _, args in rows) != grid.tiles:
        raise PartitionError(
            Code.SHARD_GRID_COVERAGE,
            "the shards that the kernels were compiled for do not cover the launch grid",
            subject="launch grid",
            found=list(plane),
            expected=f"at most {[parts * size for parts, size in zip(made.shard_grid, shape, strict=True)]} work tiles",
        )
    return replace(
        made,
        grid_tiles=plane,
        runtime_constants={**made.runtime_constants, "Mt": grid.mt, "Kt": kt, "Nt": grid.nt},
        core_ranges=tuple(core_range for core_range, _ in rows),
        core_runtime_args=tuple(args for _, args in rows),
        multicast={},
    )
