"""Expressions bound to what the buffers hold where they are written."""

from __future__ import annotations

from ..tile_program.expressions import (
    Binary,
    BlockTile,
    Broadcast,
    Choose,
    Constant,
    IndexTile,
    Integer,
    Picked,
    Rectangle,
    TensorTile,
    TileExpr,
    Unary,
)
from .context import Context
from .elementwise import materialise
from .fixed import part_of
from .loads import Loads
from .picks import pick
from .values import Access, Apply, Indices, Operand, Orientation, Select, Tiles, Value
from .vectors import replicated, turned


class Binding:
    """Binds the expressions of one kernel; tensors that they read without a copy are brought by ``loads``."""

    def __init__(self, ctx: Context, loads: Loads) -> None:
        self.ctx = ctx
        self.loads = loads

    def bind(self, expr: TileExpr, vector: Orientation | None = None) -> Value:
        """``expr``, its leaves bound to what the buffers hold now; ``vector``: how the vector lies that it makes."""
        if isinstance(expr, (Constant, Integer)):
            return expr
        if isinstance(expr, Unary):
            return Apply(expr.op, self.bind(expr.arg, vector))
        if isinstance(expr, Binary):
            return Apply(expr.op, self.bind(expr.a, vector), self.bind(expr.b, vector))
        if isinstance(expr, Choose):
            return Select(*(self.bind(part, vector) for part in (expr.condition, expr.a, expr.b)))
        if isinstance(expr, IndexTile):
            along_rows = vector == "col"
            return Indices(*((expr.cols, 0) if along_rows else (expr.rows, expr.cols)), expr.offset, expr.integer)
        if isinstance(expr, TensorTile):
            return self._tensor(expr, vector)
        return self._block(expr, vector)

    def _tensor(self, expr: TensorTile, vector: Orientation | None) -> Value:
        name, picked, tiles = expr.source.tensor, expr.source.picked, self.loads.direct_tiles(expr.source)
        if picked is None and not expr.source.is_vector:
            return Operand(turned(self.ctx, name, tiles) if expr.transposed else tiles, name)
        if picked is None:
            if expr.broadcast == "col" or (vector is not None and not expr.broadcast):
                tiles = replicated(self.ctx, name, tiles, vector or "col")
        elif picked.lies not in ("all", expr.broadcast or vector or picked.lies):
            tiles = turned(self.ctx, name, tiles)
        return Operand(tiles, name, _access(expr.broadcast, tiles))

    def _block(self, expr: BlockTile, vector: Orientation | None) -> Value:
        ctx, name = self.ctx, expr.block
        value = ctx.values.get(name)
        if value is None:
            raise ctx.unsupported(
                f"{name} is read where it holds nothing",
                subject=name,
                hint="fill or copy it first; what a loop computes element-wise does not leave the loop",
            )
        if expr.picked is not None and not isinstance(value, (Constant, Integer)):
            assert expr.part is not None
            return self._picked(expr, self._part(name, value, expr.part), expr.picked, vector)
        orientation = ctx.orientation.get(name)
        turns = expr.transposed or (
            orientation is not None and (expr.broadcast or vector or orientation) != orientation
        )
        if isinstance(value, (Constant, Integer)) or not (turns or expr.broadcast or expr.part):
            return value
        tiles = materialise(ctx, name, value) if expr.part is None else self._part(name, value, expr.part)
        return Operand(turned(ctx, name, tiles) if turns else tiles, name, _access(expr.broadcast, tiles))

    def _picked(self, expr: BlockTile, tiles: Tiles, picked: Picked, vector: Orientation | None) -> Operand:
        """A row, a column or an element of ``tiles``, spread over whole tiles."""
        ctx, name = self.ctx, expr.block
        if ctx.orientation.get(name) == "col":
            picked = Picked(picked.col, picked.row)
        turns = picked.lies not in ("all", expr.broadcast or vector or picked.lies)
        spread = pick(ctx, name, tiles, picked, turns=turns)
        return Operand(spread, name, _access(expr.broadcast, spread))

    def _part(self, name: str, value: Value, part: Rectangle) -> Tiles:
        """The tiles of ``part`` of an on-chip buffer where they lie, what the buffer holds computed before."""
        ctx = self.ctx
        tiles = materialise(ctx, name, value)
        ctx.await_operands(Operand(tiles, name))
        return part_of(ctx, name, tiles, part)


def _access(broadcast: Broadcast, tiles: Tiles) -> Access:
    if broadcast == "all":
        return "single"
    return "first_row" if broadcast == "row" and not tiles.replicated else broadcast
