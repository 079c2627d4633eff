"""Parts of on-chip buffers: rectangles that begin at hardware tiles, and single rows, columns and elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import arith, tirx

from ...errors import Code, UnsupportedError
from ...formats import TILE
from ...language import tile_ops
from ..tile_program.expressions import (
    Binary,
    BlockTile,
    Broadcast,
    Choose,
    IndexTile,
    Picked,
    Rectangle,
    TileExpr,
    Unary,
)

Axis = tuple[Any, int, int]
"""Along a dimension of a buffer: the part's first element, its elements, and those of the buffer."""


@dataclass(frozen=True)
class Part:
    """Hardware tiles of an on-chip buffer and what of them is meant: all, or one row, column or element.

    ``rows`` and ``cols``: how many elements of the rectangle are meant, from its first on; None for all. A vector's
    tiles are one row of them, the same in each of their rows.
    """

    rectangle: Rectangle
    is_vector: bool
    picked: Picked | None = None
    rows: int | None = None
    cols: int | None = None

    @property
    def lies(self) -> Broadcast:
        """How a value meets what is meant, in whole tiles: "" for a rectangle."""
        return self.picked.lies if self.picked else ""

    def kept(self, name: str, value: TileExpr) -> TileExpr:
        """``value`` for what is meant of these tiles of the buffer ``name``, what they hold for the rest."""
        row, col = (self.picked.row, self.picked.col) if self.picked else (None, None)
        places = (None if self.is_vector else row, col)
        inside: TileExpr | None = None
        for place, count, axis in zip(places, (self.rows, self.cols), ((1, 0), (0, 1)), strict=True):
            if place is not None:
                here: TileExpr = Unary("eqz", IndexTile(*axis, f"-int32_t({place})"))
            elif count is not None:
                here = Unary("ltz", IndexTile(*axis, f"-{count}"))
            else:
                continue
            inside = here if inside is None else Binary("min", inside, here)
        return value if inside is None else Choose(inside, value, BlockTile(name, part=self.rectangle))


def part_of(
    region: tile_ops.Region, shape: Sequence[int], analyzer: arith.Analyzer, text: Callable[[Any], str]
) -> Part | None:
    """What ``region`` of an on-chip buffer of ``shape`` is; None for the whole buffer.

    ``text`` makes a C++ expression of an integer.
    Raises:
        UnsupportedError: ``unsupported``, unless each of its sides is one element, or is known to begin at a hardware
            tile, and all of it is known to lie inside the buffer.
    """
    axes = list(zip((analyzer.simplify(first) for first in region.mins), region.extents, shape, strict=True))
    if all(_is_all(axis) for axis in axes):
        return None
    matrices, matrix = _split(axes)
    inside = all(_is_all(axis) or _is_inside(axis, analyzer) for axis in axes)
    if not inside or not all(_begins_at_a_tile(axis, analyzer) for axis in matrix) or not _adjoin(matrices, matrix):
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"a part of on-chip buffer {region.name} does not begin at a hardware tile of it",
            subject=region.name,
            found=f"{list(region.extents)} at {[str(first) for first, _, _ in axes]} of {list(shape)}",
            expected=f"one row, column or element, or a corner at multiples of {TILE}, inside the buffer",
            hint="copy whole buffers, or load the part into a buffer of its own",
        )
    is_vector = sum(size != 1 for size in shape) == 1
    ends = [_end(axis, analyzer) for axis in matrix]
    place_row, place_col = (_place(axis, analyzer, text) for axis in matrix)
    picked = Picked(place_row, place_col)
    if is_vector and picked.places:
        picked = Picked("0", picked.col)
    rectangle = _rectangle(matrices, matrix, lambda index: text(analyzer.simplify(index)))
    return Part(rectangle, is_vector, picked if picked.places else None, *ends)


def _is_all(axis: Axis) -> bool:
    first, extent, size = axis
    return isinstance(first, tirx.IntImm) and int(first) == 0 and extent == size


def _is_inside(axis: Axis, analyzer: arith.Analyzer) -> bool:
    first, extent, size = axis
    return analyzer.can_prove(first >= 0) and analyzer.can_prove(first + extent <= size)


def _begins_at_a_tile(axis: Axis, analyzer: arith.Analyzer) -> bool:
    first, extent, _ = axis
    return extent == 1 or analyzer.can_prove_equal(tirx.floormod(first, TILE), 0)


def _split(axes: Sequence[Axis]) -> tuple[Sequence[Axis], Sequence[Axis]]:
    """The axes that count matrices, and those of the matrix; of a vector, which is one row of tiles however it lies,
    its own axis last."""
    own = [axis for axis in axes if axis[2] != 1]
    return (own[:-2], own[-2:]) if len(own) > 1 else ((), ((tirx.IntImm("int32", 0), 1, 1), *own))


def _adjoin(matrices: Sequence[Axis], matrix: Sequence[Axis]) -> bool:
    """Whether the tiles of a part follow one another: of several matrices it has all tiles."""
    several = [place for place, (_, extent, _) in enumerate(matrices) if extent > 1]
    return not several or all(_is_all(axis) for axis in (*matrices[several[0] + 1 :], *matrix))


def _rectangle(matrices: Sequence[Axis], matrix: Sequence[Axis], text: Callable[[Any], str]) -> Rectangle:
    (row, rows, height), (col, cols, _) = matrix
    number: Any = tirx.IntImm("int32", 0)
    for first, _, size in matrices:
        number = number * size + first
    count = math.prod(extent for _, extent, _ in matrices)
    tiles = -(-height // TILE)
    first_row, first_col = (tirx.floordiv(first, TILE) for first in (row, col))
    return Rectangle(
        text(number * tiles + first_row), text(first_col), (count - 1) * tiles + -(-rows // TILE), -(-cols // TILE)
    )


def _place(axis: Axis, analyzer: arith.Analyzer, text: Callable[[Any], str]) -> str | None:
    """The place in its tile of the one element along a dimension, where that has more."""
    first, extent, size = axis
    return text(analyzer.simplify(tirx.floormod(first, TILE))) if extent == 1 != size else None


def _end(axis: Axis, analyzer: arith.Analyzer) -> int | None:
    """How many elements of a part's tiles are its own, where others of the buffer follow them."""
    first, extent, size = axis
    if extent == 1 or extent % TILE == 0 or analyzer.can_prove_equal(first + extent, size):
        return None
    return extent
