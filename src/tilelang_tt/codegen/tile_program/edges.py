"""Which loads must read zeros inside a tensor's last hardware tiles, past its end: the caller may have left anything
there.

Element-wise work leaves it where it is, in padding. Sums over it, broadcasts, and stores to another place would see it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .expressions import BlockTile, Shift, TensorBlock, TensorTile, TileExpr, operands
from .statements import Gemm, Load, Map, Reduce, Store, TileProgram, walk

Place = tuple[str, str, str]
"""Where a block lies along an axis of a tensor: the tensor's tiles, elements in the last of them, its beginning."""


@dataclass(frozen=True)
class _Use:
    """What sees a buffer's elements along an axis (0: rows, 1: columns): a store to ``place``, or everything else."""

    axis: int
    place: Place | None = None


_EVERYTHING = frozenset({_Use(0), _Use(1)})


def seen_edges(program: TileProgram) -> dict[TensorBlock, tuple[bool, bool]]:
    """Of every block of a tensor that is read: whether what lies past the tensor's last row, and column, is seen."""
    return _Edges(program).run()


@dataclass
class _Edges:
    program: TileProgram
    uses: dict[str, frozenset[_Use]] = field(default_factory=dict)
    found: dict[TensorBlock, tuple[bool, bool]] = field(default_factory=dict)

    def run(self) -> dict[TensorBlock, tuple[bool, bool]]:
        before = None
        while before != (self.uses, self.found):
            before = dict(self.uses), dict(self.found)
            for statement in reversed(walk((self.program.tile_loop,))):
                if isinstance(statement, Load):
                    self._loaded(statement.source, self._of(statement.dst))
                elif isinstance(statement, Map):
                    uses = self._of(statement.dst)
                    self._expression(statement.value, _EVERYTHING if uses and statement.part else uses)
                elif isinstance(statement, Store):
                    stores = (_Use(axis, place(statement.target, axis)) for axis in (0, 1))
                    self._expression(statement.value, frozenset(stores))
                elif isinstance(statement, Gemm):
                    self._gemm(statement)
                elif isinstance(statement, Reduce):
                    whole = statement.axis is None or self._of(statement.dst)
                    self._add(statement.src, _EVERYTHING if whole else frozenset({_Use(statement.axis or 0)}))
        return self.found

    def _of(self, name: str) -> frozenset[_Use]:
        return self.uses.get(name, frozenset())

    def _add(self, name: str, uses: frozenset[_Use]) -> None:
        self.uses[name] = self._of(name) | uses

    def _gemm(self, gemm: Gemm) -> None:
        """The summed dimension, and what sees the product's rows and columns."""
        summed = (0 if gemm.transpose_a else 1, 1 if gemm.transpose_b else 0)
        for operand, own_axis, axis in ((gemm.a, summed[0], 0), (gemm.b, summed[1], 1)):
            kept = {_Use(1 - own_axis, use.place) for use in self._of(gemm.c) if use.axis == axis}
            self._add(operand, frozenset({_Use(own_axis), *kept}))

    def _expression(self, value: TileExpr, uses: frozenset[_Use]) -> None:
        for leaf in operands(value):
            moves = leaf.broadcast or (isinstance(leaf, BlockTile) and leaf.part is not None)
            seen = _EVERYTHING if moves and uses else uses
            if leaf.transposed:
                seen = frozenset(_Use(1 - use.axis, use.place) for use in seen)
            if isinstance(leaf, BlockTile):
                self._add(leaf.block, seen)
            elif isinstance(leaf, TensorTile):
                self._loaded(leaf.source, seen)

    def _loaded(self, source: TensorBlock, uses: frozenset[_Use]) -> None:
        if source.picked is not None:
            # What is picked is spread over whole tiles: of a row only the columns may lie past the end.
            uses = _EVERYTHING if uses else uses
            spread = (source.picked.row is not None, source.picked.col is not None)
            uses = frozenset(use for use in uses if not spread[use.axis])
        rows, columns = (any(use.axis == axis and use.place != place(source, axis) for use in uses) for axis in (0, 1))
        before = self.found.get(source, (False, False))
        self.found[source] = (before[0] or rows, before[1] or columns)


def place(block: TensorBlock, axis: int) -> Place:
    """Where ``block`` lies along ``axis`` of its tensor."""
    shift = block.shift or Shift()
    if axis == 0:
        return block.tensor_rows, block.last_rows, f"{block.row}, {shift.rows}"
    return block.tensor_cols, block.last_cols, f"{block.col}, {shift.cols}"
