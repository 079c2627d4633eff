"""The checks of a sharded layout that need no kernel, and how its shards are stored."""

from __future__ import annotations

from dataclasses import dataclass

from .._plain import ceil_div
from ..errors import Code, LayoutError
from .types import TILE, BufferLayout, NdShard


@dataclass(frozen=True)
class StoredShards:
    """A sharded tensor as it is stored: an array of hardware tiles, cut along its dimensions.

    A matrix where the shards are blocks of one: all dimensions but the last folded into the rows, a vector [n] as
    [1, n]. Else an array of the tensor's own dimensions. Shards are numbered row by row, and so are tiles in a shard.

    Attributes:
        grid: number of shards along each dimension.
        shard_tiles: hardware tiles of one shard along each dimension; the last shards may use fewer.
    """

    grid: tuple[int, ...]
    shard_tiles: tuple[int, ...]

    @property
    def is_matrix(self) -> bool:
        """Whether the shards are blocks of a matrix."""
        return len(self.grid) == 2


def tile_sizes(rank: int) -> tuple[int, ...]:
    """Elements that a hardware tile covers along each dimension of a tensor of this rank."""
    return (1,) * (rank - 2) + (TILE,) * min(rank, 2)


def check_shards(name: str, layout: BufferLayout, shape: tuple[int, ...]) -> None:
    """Refuse shards that do not cover ``shape`` exactly once, or are no whole hardware tiles.

    Raises :class:`LayoutError`: ``nd-shard-malformed`` (rank), ``shard-unaligned`` (in L1), ``shard-grid-coverage``.
    """
    shard = layout.nd_shard
    if shard is None:
        return
    sizes = shard.shard_shape_elems
    if not len(shard.axes) == len(shard.grid) == len(sizes) == len(shape):
        raise LayoutError(
            Code.ND_SHARD_MALFORMED,
            f"buffer {name!r}: nd_shard does not have one entry per dimension of the tensor",
            subject=name,
            found=f"axes {list(shard.axes)}, grid {list(shard.grid)}, shard_shape_elems {list(sizes)}",
            expected=f"{len(shape)} entries each, for shape {list(shape)}",
        )
    if layout.memory == "L1":
        check_alignment(name, shard)
    for dim in range(len(shape)):
        _check_coverage(name, shard, dim, shape)


def stored_shards(shard: NdShard, shape: tuple[int, ...]) -> StoredShards:
    """The shards of a checked layout of a tensor of ``shape`` elements as they are stored."""
    sizes = tile_sizes(len(shape))
    tiles = [ceil_div(size, step) for size, step in zip(shape, sizes, strict=True)]
    parts = [ceil_div(size, step) for size, step in zip(shard.shard_shape_elems, sizes, strict=True)]
    rows, part = (tiles[-2], parts[-2]) if len(shape) > 1 else (1, 1)
    # From the inside out: a dimension joins those behind it where its shards take them whole, or cut them evenly.
    for size, step in reversed(list(zip(tiles[:-2], parts[:-2], strict=True))):
        if part == rows:
            part *= step
        elif step != 1 or (size != 1 and rows % part):
            return StoredShards(shard.grid, tuple(parts))
        rows *= size
    return StoredShards((ceil_div(rows, part), shard.grid[-1]), (part, parts[-1]))


def check_alignment(name: str, shard: NdShard) -> None:
    """Refuse shards that are no whole hardware tiles: :class:`LayoutError` (``shard-unaligned``)."""
    tiles = tile_sizes(len(shard.grid))
    sizes = shard.shard_shape_elems
    if any(size % tile for size, tile in zip(sizes, tiles, strict=True)):
        rounded = [ceil_div(size, tile) * tile for size, tile in zip(sizes, tiles, strict=True)]
        raise LayoutError(
            Code.SHARD_UNALIGNED,
            f"buffer {name!r}: a shard is not a whole number of hardware tiles",
            subject=name,
            found=f"shard_shape_elems {list(sizes)}",
            expected=f"multiples of {TILE} in the last {min(len(sizes), 2)} dimension(s)",
            hint=f"round up to {rounded}; the last shard may reach past the end of the tensor",
        )


def _check_coverage(name: str, shard: NdShard, dim: int, shape: tuple[int, ...]) -> None:
    parts, size = shard.grid[dim], shard.shard_shape_elems[dim]
    needed = ceil_div(shape[dim], size)
    if parts != needed:
        raise LayoutError(
            Code.SHARD_GRID_COVERAGE,
            f"buffer {name!r}: the shard grid "
            + ("leaves part of the tensor out" if parts < needed else "has empty shards")
            + f" in dimension {dim} ({shard.axes[dim]})",
            subject=name,
            found=f"{parts} shards of {size} elements for {shape[dim]} elements",
            expected=f"{needed} shards of {size} elements, or other shard_shape_elems",
        )
