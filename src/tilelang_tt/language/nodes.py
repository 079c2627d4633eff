"""Looking for things in TIR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from tilelang import tvm
from tvm import arith, tirx

Node = TypeVar("Node")


def nodes(root: Any, kind: type[Node] | tuple[type[Node], ...]) -> list[Node]:
    """Every node of ``kind`` in ``root``, what is inside first."""
    found: list[Node] = []

    def visit(node: Any) -> None:
        if isinstance(node, kind):
            found.append(node)

    tirx.stmt_functor.post_order_visit(root, visit)
    return found


def loop_over(func: tirx.PrimFunc, name: str) -> tirx.For | None:
    """The loop whose variable is called ``name``, if ``func`` has one."""
    return next((loop for loop in nodes(func.body, tirx.For) if str(loop.loop_var.name) == name), None)


def is_one_of(node: Any, candidates: Iterable[Any]) -> bool:
    """Whether ``node`` is the same as one of ``candidates``."""
    return any(node.same_as(candidate) for candidate in candidates)


def same_expr(a: Any, b: Any) -> bool:
    """Whether ``a`` and ``b`` are the same expression of the same variables and buffers."""
    if not tvm.ir.structural_equal(a, b):
        return False
    # To TVM, buffers of one shape are equal.
    loads = zip(nodes(a, tirx.BufferLoad), nodes(b, tirx.BufferLoad), strict=True)
    return all(load.buffer.same_as(other.buffer) for load, other in loads)


def uses(expr: Any, var: tirx.Var) -> bool:
    """Whether ``expr`` depends on ``var``."""
    return is_one_of(var, tirx.analysis.undefined_vars(expr))


def moves_as_block(indices: Sequence[Any], variables: Sequence[tirx.Var], analyzer: arith.Analyzer) -> bool:
    """Whether each of ``variables`` moves along one index at most, alone and element by element."""
    zeros = {var: tirx.IntImm("int32", 0) for var in variables}
    moving: list[tirx.Var] = []
    for index in indices:
        found = [var for var in variables if uses(index, var)]
        if found and not analyzer.can_prove_equal(index, tirx.stmt_functor.substitute(index, zeros) + found[0]):
            return False
        moving += found
    return len(set(moving)) == len(moving)
