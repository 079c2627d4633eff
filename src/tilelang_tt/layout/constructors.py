"""Layout dictionaries that read well: ``annotate_tt_layout(func, {"C": block_sharded((512, 512), (8, 8))})``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._plain import ceil_div, int_tuple
from ..errors import Code, LayoutError
from .types import TILE, Distribution, MajorOrder, Memory


def interleaved(memory: Memory = "DRAM") -> dict[str, Any]:
    """A tensor whose hardware tiles go round the memory banks in turn."""
    return {"memory": memory, "layout": "interleaved"}


def nd_sharded(
    shape: Sequence[int],
    shard: Sequence[int],
    memory: Memory = "L1",
    *,
    axes: Sequence[str] | None = None,
    distribution: Distribution | None = None,
    order: MajorOrder = "row_major",
    orientation: MajorOrder = "row_major",
    core_ranges: Sequence[Sequence[int]] | None = None,
    banks: Sequence[int] | None = None,
) -> dict[str, Any]:
    """A tensor of any number of dimensions cut into shards of ``shard`` elements.

    Args:
        shape: sizes of the tensor in elements.
        shard: sizes of a shard, whole hardware tiles in the last two dimensions.
        axes: what the dimensions mean to the kernel, see :class:`NdShard`; by default M and N for the last two, or N
            for the only one, and B for those before.
        distribution: who holds which shard: "one_per_core", "round_robin" or "contiguous". By default one per core in
            L1, and round the banks in DRAM.
        memory, order, orientation, core_ranges, banks: see :class:`NdShard`.

    Raises:
        LayoutError: ``bad-value`` when shape and shard are not as many integers from 1 up.
    """
    rank = len(shape) if isinstance(shape, (list, tuple)) else 0
    for name, value in (("shape", shape), ("shard", shard)):
        if rank == 0 or int_tuple(value, length=rank, minimum=1) is None:
            raise LayoutError(
                Code.BAD_VALUE,
                f"{name} of a sharded layout is wrong",
                subject=name,
                found=value,
                expected="integers from 1 up, one per dimension of the tensor",
            )
    nd_shard: dict[str, Any] = {
        "axes": list(axes if axes is not None else default_axes(rank)),
        "grid": [ceil_div(size, part) for size, part in zip(shape, shard, strict=True)],
        "shard_shape_elems": list(shard),
        "order": order,
        "orientation": orientation,
    }
    if core_ranges is not None:
        nd_shard["core_ranges"] = [list(area) for area in core_ranges]
    if distribution is not None:
        nd_shard["distribution"] = distribution
    if banks is not None:
        nd_shard["banks"] = list(banks)
    return {"memory": memory, "layout": "sharded", "nd_shard": nd_shard}


def default_axes(rank: int) -> list[str]:
    """What the dimensions of a tensor most likely mean to a kernel: a row of blocks, a matrix, or batches of them."""
    return ["N"] if rank == 1 else ["B"] * (rank - 2) + ["M", "N"]


def block_sharded(
    shape: Sequence[int],
    grid: Sequence[int],
    memory: Memory = "L1",
    *,
    axes: Sequence[str] = ("M", "N"),
    align: Sequence[int] = (TILE, TILE),
    **options: Any,
) -> dict[str, Any]:
    """A matrix cut into ``grid`` shards, rows by columns.

    Args:
        shape: rows and columns of the tensor in elements.
        grid: number of shards along the rows and along the columns.
        axes: what the two dimensions mean to the kernel, see :class:`NdShard`.
        align: shards are rounded up to a multiple of this many elements; give the kernel's block sizes where they are
            larger than a hardware tile.
        memory: where it lives.
        options: distribution, order, orientation, core_ranges and banks, as for :func:`nd_sharded`.

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
    return nd_sharded(shape, shard, memory, axes=axes, **options)


def height_sharded(shape: Sequence[int], shards: int, memory: Memory = "L1", **options: Any) -> dict[str, Any]:
    """A matrix cut into ``shards`` bands of whole rows; options and errors as for :func:`block_sharded`."""
    return block_sharded(shape, (shards, 1), memory, **options)


def width_sharded(shape: Sequence[int], shards: int, memory: Memory = "L1", **options: Any) -> dict[str, Any]:
    """A matrix cut into ``shards`` bands of whole columns; options and errors as for :func:`block_sharded`."""
    return block_sharded(shape, (1, shards), memory, **options)
