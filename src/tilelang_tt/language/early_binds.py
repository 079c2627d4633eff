"""Names that are bound in front of the loop whose variable they use, as T.Persistent leaves them: inlined."""

from __future__ import annotations

from typing import Any

from tvm import tirx


def without_early_binds(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with every name that is bound outside of a loop, to a value that uses the loop's variable, replaced by
    that value."""
    loops: list[tirx.Var] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For):
            loops.append(node.loop_var)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    early: dict[tirx.Var, tirx.PrimExpr] = {}
    _collect(func.body, loops, early)
    if not early:
        return func

    def rewrite(node: Any) -> Any:
        kept = [s for s in node.seq if not (isinstance(s, tirx.Bind) and _is_one_of(s.var, early))]
        return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)

    body = tirx.stmt_functor.ir_transform(func.body, None, rewrite, ["tirx.SeqStmt"])
    return func.with_body(tirx.stmt_functor.substitute(body, early))


def _collect(node: Any, closed: list[tirx.Var], early: dict[tirx.Var, tirx.PrimExpr]) -> None:
    """Note in ``early`` the names in ``node`` whose values use variables of ``closed``: of loops not around it."""
    if isinstance(node, tirx.SeqStmt):
        for child in node.seq:
            _collect(child, closed, early)
    elif isinstance(node, tirx.Bind):
        used = tirx.analysis.undefined_vars(node.value)
        if any(_is_one_of(var, closed) or _is_one_of(var, early) for var in used):
            early[node.var] = tirx.stmt_functor.substitute(node.value, early)
    elif isinstance(node, tirx.For):
        _collect(node.body, [var for var in closed if not var.same_as(node.loop_var)], early)
    elif isinstance(node, tirx.IfThenElse):
        for arm in (node.then_case, node.else_case):
            if arm is not None:
                _collect(arm, closed, early)
    elif isinstance(node, tirx.SBlockRealize):
        _collect(node.block.body, closed, early)
    elif isinstance(node, (tirx.AttrStmt, tirx.While)):
        _collect(node.body, closed, early)


def _is_one_of(var: tirx.Var, candidates: Any) -> bool:
    return any(var.same_as(candidate) for candidate in candidates)
