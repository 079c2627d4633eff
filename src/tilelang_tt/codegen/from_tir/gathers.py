"""Elements of tensors that are picked by computed indices, as ``A[rows[i], j]`` or an image's for a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tilelang import tvm
from tvm import tirx

from ...formats import TILE
from ...language import tile_ops
from ...language.nodes import moves_as_block, nodes, same_expr, uses
from ..tile_program.expressions import Broadcast, TensorBlock, TensorTile
from ..tile_program.gathers import PIECE, ROW, Element, Gathered
from .regions import Regions, place_of, refused
from .scalars import replace_scalars

PIECES = (32, 16, 8, 4, 2, 1)
"""Elements that pieces may have: they lie in one row of a hardware tile, here and there."""


def is_gathered(load: Any, loops: Sequence[tirx.For], regions: Regions) -> bool:
    """Whether ``load`` picks elements of a tensor otherwise than as a block of it."""
    if not isinstance(load, tirx.BufferLoad) or not tile_ops.is_global(load.buffer):
        return False
    return not moves_as_block(load.indices, [loop.loop_var for loop in loops], regions.analyzer)


def is_index(condition: Any) -> bool:
    """Whether ``condition`` is one of indices and of what tensors of integers hold."""
    loads = nodes(condition, tirx.BufferLoad)
    return all(tile_ops.is_global(load.buffer) and str(load.dtype).startswith("int") for load in loads)


def gathered(load: tirx.BufferLoad, loops: Sequence[tirx.For], regions: Regions, condition: Any = None) -> TensorTile:
    """``load`` over all values of ``loops``, one or two; zeros where ``condition``, of indices, does not hold.

    Raises:
        UnsupportedError: ``unsupported``, for indices that are not made of loop variables, numbers and tensors of
            integers.
    """
    exprs = [*load.indices, *([] if condition is None else [condition])]
    used = [loop for loop in loops if any(uses(expr, loop.loop_var) for expr in exprs)]
    over: Broadcast = ""
    if len(used) < len(loops):
        over = "col" if used[0] is loops[0] else "row"
    transposed = len(used) == 2 and _moves_by_one(load.indices[-1], used, regions)
    rows, cols = (None, used[0]) if len(used) == 1 else used[::-1] if transposed else used
    height, width = (1 if loop is None else int(loop.extent) for loop in (rows, cols))
    sizes = (piece for piece in PIECES if width % piece == 0)
    picked = next(found for size in sizes if (found := _in_pieces(size, load, condition, rows, cols, regions)))
    block = TensorBlock(
        tensor=str(load.buffer.name),
        leading="0",
        row="0",
        col="0",
        rows=-(-height // TILE),
        cols=-(-width // TILE),
        tensor_rows="0",
        tensor_cols="0",
        is_vector=rows is None,
        gathered=picked,
    )
    return TensorTile(block, over, transposed)


def _moves_by_one(index: Any, loops: Sequence[tirx.For], regions: Regions) -> bool:
    """Whether ``index`` moves with the first of two loops, the rows, alone: element by element."""
    row, col = (loop.loop_var for loop in loops)
    moved = tirx.stmt_functor.substitute(index, {row: row + 1})
    return not uses(index, col) and regions.analyzer.can_prove_equal(moved, index + 1)


def _in_pieces(
    size: int, load: tirx.BufferLoad, condition: Any, rows: tirx.For | None, cols: tirx.For, regions: Regions
) -> Gathered | None:
    """The elements in pieces of ``size``; None where these do not lie together."""
    analyzer = regions.analyzer
    height, width = (1 if loop is None else int(loop.extent) for loop in (rows, cols))
    row, piece, within = (tirx.Var(name, "int32") for name in (ROW, PIECE, "within"))
    for var, extent in ((row, height), (piece, width // size), (within, size)):
        analyzer.bind(var, tvm.ir.Range(0, extent))
    numbers = {cols.loop_var: piece * size + within} | ({} if rows is None else {rows.loop_var: row})
    elements = _Elements(regions)

    def placed(expr: Any) -> Any:
        return elements.replaced(analyzer.simplify(tirx.stmt_functor.substitute(expr, numbers)))

    indices, shape = [placed(index) for index in load.indices], list(load.buffer.shape)
    indices[-1] = analyzer.simplify(indices[-1] - within)
    under = None if condition is None else placed(condition)
    deciding = [*indices, *([] if under is None else [under]), *elements.indices]
    if any(uses(expr, within) for expr in deciding) or not _fits(indices[-1], shape[-1], size, regions):
        return None
    regions.names.call(row, ROW)
    regions.names.call(piece, PIECE)
    page, at_row, at_col = (regions.scalar(expr) for expr in place_of(indices, shape))
    inside = _inside(indices, shape, under, regions)
    return Gathered(height, width, size, elements.read(), page, at_row, at_col, inside)


def _fits(first: Any, length: Any, size: int, regions: Regions) -> bool:
    """Whether pieces that begin at ``first`` of ``length`` elements lie in one face of a tile, or are one row of a
    tile, and are of the tensor as wholes or not at all."""
    begins = regions.analyzer.can_prove_equal(tirx.floormod(first, size), 0)
    return begins and regions.analyzer.can_prove_equal(tirx.floormod(length, size), 0)


def _inside(indices: Sequence[Any], shape: Sequence[Any], condition: Any, regions: Regions) -> str | None:
    if condition is None:
        return regions.inside(indices, shape) or None
    with regions.analyzer.constraint_scope(condition):
        bounds = regions.inside(indices, shape)
    return " && ".join([f"({regions.scalar(condition)})", *([bounds] if bounds else [])])


@dataclass
class _Elements:
    """The integers that indices read of tensors, each a variable."""

    regions: Regions
    found: list[tuple[tirx.BufferLoad, tirx.Var]] = field(default_factory=list)

    @property
    def indices(self) -> list[Any]:
        """All that decides which ones they are."""
        return [index for load, _ in self.found for index in load.indices]

    def replaced(self, expr: Any) -> Any:
        """``expr`` with variables in place of what it reads."""
        for load in nodes(expr, tirx.BufferLoad):
            if not tile_ops.is_global(load.buffer):
                raise refused(
                    f"an index of a tensor is read from on-chip buffer {load.buffer.name}",
                    str(load.buffer.name),
                    found=load,
                    expected="an element of a tensor of integers",
                    hint="read it from the tensor",
                )
        return self.regions.analyzer.simplify(replace_scalars(expr, self._variable, lambda load: True))

    def _variable(self, load: tirx.BufferLoad) -> tirx.Var:
        for known, var in self.found:
            if same_expr(known, load):
                return var
        var = tirx.Var(f"{load.buffer.name}_element", "int32")
        self.found.append((load, var))
        return var

    def read(self) -> tuple[Element, ...]:
        """How to read them, those first that others need."""
        made = []
        for load, var in self.found:
            indices, shape = list(load.indices), list(load.buffer.shape)
            page, row, col = (self.regions.scalar(expr) for expr in place_of(indices, shape))
            inside = self.regions.inside(indices, shape) or None
            made.append(Element(self.regions.names.name(var), str(load.buffer.name), page, row, col, inside))
        return tuple(made)
