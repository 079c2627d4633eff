"""Blocks of tensors and on-chip buffers, and the values of element-wise expressions over them, tile by tile.

Indices are C++ expressions (strings) over the canonical runtime arguments, block indices and loop variables; shapes are
in hardware tiles (32x32 elements).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...formats import TILE
from .gathers import Gathered

Broadcast = Literal["", "row", "col", "all"]
"""How a vector meets a matrix: element j in every row ("row"), element i in every column ("col"), one element
everywhere ("all"), or not at all."""


@dataclass(frozen=True)
class Picked:
    """A row, a column or an element of tiles: C++ expressions of its place in them, None where it is all of a tile.

    ``alone``: what else there is in these tiles is padding.
    """

    row: str | None
    col: str | None
    alone: bool = False

    @property
    def places(self) -> list[str]:
        """Its row, its column, or both."""
        return [place for place in (self.row, self.col) if place is not None]

    @property
    def lies(self) -> Broadcast:
        """How it lies on chip, spread over whole tiles."""
        return "all" if self.row and self.col else "row" if self.row else "col"


@dataclass(frozen=True)
class Shift:
    """How far inside its first hardware tiles a block begins: rows and columns of elements, C++ expressions of numbers
    below 32."""

    rows: str = "0"
    cols: str = "0"


@dataclass(frozen=True)
class TensorBlock:
    """A rectangle of a tensor: ``rows`` x ``cols`` tiles from tile (``row``, ``col``) on.

    ``leading`` is the index of the matrix among those that the leading dimensions count ("0" for a matrix);
    ``tensor_rows`` and ``tensor_cols`` (C++ expressions) are the size in tiles of each of these matrices. Of a vector,
    a row of tiles, only the first row of elements counts. ``past_rows`` and ``past_cols``: the block may reach past the
    tensor's last tiles. ``last_rows`` and ``last_cols``: elements of the tensor in these, C++ expressions. ``picked``:
    of these tiles only a row, a column or an element is meant. ``shift``: the block has as many elements as these
    tiles, and lies in them and those behind them; None where it begins with a tile.
    """

    tensor: str
    leading: str
    row: str
    col: str
    rows: int
    cols: int
    tensor_rows: str
    tensor_cols: str
    is_vector: bool = False
    past_rows: bool = False
    past_cols: bool = False
    leading_inside: str = ""
    """A C++ condition for the leading dimensions' indices to lie inside, where that is known only when it runs."""
    picked: Picked | None = None
    gathered: Gathered | None = None
    """Where the elements of ``rows`` x ``cols`` tiles lie, where that is anywhere in the tensor."""
    shift: Shift | None = None
    last_rows: str = str(TILE)
    last_cols: str = str(TILE)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that are read: its own, and those that say where it lies."""
        return self.tensor, *(element.tensor for element in (self.gathered.elements if self.gathered else ()))

    @property
    def has_last_rows(self) -> bool:
        """Whether the last tiles along the rows may reach past the tensor's end."""
        return self.last_rows != str(TILE)

    @property
    def has_last_cols(self) -> bool:
        """The same along the columns."""
        return self.last_cols != str(TILE)

    def rows_inside(self, r: str) -> str:
        """How many rows of elements of tile row ``r`` of the block are the tensor's, as a C++ expression."""
        return _elements(self.row, r, self.tensor_rows, self.last_rows)

    def cols_inside(self, c: str) -> str:
        """How many columns of elements of tile column ``c`` of the block are the tensor's, as a C++ expression."""
        return _elements(self.col, c, self.tensor_cols, self.last_cols)

    def inside(self, r: str, c: str) -> str | None:
        """Whether tile (r, c) of the block is one of the tensor, as a C++ condition; None where all are."""
        conditions = [self.leading_inside] if self.leading_inside else []
        if self.past_rows:
            conditions.append(f"{_sum(self.row, r)} < {self.tensor_rows}")
        if self.past_cols:
            conditions.append(f"{_sum(self.col, c)} < {self.tensor_cols}")
        return " && ".join(conditions) or None

    @property
    def matrix_row(self) -> str:
        """Its first row in the matrix that all matrices of the tensor make, one below the other."""
        return _sum(_product(self.leading, self.tensor_rows), self.row)

    def page(self, r: str, c: str) -> str:
        """The page (tile) number of tile (r, c) of the block, as a C++ expression."""
        return _sum(_product(_sum(self.matrix_row, r), self.tensor_cols), self.col, c)


