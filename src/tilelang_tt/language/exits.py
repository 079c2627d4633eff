"""Statements that leave a loop, or one iteration of it, early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tilelang import tvm
from tvm import tirx


def break_out() -> tirx.Stmt:
    """``T.loop_break()``."""
    return tirx.Evaluate(tirx.Call("handle", tvm.ir.Op.get("tl.loop_break"), []))


def is_break(node: Any) -> bool:
    """Whether ``node`` is ``T.loop_break()`` or Python's ``break``."""
    return _calls(node, ("loop_break", "break_loop"))


def is_continue(node: Any) -> bool:
    """Whether ``node`` is Python's ``continue``."""
    return _calls(node, ("continue_loop",))


def leaves(node: Any, kinds: Sequence[Callable[[Any], bool]] = (is_break, is_continue)) -> bool:
    """Whether ``node`` may leave an iteration of the loop around it in one of these ways."""
    if isinstance(node, tirx.SeqStmt):
        return any(leaves(child, kinds) for child in node.seq)
    if isinstance(node, tirx.IfThenElse):
        return any(arm is not None and leaves(arm, kinds) for arm in (node.then_case, node.else_case))
    return any(kind(node) for kind in kinds)


def _calls(node: Any, names: tuple[str, ...]) -> bool:
    if not isinstance(node, tirx.Evaluate):
        return False
    return str(getattr(getattr(node.value, "op", None), "name", "")).endswith(names)


def exit_conditions(body: Any) -> Iterator[tirx.PrimExpr]:
    """The conditions that decide whether ``body``, of a loop, is left early."""
    if isinstance(body, tirx.SeqStmt):
        for child in body.seq:
            yield from exit_conditions(child)
    elif isinstance(body, tirx.IfThenElse) and leaves(body):
        yield body.condition
        for arm in (body.then_case, body.else_case):
            if arm is not None:
                yield from exit_conditions(arm)
