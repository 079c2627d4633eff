"""Names that are inlined before all else: those bound in front of the loop whose variable they use, as T.Persistent
leaves them, and numbers for element-wise work, as ``inv = 1.0 / T.Cast("float32", D)`` or ``sink = Sinks[bx]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import tirx

from .nodes import is_one_of, nodes


def without_early_binds(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with names replaced by their values: those bound outside of a loop to a value that uses the loop's
    variable; and, made of numbers and of tensors that it does not write, those of floats and those in front of the
    grid."""
    loops = nodes(func.body, tirx.For)
    grid = [loop.loop_var for loop in loops if loop.thread_binding is not None]
    names = _Names(never_written(func), grid)
    names.collect(func.body, [loop.loop_var for loop in loops])
    early = names.early
    if not early:
        return func

    def rewrite(node: Any) -> Any:
        kept = [s for s in node.seq if not (isinstance(s, tirx.Bind) and is_one_of(s.var, early))]
        return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)

    body = tirx.stmt_functor.ir_transform(func.body, None, rewrite, ["tirx.SeqStmt"])
    return func.with_body(tirx.stmt_functor.substitute(body, early), func.span)


@dataclass
class _Names:
    """The names that are inlined, and their values.

    Attributes:
        constant: the tensors that the function does not write.
        grid: the block indices.
    """

    constant: Sequence[tirx.Buffer]
    grid: Sequence[tirx.Var]
    early: dict[tirx.Var, tirx.PrimExpr] = field(default_factory=dict)

    def collect(self, node: Any, closed: Sequence[tirx.Var]) -> None:
        """Note the names in ``node``; ``closed`` are the variables of loops that are not around it."""
        if isinstance(node, tirx.Bind):
            if self._is_inlined(node, closed):
                self.early[node.var] = tirx.stmt_functor.substitute(node.value, self.early)
        elif isinstance(node, tirx.For):
            self.collect(node.body, [var for var in closed if not var.same_as(node.loop_var)])
        else:
            for child in _children(node):
                self.collect(child, closed)

    def _is_inlined(self, node: tirx.Bind, closed: Sequence[tirx.Var]) -> bool:
        holds = all(is_one_of(load.buffer, self.constant) for load in nodes(node.value, tirx.BufferLoad))
        in_front = any(is_one_of(var, closed) for var in self.grid)
        if holds and (in_front or "float" in str(node.var.dtype)):
            return True
        used = tirx.analysis.undefined_vars(node.value)
        return any(is_one_of(var, closed) or is_one_of(var, self.early) for var in used)


def _children(node: Any) -> Sequence[Any]:
    if isinstance(node, tirx.SeqStmt):
        return list(node.seq)
    if isinstance(node, tirx.IfThenElse):
        return [arm for arm in (node.then_case, node.else_case) if arm is not None]
    if isinstance(node, tirx.SBlockRealize):
        return [node.block.body]
    return [node.body] if isinstance(node, (tirx.AttrStmt, tirx.While)) else []


def never_written(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    """The tensors that ``func`` does not write."""
    regions = [call for call in nodes(func.body, tirx.Call) if str(getattr(call.op, "name", "")) == "tl.region"]
    written = [call.args[0].buffer for call in regions if int(call.args[1].value) & 2]
    written += [store.buffer for store in nodes(func.body, tirx.BufferStore)]
    return [buffer for buffer in func.buffer_map.values() if not is_one_of(buffer, written)]
