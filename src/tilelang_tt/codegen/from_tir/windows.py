"""Stores under conditions, where what they leave alone may be another core's: the part of the block that is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import arith, tirx

from ...language.nodes import same_expr, uses

_OPPOSITE = {tirx.LT: tirx.GE, tirx.GE: tirx.LT, tirx.GT: tirx.LE, tirx.LE: tirx.GT}
_MIRRORED = {tirx.LT: tirx.GT, tirx.GT: tirx.LT, tirx.LE: tirx.GE, tirx.GE: tirx.LE, tirx.EQ: tirx.EQ}


def unconditional(store: tirx.BufferStore) -> tuple[Any, list[Any]]:
    """What ``store`` writes and the conditions under which it does; elsewhere it keeps what is there."""
    value, conditions = store.value, []
    while isinstance(value, tirx.Call) and str(value.op.name).endswith("if_then_else"):
        condition, a, b = value.args
        if _is_old(b, store):
            conditions, value = [*conditions, condition], a
        elif _is_old(a, store):
            conditions, value = [*conditions, tirx.Not(condition)], b
        else:
            break
    return value, conditions


def _is_old(value: Any, store: tirx.BufferStore) -> bool:
    if not isinstance(value, tirx.BufferLoad) or not value.buffer.same_as(store.buffer):
        return False
    return all(same_expr(a, b) for a, b in zip(value.indices, store.indices, strict=True))


@dataclass
class Bounds:
    """The values of a loop's variable for which conditions hold: from ``first`` up to ``end``."""

    first: Any
    end: Any

    def narrow(self, first: Any = None, end: Any = None) -> None:
        """Leave out what is in front of ``first``, and what is not in front of ``end``."""
        self.first = self.first if first is None else tirx.max(self.first, first)
        self.end = self.end if end is None else tirx.max(tirx.min(self.end, end), 0)


def bounds(conditions: Sequence[Any], loops: Sequence[tirx.For], analyzer: arith.Analyzer) -> list[Bounds] | None:
    """For which values of the variables of ``loops``, which begin at 0, all ``conditions`` hold; None unless each is of
    one variable at most."""
    found = [Bounds(tirx.IntImm("int32", 0), loop.extent) for loop in loops]
    ok = all(_narrow(condition, loops, found, analyzer) for condition in conditions)
    return found if ok else None


def _narrow(condition: Any, loops: Sequence[tirx.For], found: list[Bounds], analyzer: arith.Analyzer) -> bool:
    if not any(uses(condition, loop.loop_var) for loop in loops):
        found[0].narrow(end=tirx.if_then_else(condition, found[0].end, 0))
        return True
    if isinstance(condition, tirx.And):
        return all(_narrow(part, loops, found, analyzer) for part in (condition.a, condition.b))
    if isinstance(condition, tirx.Not):
        opposite = _opposite(condition.a)
        return opposite is not None and _narrow(opposite, loops, found, analyzer)
    if type(condition) not in _MIRRORED or not str(condition.a.dtype).startswith("int"):
        return False
    parts = arith.detect_linear_equation(condition.a - condition.b, [loop.loop_var for loop in loops])
    if len(parts) != len(loops) + 1 or not all(isinstance(part, tirx.IntImm) for part in parts[:-1]):
        return False
    moving = [(number, int(part)) for number, part in enumerate(parts[:-1]) if int(part) != 0]
    if len(moving) != 1 or moving[0][1] not in (1, -1):
        return False
    (number, sign), kind = moving[0], type(condition)
    # As the variable compares to the limit.
    limit, kind = (-parts[-1], kind) if sign == 1 else (parts[-1], _MIRRORED[kind])
    first = {tirx.GE: limit, tirx.GT: limit + 1, tirx.EQ: limit}.get(kind)
    end = {tirx.LT: limit, tirx.LE: limit + 1, tirx.EQ: limit + 1}.get(kind)
    found[number].narrow(first, end)
    return True


def _opposite(condition: Any) -> Any:
    """What holds where ``condition`` does not, without a negation; None where there is no such thing."""
    if isinstance(condition, tirx.Not):
        return condition.a
    if isinstance(condition, tirx.Or):
        return tirx.And(tirx.Not(condition.a), tirx.Not(condition.b))
    opposite = _OPPOSITE.get(type(condition))
    return None if opposite is None else opposite(condition.a, condition.b)
