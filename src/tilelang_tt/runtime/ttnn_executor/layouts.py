"""ttnn's memory configurations and this package's layouts: each in the words of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

from ...devices import Core, Device
from ...errors import Code, LayoutError, TTError
from ...formats import BLOCK_FLOATS, stored_tiles
from ...layout import TILE, default_axes, parse_user_layout, shard_holders, stored_shards
from ...program.spec import ShardSpec, TensorSpec
from .versions import ttnn_api


def layout_of(tensor: Any, *, axes: Sequence[str] | None = None) -> dict[str, Any]:
    """Where a ttnn tensor lives, as the dictionary that ``annotate_tt_layout`` and ``compile(layout=)`` take.

    Args:
        tensor: a tiled ttnn tensor, on a device in any memory configuration or on the host (which is DRAM interleaved).
        axes: what each dimension means to the kernel, see :class:`~tilelang_tt.layout.NdShard`; default M and N for the
            last two dimensions and B for those before. Only a sharded tensor's layout says it.

    The layout of a tensor of block floats names their dtype; a kernel has the others itself.

    Raises:
        LayoutError: ``layout-unsupported``, for a tensor that is not made of 32 x 32 tiles, and for shards that no
            dictionary can express.
    """
    _check_tiled(tensor)
    layout = layout_of_memory(tensor.memory_config(), tuple(tensor.shape), axes=axes)
    stored = tensor.dtype.name.lower()
    return layout | {"dtype": stored} if stored in BLOCK_FLOATS else layout


def layout_of_memory(memory: Any, shape: Sequence[int], *, axes: Sequence[str] | None = None) -> dict[str, Any]:
    """The same for a ttnn MemoryConfig and a shape in elements."""
    ttnn = ttnn_api().ttnn
    kinds = {ttnn.BufferType.DRAM: "DRAM", ttnn.BufferType.L1: "L1"}
    if memory.buffer_type not in kinds:
        _unsupported("this kind of memory is not supported", memory.buffer_type.name, "DRAM or L1")
    place = kinds[memory.buffer_type]
    if not memory.is_sharded():
        return {"memory": place, "layout": "interleaved"}
    shape = tuple(shape)
    found = _shards(ttnn, memory, shape)
    nd_shard: dict[str, Any] = {
        "axes": list(axes) if axes is not None else default_axes(len(shape)),
        "grid": [-(-extent // size) for extent, size in zip(shape, found.sizes, strict=True)],
        "shard_shape_elems": found.sizes,
        "order": "row_major",
        "orientation": "col_major" if found.by_column else "row_major",
    }
    if place == "L1":
        nd_shard["core_ranges"] = found.ranges
        if prod(nd_shard["grid"]) > sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in found.ranges):
            nd_shard["distribution"] = found.distribution
    else:
        # A DRAM bank is the core (bank, 0).
        nd_shard["orientation"] = "row_major"
        nd_shard["banks"] = [bank for x0, _, x1, _ in found.ranges for bank in range(x0, x1 + 1)]
        nd_shard["distribution"] = found.distribution
    return {"memory": place, "layout": "sharded", "nd_shard": nd_shard}


def shard_of(memory: Any, shape: Sequence[int], device: Device) -> ShardSpec | None:
    """How a tensor of this memory configuration is cut and who holds it; None for an interleaved one.

    Raises:
        TTError: for shards that the package cannot express.
    """
    raw = layout_of_memory(memory, shape)
    layout = parse_user_layout("tensor", raw, shape, "bfloat16")
    if layout.nd_shard is None:
        return None
    stored = stored_shards(layout.nd_shard, tuple(shape))
    holders = shard_holders(stored.grid, layout.nd_shard, layout.memory, device, subject="tensor")
    return ShardSpec(stored.grid, stored.shard_tiles, holders.cores, holders.contiguous)


def memory_config(spec: TensorSpec) -> Any:
    """The ttnn MemoryConfig in which a program keeps a tensor.

    Shards that ttnn's height, width or block sharding can express are given as such, all others as N-dimensional shards
    dealt out to a list of cores or DRAM banks.
    """
    ttnn = ttnn_api().ttnn
    shard = spec.shard
    if shard is None:
        return ttnn.DRAM_MEMORY_CONFIG if spec.memory == "DRAM" else ttnn.L1_MEMORY_CONFIG
    kind = ttnn.BufferType.DRAM if spec.memory == "DRAM" else ttnn.BufferType.L1
    size = [*shard.shard_tiles[:-2], *(TILE * tiles for tiles in shard.shard_tiles[-2:])]
    if len(shard.grid) == 2 and shard.shards_per_core == 1:
        legacy = _legacy_shards(ttnn, spec, shard)
        if legacy is not None:
            layout, cores, orientation = legacy
            return ttnn.MemoryConfig(layout, kind, ttnn.ShardSpec(cores, size, orientation))
    strategies = ttnn.ShardDistributionStrategy
    strategy = strategies.CONTIGUOUS_1D if shard.contiguous else strategies.ROUND_ROBIN_1D
    row_major = ttnn.ShardOrientation.ROW_MAJOR
    nd_spec = ttnn.NdShardSpec(ttnn.Shape(size), core_range_set(shard.cores), row_major, strategy)
    return ttnn.MemoryConfig(kind, nd_spec)


def _legacy_shards(ttnn: Any, spec: TensorSpec, shard: ShardSpec) -> tuple[Any, Any, Any] | None:
    """ttnn's older layout of a matrix cut into one shard per core, its cores and how they are walked; None for none."""
    (rows, columns), (x, y) = shard.grid, shard.cores[0]
    tiles = stored_tiles(spec.shape, 2)
    layouts, orientations = ttnn.TensorMemoryLayout, ttnn.ShardOrientation
    by_row = tuple((x + column, y + row) for row in range(rows) for column in range(columns))
    by_column = tuple((x + row, y + column) for row in range(rows) for column in range(columns))
    if columns == 1 and shard.shard_tiles[1] == tiles[1]:
        return layouts.HEIGHT_SHARDED, core_range_set(shard.cores), orientations.ROW_MAJOR
    if rows == 1 and shard.shard_tiles[0] == tiles[0]:
        return layouts.WIDTH_SHARDED, core_range_set(shard.cores), orientations.ROW_MAJOR
    if spec.memory == "L1" and shard.cores == by_row:
        return layouts.BLOCK_SHARDED, _rectangle((x, y), columns, rows), orientations.ROW_MAJOR
    if spec.memory == "L1" and shard.cores == by_column:
        return layouts.BLOCK_SHARDED, _rectangle((x, y), rows, columns), orientations.COL_MAJOR
    return None


