"""Products of blocks of tiles, summed in DST.

Sums along rows or columns, and spreading a column, are products with a tile of ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...formats import tile_bytes
from ..cexpr import plus
from ..cpp.circular_buffers import CircularBuffer
from .context import Context
from .values import Operand, Product, Tiles


@dataclass(frozen=True)
class Part:
    """A range of a product's rows or columns: from tile ``first`` (a C++ expression), ``count`` of them."""

    first: str
    count: int


def ones(ctx: Context, partner: CircularBuffer) -> Operand:
    """Ones, as many as there have to be to multiply what is in ``partner`` with."""
    return Operand(Tiles(1, 1, ctx.ones(partner), row_stride=1), "ones", "single")


def sum_along(ctx: Context, source: Tiles, name: str, axis: int) -> Product:
    """The sums of the rows (``axis`` 1) or columns (0) of ``source``, the same in every column (or row) of tiles."""
    assert source.cb is not None
    matrix, with_ones = Operand(source, name), ones(ctx, source.cb)
    return Product(matrix, with_ones, source.cols) if axis == 1 else Product(with_ones, matrix, source.rows)


def subblock(rows: int, cols: int, most: int) -> tuple[int, int]:
    """The part of a block that goes through DST, with room for ``most`` tiles, at a time: most tiles, then the squarest
    (fewest operand reads)."""
    shapes = [(r, c) for r in range(1, most + 1) for c in range(1, most // r + 1) if not rows % r and not cols % c]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], -abs(shape[0] - shape[1])))


def multiply(ctx: Context, product: Product, rows: Part, cols: Part, register: int = 0) -> None:
    """DST += ``rows`` and ``cols`` of ``product``, row by row from ``register`` on."""
    a, b = product.a.tiles, product.b.tiles
    assert a.cb is not None
    assert b.cb is not None
    # One call takes neighbouring columns of op(b) from neighbouring pages.
    in_one_call = b.column_major == product.transpose_b
    rt, ct = (rows.count, cols.count) if in_one_call else (1, 1)
    transpose = int(product.transpose_b)
    ctx.matmul(a.cb, b.cb, transpose, ct, rt, a.rows_apart)
    ctx.compute.open_loop("k", product.steps)
    for r in range(0, rows.count, rt):
        for c in range(0, cols.count, ct):
            row, col = plus(rows.first, r), plus(cols.first, c)
            b_index = product.b.index(col, "k") if product.transpose_b else product.b.index("k", col)
            ctx.compute.line(
                f"matmul_block({a.cb.name}, {b.cb.name}, {product.a.index(row, 'k')}, {b_index}, "
                f"{register + r * cols.count + c}, {transpose}, {ct}, {rt}, {a.rows_apart});"
            )
    ctx.compute.close_loop()


def is_worth_reading_again(ctx: Context, product: Product, whole: tuple[int, int], part: tuple[int, int]) -> bool:
    """Whether to make a product in ``part`` of DST where it is used: its operands are read more often than when all of
    DST is there for it, as ``whole``, but it is not packed and unpacked."""
    return _bytes_read(product, part) - _bytes_read(product, whole) <= 2 * tile_bytes(ctx.widest)


def _bytes_read(product: Product, part: tuple[int, int]) -> float:
    """Of the operands, for every tile of the product: a call reads the tiles of the longer side again for each of the
    other."""
    rows, cols = part
    a, b = product.a.tiles.cb, product.b.tiles.cb
    assert a is not None
    assert b is not None
    if cols >= rows:
        return product.steps * (a.page_size / cols + b.page_size)
    return product.steps * (a.page_size + b.page_size / rows)
