"""The checks of a sharded layout that need no kernel, and its view as a matrix of hardware tiles."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .._plain import ceil_div
from ..errors import Code, LayoutError
from .types import TILE, BufferLayout, NdShard


@dataclass(frozen=True)
class MatrixShards:
    """A sharded tensor as a matrix: all dimensions but the last folded into the rows, a vector [n] as [1, n].

    Attributes:
        grid: number of shards along rows and columns.
        shard_tiles: rows and columns of one shard in hardware tiles; the last shards may use fewer.
        row_dim, column_dim: the tensor dimension cut along the rows and along the columns, None where none is.
    """

    grid: tuple[int, int]
    shard_tiles: tuple[int, int]
    row_dim: int | None
    column_dim: int | None


def tile_sizes(rank: int) -> tuple[int, ...]:
    """Elements that a hardware tile covers along each dimension of a tensor of this rank."""
    return (1,) * (rank - 2) + (TILE,) * min(rank, 2)


def check_shards(name: str, layout: BufferLayout, shape: tuple[int, ...]) -> None:
    """Refuse shards that do not cover ``shape`` exactly once, are no whole hardware tiles, or no blocks of a matrix.

    Raises :class:`LayoutError`: ``nd-shard-malformed`` (rank), ``shard-unaligned`` (in L1), ``shard-grid-coverage``,
    ``layout-unsupported`` (shards of folded dimensions that are no block of the matrix).
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
        _check_alignment(name, shard)
    for dim in range(len(shape)):
        _check_coverage(name, shard, dim, shape)
    _check_matrix(name, shard, shape)


def matrix_shards(shard: NdShard) -> MatrixShards:
    """The shards of a checked layout as blocks of a matrix."""
    rank = len(shard.grid)
    tiles = [ceil_div(size, tile) for size, tile in zip(shard.shard_shape_elems, tile_sizes(rank), strict=True)]
    return MatrixShards(
        grid=(prod(shard.grid[:-1]), shard.grid[-1]),
        shard_tiles=(prod(tiles[:-1]), tiles[-1]),
        row_dim=next((dim for dim in range(rank - 1) if shard.grid[dim] > 1), None),
        column_dim=rank - 1 if shard.grid[-1] > 1 else None,
    )


def _check_alignment(name: str, shard: NdShard) -> None:
    tiles = tile_sizes(len(shard.grid))
    sizes = shard.shard_shape_elems
    if any(size % tile for size, tile in zip(sizes, tiles, strict=True)):
        rounded = [ceil_div(size, tile) * tile for size, tile in zip(sizes, tiles, strict=True)]
        raise LayoutError(
            Code.SHARD_UNALIGNED,
            f"buffer {name!r}: a shard in L1 is not a whole number of hardware tiles",
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


def _check_matrix(name: str, shard: NdShard, shape: tuple[int, ...]) -> None:
    leading = range(len(shape) - 1)
    cut = [dim for dim in leading if shard.grid[dim] > 1]
    is_block = len(cut) <= 1 and all(shape[dim] == 1 for dim in range(cut[0] if cut else 0))
    # A leading dimension is folded element by element: a shard that reaches past its end would shift all that follows.
    padded = any(shard.grid[dim] * shard.shard_shape_elems[dim] != shape[dim] for dim in range(len(shape) - 2))
    if not is_block or padded:
        raise LayoutError(
            Code.LAYOUT_UNSUPPORTED,
            f"buffer {name!r}: its shards are no blocks of the tensor seen as a matrix, which is not supported",
            subject=name,
            found=f"grid {list(shard.grid)} of shards {list(shard.shard_shape_elems)} on shape {list(shape)}",
            expected="all dimensions but the last cut in at most one, with dimensions of size 1 before it, unpadded",
        )
