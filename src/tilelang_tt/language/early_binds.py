"""Names that are inlined before all else: those bound in front of the loop whose variable they use, as T.Persistent
leaves them, and numbers for element-wise work, as ``inv = 1.0 / T.Cast("float32", D)`` or ``sink = Sinks[bx]``."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from .nodes import is_one_of, nodes


def without_early_binds(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with names replaced by their values: those bound outside of a loop to a value that uses the loop's
    variable; and those of floats that hold as long as the kernel runs, made of numbers and of tensors that it does not
    write."""
    loops = [loop.loop_var for loop in nodes(func.body, tirx.For)]
    early: dict[tirx.Var, tirx.PrimExpr] = {}
    _collect(func.body, loops, early, never_written(func))
    if not early:
        return func

    def rewrite(node: Any) -> Any:
        kept = [s for s in node.seq if not (isinstance(s, tirx.Bind) and is_one_of(s.var, early))]
        return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)

    body = tirx.stmt_functor.ir_transform(func.body, None, rewrite, ["tirx.SeqStmt"])
    return func.with_body(tirx.stmt_functor.substitute(body, early), func.span)


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
        is_number = "float" in str(node.var.dtype) and all(
            is_one_of(load.buffer, constant) for load in nodes(node.value, tirx.BufferLoad)
        )
        if is_number or any(is_one_of(var, closed) or is_one_of(var, early) for var in used):
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


def never_written(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    """The tensors that ``func`` does not write."""
    regions = [call for call in nodes(func.body, tirx.Call) if str(getattr(call.op, "name", "")) == "tl.region"]
    written = [call.args[0].buffer for call in regions if int(call.args[1].value) & 2]
    written += [store.buffer for store in nodes(func.body, tirx.BufferStore)]
    return [buffer for buffer in func.buffer_map.values() if not is_one_of(buffer, written)]