def core_range_set(cores: Sequence[Core]) -> Any:
    """``cores`` as a ttnn CoreRangeSet of the same order: runs along a row become one range."""
    ttnn = ttnn_api().ttnn
    runs: list[list[int]] = []
    for x, y in cores:
        if runs and runs[-1][1] == y and runs[-1][2] == x - 1:
            runs[-1][2] = x
        else:
            runs.append([x, y, x])
    return ttnn.CoreRangeSet(
        [ttnn.CoreRange(ttnn.CoreCoord(x0, y), ttnn.CoreCoord(x1, y)) for x0, y, x1 in runs],
    )


def _rectangle(first: Core, width: int, height: int) -> Any:
    ttnn = ttnn_api().ttnn
    (x, y), coord = first, ttnn.CoreCoord
    return ttnn.CoreRangeSet([ttnn.CoreRange(coord(x, y), coord(x + width - 1, y + height - 1))])


def _check_tiled(tensor: Any) -> None:
    ttnn = ttnn_api().ttnn
    if tensor.layout != ttnn.TILE_LAYOUT or list(tensor.tile.tile_shape) != [TILE, TILE]:
        tile = f" of tiles {list(tensor.tile.tile_shape)}" if tensor.layout == ttnn.TILE_LAYOUT else ""
        _unsupported(
            "the tensor is not made of 32 x 32 tiles",
            f"{tensor.layout.name} layout{tile}",
            "TILE layout of tiles [32, 32]",
            "convert it with ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
        )


