"""Tensors that a kernel reads back after it wrote them: its reader runs ahead of its writer and would read too early.

Reading a block before writing the same block is in order: an in-place update.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import Code, UnsupportedError
from .expressions import TensorBlock, TensorTile, operands
from .statements import Branch, Load, Loop, Map, ReadScalar, Statement, Store, TileProgram, walk

Arm = tuple[Branch, bool]
"""An arm of a branch: whether it is the one where the condition holds."""


@dataclass(frozen=True)
class _Access:
    """One reading or writing of a tensor, with the loops around it and the arms of branches that it is in."""

    statement: Statement
    block: TensorBlock
    loops: tuple[Loop, ...]
    arms: tuple[Arm, ...]
    writes: bool

    def excludes(self, other: _Access) -> bool:
        """Whether the two are in different arms of one branch."""
        return any(branch is mine and arm != own for branch, arm in other.arms for mine, own in self.arms)


def refuse_reading_back(program: TileProgram) -> None:
    """Check that no core reads a tensor where it may have written it before.

    Raises:
        UnsupportedError: ``unsupported``, with the tensor and the line that reads it.
    """
    accesses = _accesses(program.tile_loop.body, (), ())
    written = {access.block.tensor for access in accesses if access.writes}
    for statement in walk(program.tile_loop.body):
        if isinstance(statement, ReadScalar) and statement.tensor in written:
            raise _read_back(statement.tensor, statement)
    for place, read in enumerate(accesses):
        if read.writes:
            continue
        for name in read.block.tensors[1:]:
            if name in written:
                raise _read_back(name, read.statement)
        for other, write in enumerate(accesses):
            if write.writes and write.block.tensor == read.block.tensor and not _in_order(place, read, other, write):
                raise _read_back(read.block.tensor, read.statement)


def _read_back(tensor: str, statement: Statement) -> UnsupportedError:
    return UnsupportedError(
        Code.UNSUPPORTED,
        f"{tensor} is read back after the kernel wrote it",
        subject=tensor,
        expected="a tensor's block read before it is written, if at all",
        hint="keep it in a fragment, or use two kernels",
        location=getattr(statement, "location", None),
    )


def _in_order(place: int, read: _Access, other: int, write: _Access) -> bool:
    """Whether the read comes before the write in every iteration of the loops around both."""
    common = [loop for loop in read.loops if any(loop is mine for mine in write.loops)]
    earlier = place < other or read.excludes(write)
    if not common:
        return earlier
    return earlier and read.block == write.block and all(_moves_on(read.block, loop.var) for loop in common)


def _moves_on(block: TensorBlock, variable: str) -> bool:
    """Whether ``block`` is another in every iteration of the loop over ``variable``, which shares nothing with those
    before."""
    if block.picked is not None:
        places = (block.leading, block.row, block.col, *block.picked.places)
        return any(_uses(place, variable) for place in places)
    if block.shift is not None:
        return _step(block.leading, variable) >= 1
    sizes = ((block.leading, 1), (block.row, block.rows), (block.col, block.cols))
    return any(_step(index, variable) >= size for index, size in sizes)


def _step(index: str, variable: str) -> int:
    """By how much ``index``, a sum, moves with ``variable``; 0 where that is not told by a single term of it."""
    terms = [term for term in _terms(index) if _uses(term, variable)]
    found = re.fullmatch(rf"{variable}(?: \* (\d+))?", terms[0]) if len(terms) == 1 else None
    return int(found[1] or 1) if found else 0


def _terms(index: str) -> list[str]:
    """What ``index`` is the sum of."""
    terms, depth = [""], 0
    for part in re.split(r"( \+ |[()])", index):
        depth += (part == "(") - (part == ")")
        if part == " + " and depth == 0:
            terms.append("")
        else:
            terms[-1] += part
    return terms


def _uses(index: str, variable: str) -> bool:
    return re.search(rf"\b{variable}\b", index) is not None


def _accesses(body: Sequence[Statement], loops: tuple[Loop, ...], arms: tuple[Arm, ...]) -> list[_Access]:
    found: list[_Access] = []
    for statement in body:
        if isinstance(statement, Loop):
            found += _accesses(statement.body, (*loops, statement), arms)
        elif isinstance(statement, Branch):
            found += _accesses(statement.then, loops, (*arms, (statement, True)))
            found += _accesses(statement.otherwise, loops, (*arms, (statement, False)))
        elif isinstance(statement, Load):
            found.append(_Access(statement, statement.source, loops, arms, writes=False))
        elif isinstance(statement, (Map, Store)):
            leaves = [leaf for leaf in operands(statement.value) if isinstance(leaf, TensorTile)]
            found += [_Access(statement, leaf.source, loops, arms, writes=False) for leaf in leaves]
            if isinstance(statement, Store):
                found.append(_Access(statement, statement.target, loops, arms, writes=True))
    return found
