"""How an access in a T.Parallel body moves with the loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import arith, tirx

from ...errors import Code, UnsupportedError
from ...language import tile_ops
from ...language.nodes import moves_as_block, uses
from ..tile_program.expressions import Broadcast


@dataclass(frozen=True)
class Access:
    """What an access covers over all parallel loops, and for every dimension the loop that moves along it."""

    region: tile_ops.Region
    loops: tuple[int | None, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The loops that the access moves with, in the order of its dimensions."""
        return tuple(loop for loop in self.loops if loop is not None)


_BROADCAST: dict[tuple[int, tuple[int, ...]], Broadcast] = {
    (2, (0, 1)): "",
    (2, (1, 0)): "",
    (1, (0,)): "",
    (2, (0,)): "col",
    (2, (1,)): "row",
}


def broadcast(access: Access, loops: int) -> Broadcast | None:
    """How the accessed elements meet those of ``loops`` loops; None where they do not."""
    return _BROADCAST.get((loops, access.order)) if access.order else "all"


def access(buffer: tirx.Buffer, indices: Sequence[Any], loops: Sequence[tirx.For], analyzer: arith.Analyzer) -> Access:
    """How ``buffer[indices]`` moves.

    Raises:
        UnsupportedError: ``unsupported``, where a dimension moves with several loops or by more than one element, or a
            loop moves along several dimensions.
    """
    variables = [loop.loop_var for loop in loops]
    if not moves_as_block(indices, variables, analyzer):
        raise _refused(buffer, indices)
    zeros = {var: tirx.IntImm("int32", 0) for var in variables}
    mins, extents, moving = [], [], []
    for index in indices:
        origin = analyzer.simplify(tirx.stmt_functor.substitute(index, zeros))
        found = [number for number, loop in enumerate(loops) if uses(index, loop.loop_var)]
        mins.append(origin)
        extents.append(int(loops[found[0]].extent) if found else 1)
        moving.append(found[0] if found else None)
    return Access(tile_ops.Region(buffer, tuple(mins), tuple(extents)), tuple(moving))


def _refused(buffer: tirx.Buffer, indices: Sequence[Any]) -> UnsupportedError:
    return UnsupportedError(
        Code.UNSUPPORTED,
        f"{buffer.name} is not indexed by single variables of the loop",
        subject=str(buffer.name),
        found=f"{buffer.name}[{', '.join(str(i) for i in indices)}]",
        expected="each variable of T.Parallel in one index at most, with nothing but an offset",
    )
