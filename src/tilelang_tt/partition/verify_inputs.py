"""Whether a partition is one that its buffers and the user's schedule ask for.

:meth:`WorkPartition.verify` proves that a partition is one; this proves that it is used rightly: buffers said to be in
place are, and what the user fixed is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from .. import attrs
from ..devices import Device
from ..errors import Code, PartitionError
from .placed_buffers import PlacedBuffer, driving_buffer
from .policies import AUTO_POLICY, ROW_MAJOR, Named
from .schedule import UserSchedule
from .shard_maps import ShardMap, is_resident
from .work_partition import WorkPartition


def verify_schedule(made: WorkPartition, device: Device, schedule: UserSchedule) -> None:
    """Refuse a partition that uses other cores, another mode, policy or order than the user's schedule fixes.

    Raises :class:`PartitionError` (``partition-invalid``) naming the attribute at fault.
    """
    if schedule.partition_mode not in ("auto", made.mode):
        _fail(attrs.PARTITION_MODE, "is not that of the schedule", made.mode, schedule.partition_mode)
    allowed = set(schedule.available_cores(device))
    outside = next((core for core in made.cores if core not in allowed), None)
    if outside is not None:
        _fail(attrs.CORE_RANGES, f"has core {outside}, which the schedule does not allow", outside, "its cores")
    if schedule.num_cores is not None and len(made.cores) > schedule.num_cores:
        _fail(attrs.CORE_RANGES, "has more cores than num_cores", len(made.cores), f"at most {schedule.num_cores}")
    if schedule.multicast is not None and tuple(made.multicast) != schedule.multicast:
        _fail(attrs.MULTICAST, "is not that of the schedule", list(made.multicast), f"{list(schedule.multicast)}")
    if schedule.policy == AUTO_POLICY:
        return
    if made.multicast and schedule.multicast is None:
        _fail(attrs.MULTICAST, "is not asked for", list(made.multicast), "no multicast")
    if made.mode == attrs.GLOBAL and _kind(made.policy) != _kind(schedule.policy):
        _fail(attrs.POLICY, "is not that of the schedule", made.policy, schedule.policy)
    if _kind(made.order) != _kind(schedule.order) and not (made.mode == attrs.LOCAL_SHARD and made.order == ROW_MAJOR):
        _fail(attrs.ORDER, "is not that of the schedule", made.order, schedule.order)


def _kind(text: str) -> str | None:
    named = Named.parse(text)
    return None if named is None else named.kind


def verify_buffers(
    made: WorkPartition, device: Device, buffers: Sequence[PlacedBuffer], *, chosen_freely: bool = False
) -> None:
    """Refuse a local_shard partition that is not its driving buffer's shards, or names wrong buffers as in place, and
    multicasts of what is not the same on several cores.

    Args:
        made: the partition.
        device: the device it is for.
        buffers: the tensor parameters, projected onto the work plane.
        chosen_freely: whether any sharded buffer may drive (policy auto), not just the one that the rule names.

    Raises:
        PartitionError: ``partition-invalid`` naming the attribute at fault.
    """
    for name, multicast in made.multicast.items():
        follows = next((buffer.follows for buffer in buffers if buffer.name == name), None)
        if multicast.follows != follows:
            _fail(attrs.MULTICAST, f"has {name!r} follow another axis than the kernel", multicast.follows, f"{follows}")
    if made.mode != attrs.LOCAL_SHARD:
        return
    ruling = driving_buffer(buffers, made.driving_buffer if chosen_freely else None)
    expected = None if ruling is None else ruling.name
    if made.driving_buffer != expected:
        _fail(attrs.DRIVING_BUFFER, "is not the buffer whose shards decide", made.driving_buffer, f"{expected}")
    if ruling is None or ruling.projection is None:
        return
    driving = ShardMap.of(ruling.projection, ruling.written, device)
    for key, found, shards in (
        (attrs.SHARD_GRID, made.shard_grid, driving.grid),
        (attrs.LOCAL_SHAPE_TILES, made.local_shape_tiles, driving.shape),
    ):
        if found != shards:
            _fail(key, f"is not that of buffer {ruling.name!r}", list(found), f"{list(shards)}")
    several = (driving.per_core, driving.step) if driving.per_core > 1 else None
    if made.several_shards != several:
        found = made.several_shards
        _fail(attrs.RUNTIME_CONSTANTS, f"deals out the shards of {ruling.name!r} otherwise", found, f"{several}")
    for row, core in enumerate(made.cores):
        for sy, sx in made.shards_of(row):
            holder = driving.cores[sy * driving.grid[1] + sx]
            if core != holder:
                _fail(attrs.CORE_RANGES, f"puts shard {(sy, sx)} of {ruling.name!r} on another core", core, f"{holder}")
    resident = tuple(
        buffer.name
        for buffer in buffers
        if buffer.l1_sharded
        and buffer.projection is not None
        and buffer.projection.lined_up
        and is_resident(driving, ShardMap.of(buffer.projection, buffer.written, device))
    )
    if made.resident_buffers != resident:
        _fail(attrs.RESIDENT_BUFFERS, "is not what the shards say", list(made.resident_buffers), f"{list(resident)}")


def _fail(key: str, problem: str, found: object, expected: str) -> NoReturn:
    raise PartitionError(Code.PARTITION_INVALID, f"{key} {problem}", subject=key, found=found, expected=expected)
