"""Conditions around stores in a T.Parallel body, as values: the old one where the condition does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilelang import tvm
from tvm import tirx

from ...errors import Code, UnsupportedError
from ...language.nodes import is_one_of, nodes


def predicated(body: Any) -> list[Any]:
    """The statements of a T.Parallel body without names and conditions, stores for the most part.

    Raises:
        UnsupportedError: ``unsupported``, for a condition of what is stored under it.
    """
    statements: list[Any] = []
    lets: dict[tirx.Var, tirx.PrimExpr] = {}
    for node in _sequence(body):
        if isinstance(node, tirx.Bind):
            lets[node.var] = tirx.stmt_functor.substitute(node.value, lets)
            continue
        node = tirx.stmt_functor.substitute(node, lets)
        statements += _under_condition(node) if isinstance(node, tirx.IfThenElse) else [node]
    return statements


def _under_condition(node: tirx.IfThenElse) -> list[Any]:
    then = predicated(node.then_case)
    other = [] if node.else_case is None else predicated(node.else_case)
    if len(then) == len(other) == 1 and _same_place(then[0], other[0]):
        value = tirx.if_then_else(node.condition, then[0].value, other[0].value)
        return [tirx.BufferStore(then[0].buffer, value, then[0].indices)]
    stores = [*then, *other]
    _check_condition(node.condition, stores[:-1])
    return [_where(node.condition, store, holds=place < len(then)) for place, store in enumerate(stores)]


def _check_condition(condition: Any, stores: Sequence[Any]) -> None:
    """A condition means what the buffers hold before the stores under it."""
    written = [store.buffer for store in stores if isinstance(store, tirx.BufferStore)]
    found = [load for load in nodes(condition, tirx.BufferLoad) if is_one_of(load.buffer, written)]
    if found:
        name = str(found[0].buffer.name)
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"if in T.Parallel depends on {name}, which is stored to under it",
            subject=name,
            found=condition,
            hint="keep the condition in another buffer, or use T.if_then_else",
        )


def _where(condition: Any, store: Any, *, holds: bool) -> Any:
    """``store`` where ``condition`` holds (or does not); anything else as it is."""
    if not isinstance(store, tirx.BufferStore):
        return store
    old = tirx.BufferLoad(store.buffer, store.indices)
    a, b = (store.value, old) if holds else (old, store.value)
    return tirx.BufferStore(store.buffer, tirx.if_then_else(condition, a, b), store.indices)


def _same_place(a: Any, b: Any) -> bool:
    if not isinstance(a, tirx.BufferStore) or not isinstance(b, tirx.BufferStore) or not a.buffer.same_as(b.buffer):
        return False
    return all(tvm.ir.structural_equal(x, y) for x, y in zip(a.indices, b.indices, strict=True))


def _sequence(body: Any) -> Sequence[Any]:
    return body.seq if isinstance(body, tirx.SeqStmt) else [body]