def _padded(shape: tuple[int, ...]) -> list[int]:
    """The shape as stored: a vector [n] as [1, n], the last two dimensions rounded up to whole tiles."""
    sizes = [1] * (2 - len(shape)) + list(shape)
    return [*sizes[:-2], *(-(-size // TILE) * TILE for size in sizes[-2:])]


Ranges = list[list[int]]


@dataclass(frozen=True)
class _Shards:
    """ttnn's shards: elements along every dimension, the cores to walk, whether column by column, and how dealt out."""

    sizes: list[int]
    ranges: Ranges
    by_column: bool
    distribution: str


def _shards(ttnn: Any, memory: Any, shape: tuple[int, ...]) -> _Shards:
    strategy = ttnn.ShardDistributionStrategy
    distribution = "round_robin"
    if memory.shard_spec is not None:
        spec = memory.shard_spec
        size = _dimension_sizes(list(spec.shape), shape)
        two_dimensional = memory.memory_layout == ttnn.TensorMemoryLayout.BLOCK_SHARDED
    else:
        spec = memory.nd_shard_spec
        size = _nd_sizes(list(spec.shard_shape), shape)
        two_dimensional = spec.shard_distribution_strategy == strategy.GRID_2D
        if spec.shard_distribution_strategy == strategy.CONTIGUOUS_1D:
            distribution = "contiguous"
    by_column = spec.orientation == ttnn.ShardOrientation.COL_MAJOR
    ranges = [[area.start.x, area.start.y, area.end.x, area.end.y] for area in spec.grid.ranges()]
    if two_dimensional:
        ranges = [_block_cores(ranges, size, shape, by_column)]
    return _Shards(size, ranges, by_column, distribution)


def _block_cores(ranges: Ranges, size: list[int], shape: tuple[int, ...], by_column: bool) -> list[int]:
    """The part of a block sharding's rectangle that holds shards: shard (row, column) lies at that place in it."""
    if len(ranges) != 1:
        _unsupported("a block sharding is not on one rectangle of cores", ranges, "one rectangle")
    parts = [-(-extent // step) for extent, step in zip(shape, size, strict=True)]
    rows, columns = prod(parts[:-1]), parts[-1]
    width, height = (rows, columns) if by_column else (columns, rows)
    x, y = ranges[0][:2]
    return [x, y, x + width - 1, y + height - 1]


def _dimension_sizes(shard: list[int], shape: tuple[int, ...]) -> list[int]:
    """A shard of the tensor seen as a matrix, [rows, columns], along each dimension of the tensor."""
    sizes = [*_unfolded(shard[0], _padded(shape)[:-1], shard, shape), shard[1]]
    if len(shape) == 1 and sizes[0] != TILE:
        _no_blocks(shard, shape)
    return sizes[-len(shape) :]


def _unfolded(size: int, extents: list[int], shard: list[int], shape: tuple[int, ...]) -> list[int]:
    """``size`` along dimensions that are folded into one, for each of them; the others are for errors."""
    sizes: list[int] = []
    # From the inside out: whole dimensions as long as the shard has rows for them, then the one that is cut.
    for dim in range(len(extents) - 1, -1, -1):
        extent = extents[dim]
        if prod(extents[:dim]) == 1:
            own = size
        elif size % extent == 0 or extent % size == 0:
            own = min(size, extent)
        else:
            _no_blocks(shard, shape)
        sizes.insert(0, own)
        size = -(-size // own)
    return sizes


def _nd_sizes(shard: list[int], shape: tuple[int, ...]) -> list[int]:
    if len(shard) == 2:
        return _dimension_sizes(shard, shape)
    if len(shard) > len(shape):
        _no_blocks(shard, shape)
    # ttnn folds the dimensions for which the shard has no size into its first one.
    folded = len(shape) - len(shard) + 1
    return [*_unfolded(shard[0], list(shape[:folded]), shard, shape), *shard[1:]]


def _no_blocks(shard: list[int], shape: tuple[int, ...]) -> NoReturn:
    _unsupported(
        "the shards are no blocks of the tensor",
        f"shards of {shard} elements of shape {list(shape)}",
        "shards that cut one dimension but the last, all of them whole before and after it",
    )


def _unsupported(problem: str, found: object, expected: str, hint: str | None = None) -> NoReturn:
    raise LayoutError(
        Code.LAYOUT_UNSUPPORTED, problem, subject="ttnn tensor", found=found, expected=expected, hint=hint
    )


def describe(memory: str, shard: ShardSpec | None) -> str:
    """A layout in one line, for errors."""
    if shard is None:
        return f"{memory} interleaved"
    cores = ", ".join(str(core) for core in shard.cores[:4]) + (", ..." if len(shard.cores) > 4 else "")
    grid, tiles = (" x ".join(map(str, sizes)) for sizes in (shard.grid, shard.shard_tiles))
    several = f", {'consecutive ones' if shard.contiguous else 'in turn'}" if shard.shards_per_core > 1 else ""
    places = "banks" if memory == "DRAM" else "cores"
    return f"{memory} sharded {grid}, {tiles} tiles each, on {places} {cores}{several}"


def describe_memory(memory: Any, shape: Sequence[int], device: Device) -> tuple[str, ShardSpec | None, str]:
    """Kind of memory, shards, and both in one line for errors; kind "unsupported" where shards cannot be expressed."""
    kind = memory.buffer_type.name
    try:
        shard = shard_of(memory, shape, device)
    except TTError as error:
        return "unsupported", None, f"{memory} ({error.message})"
    return kind, shard, describe(kind, shard)
