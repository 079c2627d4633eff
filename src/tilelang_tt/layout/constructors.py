"""Layout dictionaries that read well: ``annotate_tt_layout(func, {"C": block_sharded((512, 512), (8, 8))})``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._plain import ceil_div, int_tuple
from ..errors import Code, LayoutError
from .types import TILE, MajorOrder, Memory


def interleaved(memory: Memory = "DRAM") -> dict[str, Any]:
    """A tensor whose hardware tiles go round the memory banks in turn."""
    return {"memory": memory, "layout": "interleaved"}


def block_sharded(
    shape: Sequence[int],
    grid: Sequence[int],
    memory: Memory = "L1",
    *,
    axes: Sequence[str] = ("M", "N"),
    align: Sequence[int] = (TILE, TILE),
    order: MajorOrder = "row_major",
    orientation: MajorOrder = "row_major",
    core_ranges: Sequence[Sequence[int]] | None = None,
) -> dict[str, Any]:
    """A matrix cut into ``grid`` shards, rows by columns.

    Args:
        shape: rows and columns of the tensor in elements.
        grid: number of shards along the rows and along the columns.
        axes: what the two dimensions mean to the kernel, see :class:`NdShard`.
        align: shards are rounded up to a multiple of this many elements; give the kernel's block sizes where they are
            larger than a hardware tile.
        memory, order, orientation, core_ranges: see :class:`NdShard`.

    Raises:
        LayoutError: ``bad-value`` when shape, grid or align are not two integers from 1 up.
    """
    numbers = {"shape": shape, "grid": grid, "align": align}
    for name, value in numbers.items():
        if int_tuple(value, length=2, minimum=1) is None:
            raise LayoutError(
                Code.BAD_VALUE,
                f"{name} of a sharded layout is wrong",
                subject=name,
                found=value,
                expected="two integers from 1 up: rows, columns",
            )
    shard = [ceil_div(ceil_div(size, parts), step) * step for size, parts, step in zip(shape, grid, align, strict=True)]
    nd_shard: dict[str, Any] = {
        "axes": list(axes),
        "grid": list(grid),
        "shard_shape_elems": shard,
        "order": order,
        "orientation": orientation,
    }
    if core_ranges is not None:
        nd_shard["core_ranges"] = [list(area) for area in core_ranges]
    return {"memory": memory, "layout": "sharded", "nd_shard": nd_shard}


def height_sharded(shape: Sequence[int], shards: int, memory: Memory = "L1", **options: Any) -> dict[str, Any]:
    """A matrix cut into ``shards`` bands of whole rows; options and errors as for :func:`block_sharded`."""
    return block_sharded(shape, (shards, 1), memory, **options)


def width_sharded(shape: Sequence[int], shards: int, memory: Memory = "L1", **options: Any) -> dict[str, Any]:
    """A matrix cut into ``shards`` bands of whole columns; options and errors as for :func:`block_sharded`."""
    return block_sharded(shape, (1, shards), memory, **options)
