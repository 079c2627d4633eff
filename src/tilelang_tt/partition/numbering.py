"""In which order a core goes through its work tiles: the orders by name."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Code, ScheduleError
from .placed_buffers import PlacedBuffer
from .policies import (
    BLOCK_LINEAR,
    COLUMN_MAJOR,
    MATCH_SHARD,
    ROW_MAJOR,
    Named,
)


def numbering(
    order: str, plane: tuple[int, int], buffers: Sequence[PlacedBuffer] = (), shard: bool = False
) -> tuple[str, tuple[int, int] | None]:
    """The order's normalised name, and its block (see BLOCK_ARGS) within a plane or shard of ``plane`` work tiles."""
    named = named_policy(order, "order")
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


def named_policy(text: str, key: str) -> Named:
    """The policy or order that ``text`` spells, the value of ``key`` in a schedule. Raises :class:`ScheduleError`."""
    named = Named.parse(text)
    if named is None:
        raise ScheduleError(Code.SCHEDULE_MALFORMED, f"{key} is wrong", subject=key, found=repr(text))
    return named
