"""Expressions bound to the tiles that buffers hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..cexpr import plus, times
from ..cpp.circular_buffers import CircularBuffer
from ..tile_program.expressions import Constant, Integer


@dataclass(eq=False)
class Tiles:
    """A block of tiles that lies in a circular buffer or, while ``cb`` is None, in DST from register 0 on.

    A vector is a column (or row) of tiles whose columns (or rows) are all the same, unless it is not ``replicated``:
    then only the first row of its tiles counts. ``row_stride``: pages from a row of tiles to the next, or from a column
    to the next where they are ``column_major``. ``awaited``: the compute kernel has waited for them; ``stale``: they
    have been popped. ``whole``: what they are a part of, and are popped with.
    """

    rows: int
    cols: int
    cb: CircularBuffer | None = None
    base: str = "0"
    row_stride: int = 0
    column_major: bool = False
    replicated: bool = True
    awaited: bool = True
    stale: bool = False
    whole: Tiles | None = None

    @property
    def popped(self) -> bool:
        """Whether they are there no more."""
        return self.stale or (self.whole is not None and self.whole.popped)

    def part(self, row: str, col: str, rows: int, cols: int) -> Tiles:
        """``rows`` x ``cols`` tiles of them from tile (``row``, ``col``) on."""
        return replace(self, rows=rows, cols=cols, base=self.index(row, col), whole=self)

    @property
    def rows_apart(self) -> int:
        """Pages from a tile to the one below it."""
        return 1 if self.column_major else self.row_stride

    def index(self, r: str | int, c: str | int) -> str:
        """The index of tile (r, c) in the circular buffer, as a C++ expression."""
        outer, inner = (c, r) if self.column_major else (r, c)
        return plus(self.base, plus(times(str(outer), self.row_stride), str(inner)))


Access = Literal["", "row", "col", "single", "first_row"]
"""Which tile of an operand meets tile (r, c): the same, (0, c), (r, 0) or, for "single", (0, 0).

"first_row" is (0, c), of which only the first row counts.
"""


@dataclass(frozen=True)
class Operand:
    """A leaf of a bound expression: a tile of ``tiles`` for every tile of the result."""

    tiles: Tiles
    name: str
    access: Access = ""

    def index(self, r: str, c: str) -> str:
        """The index in the circular buffer of the tile that meets tile (r, c), a C++ expression."""
        row = "0" if self.access in ("row", "first_row", "single") else r
        col = "0" if self.access in ("col", "single") else c
        return self.tiles.index(row, col)


@dataclass(frozen=True)
class Apply:
    """An operation on bound expressions: unary with ``b`` None."""

    op: str
    a: Value
    b: Value | None = None


@dataclass(frozen=True)
class Indices:
    """A leaf: ``rows`` * (row of the element) + ``cols`` * (its column) + ``offset``, a C++ expression.

    A float, or an int32.
    """

    rows: int
    cols: int
    offset: str
    integer: bool = False


@dataclass(frozen=True)
class Select:
    """``a`` where ``condition`` is not 0, else ``b``."""

    condition: Value
    a: Value
    b: Value


@dataclass(frozen=True)
class Product:
    """A leaf: ``a`` times ``b``, or times its transpose, over ``steps`` tiles. The sums are made in DST."""

    a: Operand
    b: Operand
    steps: int
    transpose_b: bool = False


Orientation = Literal["row", "col"]
"""Whether a vector's elements run along the columns of its tiles ("row") or along their rows ("col")."""

Value = Operand | Product | Constant | Integer | Indices | Apply | Select
"""A bound expression: its leaves are the tiles that the buffers held when it was written."""


def is_integer(value: Value) -> bool:
    """Whether the elements of ``value`` are int32 while they are in DST; else they are float32."""
    if isinstance(value, Operand):
        return value.tiles.cb is not None and value.tiles.cb.data_format == "Int32"
    if isinstance(value, Indices):
        return value.integer
    if isinstance(value, Apply):
        return value.op.endswith("int32")
    return is_integer(value.a) if isinstance(value, Select) else isinstance(value, Integer)


def converted(value: Value, to_integer: bool) -> Value:
    """``value`` as int32 (cut towards zero), or as float32."""
    if is_integer(value) == to_integer:
        return value
    if isinstance(value, Constant):
        return Integer(int(value.value))
    if isinstance(value, Integer):
        return Constant(float(value.value))
    return Apply("float32_to_int32" if to_integer else "int32_to_float32", value)


def is_computed(value: Value) -> bool:
    """Whether there is work in ``value``: it is not just tiles, or the same number everywhere."""
    return isinstance(value, (Apply, Select, Product))


def products(value: Value) -> list[Product]:
    """The products of matrices in a bound expression, left to right."""
    if isinstance(value, Product):
        return [value]
    if isinstance(value, Apply):
        return products(value.a) + (products(value.b) if value.b is not None else [])
    if isinstance(value, Select):
        return products(value.condition) + products(value.a) + products(value.b)
    return []


def replaced(value: Value, by: Callable[[Product], Value]) -> Value:
    """``value`` with something else for each of its products of matrices."""
    if isinstance(value, Product):
        return by(value)
    if isinstance(value, Apply):
        return Apply(value.op, replaced(value.a, by), None if value.b is None else replaced(value.b, by))
    if isinstance(value, Select):
        return Select(*(replaced(part, by) for part in (value.condition, value.a, value.b)))
    return value


def leaves(value: Value) -> list[Operand]:
    """The operands of a bound expression, left to right."""
    if isinstance(value, Operand):
        return [value]
    if isinstance(value, Product):
        return [value.a, value.b]
    if isinstance(value, Apply):
        return leaves(value.a) + (leaves(value.b) if value.b is not None else [])
    if isinstance(value, Select):
        return leaves(value.condition) + leaves(value.a) + leaves(value.b)
    return []
