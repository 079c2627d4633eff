"""T.cumsum as a product with a triangle of ones, or for a vector as a masked sum."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import SourceLocation
from ..tile_program.expressions import BlockTile, Choose, Constant, IndexTile, TileExpr, Unary
from ..tile_program.statements import Gemm, Map, Reduce, Statement


def of_matrix(
    src: str, ones: str, dst: str, *, dim: int, reverse: bool, location: SourceLocation | None
) -> Sequence[Statement]:
    """``dst`` = the running sums of ``src`` along ``dim``; ``ones`` is a square buffer of that dimension's size."""
    # Along the columns element k counts for all that are not in front of it, so the triangle is above the diagonal.
    triangle = Map(ones, Choose(_counts(above=(dim == 1) != reverse), Constant(1.0), Constant(0.0)), location)
    a, b = (src, ones) if dim == 1 else (ones, src)
    return [triangle, Gemm(a, b, dst, transpose_a=False, transpose_b=False, clear=True, location=location)]


def of_vector(
    src: str, square: str, dst: str, *, reverse: bool, location: SourceLocation | None
) -> Sequence[Statement]:
    """``dst`` = the running sums of the vector ``src``; ``square`` is a square buffer of its length."""
    counted = Choose(_counts(above=not reverse), BlockTile(src, broadcast="col"), Constant(0.0))
    return [Map(square, counted, location), Reduce(square, dst, "sum", 0, clear=True, location=location)]


def _counts(*, above: bool) -> TileExpr:
    """1 on the diagonal and above it, or below it; else 0."""
    return Unary("gez", IndexTile(-1, 1, "0") if above else IndexTile(1, -1, "0"))
