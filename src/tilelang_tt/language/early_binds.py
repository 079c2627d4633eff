"""Names that are inlined before all else: those bound in front of the loop whose variable they use, as T.Persistent
leaves them, and numbers for element-wise work, as ``inv = 1.0 / T.Cast("float32", D)`` or ``sink = Sinks[bx]``."""

from __future__ import annotations

from typing import Any

from tvm import tirx


def without_early_binds(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with names replaced by their values: those bound outside of a loop to a value that uses the loop's
    variable; and those of floats that hold as long as the kernel runs, made of numbers and of tensors that it does not
    write."""
    loops: list[tirx.Var] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For):
            loops.append(node.loop_var)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    early: dict[tirx.Var, tirx.PrimExpr] = {}
    _collect(func.body, loops, early, _never_written(func))
    if not early:
        return func

    def rewrite(node: Any) -> Any:
        kept = [s for s in node.seq if not (isinstance(s, tirx.Bind) and _is_one_of(s.var, early))]
        return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)

    body = tirx.stmt_functor.ir_transform(func.body, None, rewrite, ["tirx.SeqStmt"])
    return func.with_body(tirx.stmt_functor.substitute(body, early))


def _collect(
    node: Any, closed: list[tirx.Var], early: dict[tirx.Var, tirx.PrimExpr], constant: list[tirx.Buffer]
) -> None:
    """Note in ``early`` the names in ``node`` whose values use variables of ``closed``, of loops not around it; and
    those of floats made of ``constant`` tensors."""
    if isinstance(node, tirx.SeqStmt):
        for child in node.seq:
            _collect(child, closed, early, constant)
    elif isinstance(node, tirx.Bind):
        used = tirx.analysis.undefined_vars(node.value)
        is_number = "float" in str(node.var.dtype) and all(_is_one_of(b, constant) for b in _loaded(node.value))
        if is_number or any(_is_one_of(var, closed) or _is_one_of(var, early) for var in used):
            early[node.var] = tirx.stmt_functor.substitute(node.value, early)
    elif isinstance(node, tirx.For):
        _collect(node.body, [var for var in closed if not var.same_as(node.loop_var)], early, constant)
    elif isinstance(node, tirx.IfThenElse):
        for arm in (node.then_case, node.else_case):
            if arm is not None:
                _collect(arm, closed, early, constant)
    elif isinstance(node, tirx.SBlockRealize):
        _collect(node.block.body, closed, early, constant)
    elif isinstance(node, (tirx.AttrStmt, tirx.While)):
        _collect(node.body, closed, early, constant)


def _never_written(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    """The tensors that ``func`` does not write."""
    written: list[tirx.Buffer] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.BufferStore):
            written.append(node.buffer)
        elif (
            isinstance(node, tirx.Call)
            and str(getattr(node.op, "name", "")) == "tl.region"
            and int(node.args[1].value) & 2
        ):
            written.append(node.args[0].buffer)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    return [buffer for buffer in func.buffer_map.values() if not _is_one_of(buffer, written)]


def _loaded(value: tirx.PrimExpr) -> list[tirx.Buffer]:
    loaded: list[tirx.Buffer] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.BufferLoad):
            loaded.append(node.buffer)

    tirx.stmt_functor.post_order_visit(value, visit)
    return loaded


def _is_one_of(var: Any, candidates: Any) -> bool:
    return any(var.same_as(candidate) for candidate in candidates)