@dataclass(frozen=True)
class Block:
    """An on-chip buffer (T.alloc_shared or T.alloc_fragment) of ``rows`` x ``cols`` tiles.

    Of these, ``height`` x ``width`` elements are the kernel's, anything lies past them. A vector is one row of tiles;
    ``lies``: how it lies whatever uses it, as one column or one row of a matrix does, and "all" for a buffer of one
    element.
    """

    name: str
    rows: int
    cols: int
    dtype: str
    height: int
    width: int
    is_vector: bool = False
    lies: Broadcast = ""

    @staticmethod
    def of_shape(name: str, shape: Sequence[int], dtype: str, *, is_one: bool = False) -> Block:
        """The block for a buffer of ``shape``, in elements; ``is_one``: of one element, known to be.

        Of more than two dimensions, the matrices that the last two make lie one below the other, each in tiles of its
        own. Dimensions of 1 are none then.
        """
        if len(shape) > 2:
            shape = [size for size in shape if size != 1] or [1]
        if len(shape) > 2:
            rows, cols = (-(-size // TILE) for size in shape[-2:])
            rows *= math.prod(shape[:-2])
            return Block(name, rows, cols, dtype, rows * TILE, shape[-1])
        if len(shape) == 1 or 1 in shape:
            lies = "all" if is_one else "" if len(shape) == 1 else "col" if shape[1] == 1 else "row"
            length = max(shape)
            return Block(name, 1, -(-length // TILE), dtype, 1, length, is_vector=True, lies=lies)
        rows, cols = (-(-size // TILE) for size in shape)
        return Block(name, rows, cols, dtype, shape[0], shape[1])


# ---- values of an element-wise expression, tile by tile ------------------------------------------------------------


@dataclass(frozen=True)
class Rectangle:
    """``rows`` x ``cols`` tiles of an on-chip buffer from tile (``row``, ``col``), C++ expressions, on.

    Of a vector, which is one row of tiles: however it lies.
    """

    row: str
    col: str
    rows: int
    cols: int


@dataclass(frozen=True)
class BlockTile:
    """The tile at the same place in an on-chip buffer, or in its transpose; a vector may be broadcast over a matrix.

    ``part``: in this part of the buffer alone; ``picked``: of its tiles only a row, a column or an element is meant. An
    element of a vector, which is one row of tiles, is given as in the first row of its tile.
    """

    block: str
    broadcast: Broadcast = ""
    transposed: bool = False
    part: Rectangle | None = None
    picked: Picked | None = None


@dataclass(frozen=True)
class TensorTile:
    """The tile at the same place in a rectangle of a tensor that the expression reads directly."""

    source: TensorBlock
    broadcast: Broadcast = ""
    transposed: bool = False


@dataclass(frozen=True)
class Constant:
    """The same number in every element."""

    value: float


@dataclass(frozen=True)
class Integer:
    """The same int32 in every element."""

    value: int


@dataclass(frozen=True)
class Unary:
    """``op`` of every element; names as in ``metalium.UNARY``."""

    op: str
    arg: TileExpr


@dataclass(frozen=True)
class Binary:
    """``a op b`` for every element; ``op`` is one of ``metalium.BINARY``: of two floats, or of two int32."""

    op: str
    a: TileExpr
    b: TileExpr


@dataclass(frozen=True)
class IndexTile:
    """``rows`` * i + ``cols`` * j + ``offset`` (C++), for element (i, j) of the block: a float, or an int32."""

    rows: int
    cols: int
    offset: str
    integer: bool = False


@dataclass(frozen=True)
class Choose:
    """``a`` where ``condition`` is not 0, else ``b``."""

    condition: TileExpr
    a: TileExpr
    b: TileExpr


TileExpr = BlockTile | TensorTile | Constant | Integer | IndexTile | Unary | Binary | Choose


def operands(expr: TileExpr) -> list[BlockTile | TensorTile]:
    """The buffers and tensors that an expression reads, left to right."""
    if isinstance(expr, (BlockTile, TensorTile)):
        return [expr]
    if isinstance(expr, Unary):
        return operands(expr.arg)
    if isinstance(expr, Binary):
        return operands(expr.a) + operands(expr.b)
    if isinstance(expr, Choose):
        return operands(expr.condition) + operands(expr.a) + operands(expr.b)
    return []


def _elements(first: str, tile: str, tiles: str, last: str) -> str:
    if tiles == "1" or last == str(TILE):
        return last
    return f"({_sum(first, tile, '1')} < {tiles} ? {TILE} : {last})"


def _product(a: str, b: str) -> str:
    if "0" in (a, b):
        return "0"
    if "1" in (a, b):
        return b if a == "1" else a
    return str(int(a) * int(b)) if a.isdigit() and b.isdigit() else f"{_atom(a)} * {_atom(b)}"


def _sum(*terms: str) -> str:
    constant = sum(int(term) for term in terms if term.isdigit())
    symbolic = [term for term in terms if not term.isdigit()]
    return " + ".join(symbolic + ([str(constant)] if constant or not symbolic else []))


def _atom(expr: str) -> str:
    return expr if expr.replace("_", "").isalnum() else f"({expr})"
