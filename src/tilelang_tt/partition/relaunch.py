"""The partition of a compiled kernel for another launch grid: new runtime arguments for the same kernels.

Takes time by cores, well under a millisecond for those of one chip, so that it can be done at every launch of a kernel
whose shapes are known only then.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..attrs import GLOBAL, RUNTIME_ARG_NAMES
from ..devices import Core, Device
from ..errors import Code, PartitionError
from .engine import PlacedBuffer, cores_for_given_shards, global_cores, partition
from .grid import WorkGrid
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
        return partition(grid, kt, device, (), replace(schedule, grid_tiles=None))
    if made.mode != GLOBAL:
        return _clipped(made, grid, kt)
    fixed = replace(schedule, partition_mode=GLOBAL, grid_tiles=None, local_shape_tiles=None, runtime_args=None)
    policy, order = _asked(made, schedule)
    # Only what each multicast buffer follows matters of it.
    buffers = [PlacedBuffer(name, written=False, follows=item.follows) for name, item in made.multicast.items()]
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
    return again


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
    )
