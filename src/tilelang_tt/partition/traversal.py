"""How work tiles are numbered, and which numbers a core visits in turn.

One set of formulas, written once over :class:`Arithmetic`, serves Python integers here, TIR expressions in
GridToPersistentTT and symbolic integers in proofs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _unnamed(_name: str, value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Arithmetic:
    """The operations that index recovery is made of, for one kind of number; all numbers are non-negative.

    ``let`` gives an intermediate result a name, where the kind of number has names.
    """

    div: Callable[[Any, Any], Any] = operator.floordiv
    mod: Callable[[Any, Any], Any] = operator.mod
    min: Callable[[Any, Any], Any] = min
    let: Callable[[str, Any], Any] = _unnamed


INTEGERS = Arithmetic()
"""Python's own integers."""

Block = tuple[Any, Any]
"""Rows and columns of a block of the numbering, in work tiles."""


def visited_number(step: Any, start: Any, run: Any, stride: Any, on: Arithmetic = INTEGERS) -> Any:
    """The number of the tile that a core visits at ``step`` (from 0).

    From ``start`` on it visits ``run`` consecutive numbers of every ``stride``; runs end at multiples of ``stride``.
    """
    width = on.let("tt_run_width", on.min(run, stride - on.mod(start, stride)))
    return start + on.div(step, width) * stride + on.mod(step, width)


def shard_at(visit: Any, first: Any, step: Any, columns: Any, on: Arithmetic = INTEGERS) -> tuple[Any, Any]:
    """The shard (sy, sx) that a core with several works on at ``visit`` (from 0), of a grid of ``columns`` columns.

    ``first`` is the number of its first shard, row by row over the grid, and ``step`` how far they are apart.
    """
    number = on.let("tt_shard_number", first + visit * step)
    return on.div(number, columns), on.mod(number, columns)


def shard_visits(first: Any, per_core: Any, step: Any, shards: Any, on: Arithmetic = INTEGERS) -> Any:
    """How many shards a core has whose first one is number ``first``, of ``shards`` in all."""
    return on.min(per_core, on.div(shards - first + step - 1, step))


def tile_at(number: Any, rows: Any, columns: Any, block: Block, on: Arithmetic = INTEGERS) -> tuple[Any, Any]:
    """The tile (m, n) of a rectangle of ``rows`` x ``columns`` tiles that has this number.

    The rectangle is cut into blocks, clipped at its end. Blocks follow one another row by row, and so do the tiles
    within a block.
    """
    block_rows, block_columns = block
    band = on.let("tt_band", on.div(number, block_rows * columns))
    in_band = on.let("tt_in_band", on.mod(number, block_rows * columns))
    height = on.let("tt_block_height", on.min(block_rows, rows - band * block_rows))
    place = on.let("tt_block", on.div(in_band, height * block_columns))
    in_block = on.let("tt_in_block", on.mod(in_band, height * block_columns))
    width = on.let("tt_block_width", on.min(block_columns, columns - place * block_columns))
    return band * block_rows + on.div(in_block, width), place * block_columns + on.mod(in_block, width)


def number_at(m: Any, n: Any, rows: Any, columns: Any, block: Block, on: Arithmetic = INTEGERS) -> Any:
    """The number of tile (m, n): the inverse of :func:`tile_at`."""
    block_rows, block_columns = block
    band, place = on.div(m, block_rows), on.div(n, block_columns)
    height = on.min(block_rows, rows - band * block_rows)
    width = on.min(block_columns, columns - place * block_columns)
    before = band * block_rows * columns + place * block_columns * height
    return before + (m - band * block_rows) * width + (n - place * block_columns)
