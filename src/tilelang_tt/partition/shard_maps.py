"""Where the shards of several buffers lie, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass

from ..devices import Core, Device
from ..errors import Code, PartitionError
from ..layout import Projection

_SHOWN = 8
"""Rows and columns of a shard map that an error text shows."""


@dataclass(frozen=True)
class ShardMap:
    """The shards of one buffer on the work plane: ``grid`` of them, each of ``shape`` work tiles, and their cores.

    ``cores`` is row by row over the grid. A core holds up to ``per_core`` of them, whose numbers in that order are
    ``step`` apart. ``in_place``: whether a core can use its shards where they lie.
    """

    buffer: str
    written: bool
    grid: tuple[int, int]
    shape: tuple[int, int]
    cores: tuple[Core, ...]
    per_core: int = 1
    step: int = 0
    in_place: bool = True

    @classmethod
    def of(cls, projection: Projection, written: bool, device: Device) -> ShardMap:
        """The map of a buffer that lines up with the work grid. Raises as :meth:`Projection.plane_cores`."""
        shape = projection.shard_work_tiles
        if shape is None:
            raise PartitionError(
                Code.METADATA_MISSING,
                f"buffer {projection.buffer!r} has no shard map on the work plane",
                subject=projection.buffer,
                found=projection.reason,
                expected="shards that line up with the work grid",
            )
        holders, cores = projection.holders(device), projection.plane_cores(device)
        return cls(
            projection.buffer,
            written,
            projection.projected_grid,
            shape,
            cores,
            holders.per_core,
            holders.step,
            projection.in_place and (holders.per_core == 1 or projection.in_plane_order),
        )

    @property
    def cut(self) -> tuple[bool, bool]:
        """Whether the buffer is cut along M and along N."""
        return self.grid[0] > 1, self.grid[1] > 1

    def core(self, sy: int, sx: int) -> Core:
        """The core of the shard that holds the elements of shard (sy, sx) of a buffer cut at the same boundaries."""
        row, column = (index if cut else 0 for index, cut in zip((sy, sx), self.cut, strict=True))
        return self.cores[row * self.grid[1] + column]

    def __str__(self) -> str:
        gy, gx = self.grid
        lines = [f"{self.buffer}: {gy} x {gx} shards of {self.shape[0]} x {self.shape[1]} work tiles, on cores (x, y)"]
        for sy in range(min(gy, _SHOWN)):
            row = self.cores[sy * gx : sy * gx + min(gx, _SHOWN)]
            lines.append("  " + " ".join(map(str, row)) + (" ..." if gx > _SHOWN else ""))
        return "\n".join([*lines, "  ..."] if gy > _SHOWN else lines)


def check_agreement(driving: ShardMap, other: ShardMap) -> None:
    """Refuse buffers that are cut along the same axis at other boundaries, or whose same shards lie on other cores.

    Two buffers that the kernel writes must have the same map, as both are written in place. Raises
    :class:`PartitionError` (``shard-grid-mismatch``) with both maps.
    """
    for axis, both in zip((0, 1), (a and b for a, b in zip(driving.cut, other.cut, strict=True)), strict=True):
        if both and driving.shape[axis] != other.shape[axis]:
            raise _mismatch(driving, other, f"are cut along {'MN'[axis]} at different work tiles")
    both_written = driving.written and other.written
    if both_written and driving.cut != other.cut:
        raise _mismatch(driving, other, "are both written but cut along different axes")
    if driving.cut == other.cut and (any(driving.cut) or both_written) and driving.cores != other.cores:
        raise _mismatch(driving, other, "have the same shards on different cores")


def is_resident(driving: ShardMap, other: ShardMap) -> bool:
    """Whether each core that works on a shard of ``driving`` holds all elements of ``other`` that it needs, in place.

    Cores with several shards must hold the same ones of both: shard by shard, they lie in the same order then.
    """
    if not (driving.in_place and other.in_place):
        return False
    if driving.per_core > 1 or other.per_core > 1:
        return (driving.grid, driving.shape, driving.cores) == (other.grid, other.shape, other.cores)
    for axis in (0, 1):
        if other.cut[axis] and other.shape[axis] != driving.shape[axis]:
            return False
    return all(other.core(*divmod(number, driving.grid[1])) == core for number, core in enumerate(driving.cores))


def _mismatch(driving: ShardMap, other: ShardMap, problem: str) -> PartitionError:
    return PartitionError(
        Code.SHARD_GRID_MISMATCH,
        f"buffers {driving.buffer!r} and {other.buffer!r} {problem}",
        subject=other.buffer,
        found=other,
        expected=f"the shards of the driving buffer, {driving}",
        hint='give both the same shards, or set "partition_mode": "global" in the schedule',
    )
