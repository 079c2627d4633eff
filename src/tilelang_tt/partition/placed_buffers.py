"""Tensors as the partitioner sees them, and which of them decides the partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import Code, PartitionError
from ..layout import Memory, Placement, Projection

Follows = Literal["M", "N", ""]
"""The axis of the work plane that the blocks of a tensor move along, "" for neither."""


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


def driving_buffer(buffers: Sequence[PlacedBuffer], name: str | None = None) -> PlacedBuffer | None:
    """The buffer whose shards decide: ``name`` where it is given, else by the rule of :func:`partition`; None for none.

    Raises :class:`PartitionError` for a written buffer whose shards in L1 do not line up with the work grid.
    """
    sharded = [buffer for buffer in buffers if buffer.l1_sharded]
    if name is not None:
        return next((buffer for buffer in sharded if buffer.name == name and projection_of(buffer).lined_up), None)
    written = [buffer for buffer in sharded if buffer.written]
    for buffer in written:
        misfit = projection_of(buffer).misfit
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
    lined_up = [buffer for buffer in sharded if projection_of(buffer).lined_up]
    return max(lined_up, key=lambda buffer: _shards(projection_of(buffer)), default=None)


def _shards(projection: Projection) -> int:
    gy, gx = projection.projected_grid
    return gy * gx


def projection_of(buffer: PlacedBuffer) -> Projection:
    """The shards of a buffer sharded in L1 on the work plane. Raises where nobody projected them."""
    if buffer.projection is None:
        raise PartitionError(
            Code.METADATA_MISSING,
            f"buffer {buffer.name!r} is sharded in L1 but was not projected onto the work plane",
            subject=buffer.name,
        )
    return buffer.projection
