"""Parts of on-chip buffers: rectangles of whole hardware tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import arith, tirx

from ...errors import Code, UnsupportedError
from ...formats import TILE
from ...language import tile_ops
from ..tile_program.expressions import Rectangle

Axis = tuple[Any, int, int]
"""Along a dimension of a buffer: the part's first element, its elements, and those of the buffer."""


def rectangle(region: tile_ops.Region, analyzer: arith.Analyzer, text: Callable[[Any], str]) -> Rectangle | None:
    """The hardware tiles that ``region`` of an on-chip buffer is; None for the whole buffer.

    ``text`` makes a C++ expression of an integer.
    Raises:
        UnsupportedError: ``unsupported``, unless it is known to begin and end at hardware tiles of the buffer.
    """
    shape = [int(dim) for dim in region.buffer.shape]
    axes = list(zip((analyzer.simplify(first) for first in region.mins), region.extents, shape, strict=True))
    if all(_is_all(axis) for axis in axes):
        return None
    if not all(_is_all(axis) or _is_whole_tiles(axis, analyzer) for axis in axes):
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"a part of on-chip buffer {region.name} is not whole hardware tiles of it",
            subject=region.name,
            found=f"{list(region.extents)} at {[str(first) for first, _, _ in axes]} of {shape}",
            expected=f"a corner and a size that are multiples of {TILE}, or end where the buffer does",
            hint="copy whole buffers, or load the part into a buffer of its own",
        )
    (row, rows), (col, cols) = (_tiles(axis, analyzer, text) for axis in _of_matrix(axes))
    return Rectangle(row, col, rows, cols)


def _is_all(axis: Axis) -> bool:
    first, extent, size = axis
    return isinstance(first, tirx.IntImm) and int(first) == 0 and extent == size


def _is_whole_tiles(axis: Axis, analyzer: arith.Analyzer) -> bool:
    first, extent, size = axis
    begins = analyzer.can_prove_equal(tirx.floormod(first, TILE), 0) and analyzer.can_prove(first >= 0)
    ends = (
        analyzer.can_prove(first + extent <= size)
        if extent % TILE == 0
        else analyzer.can_prove_equal(first + extent, size)
    )
    return extent > 1 and begins and ends


def _of_matrix(axes: Sequence[Axis]) -> Sequence[Axis]:
    """The axes of a matrix; of a vector, which is one row of tiles however it lies, its own axis last."""
    own = [axis for axis in axes if axis[2] != 1]
    return axes if len(own) == 2 else ((tirx.IntImm("int32", 0), 1, 1), own[0])


def _tiles(axis: Axis, analyzer: arith.Analyzer, text: Callable[[Any], str]) -> tuple[str, int]:
    first, extent, _ = axis
    return text(analyzer.simplify(tirx.floordiv(first, TILE))), -(-extent // TILE)
