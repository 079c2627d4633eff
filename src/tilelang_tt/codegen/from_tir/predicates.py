"""T.Parallel bodies as plain stores: names replaced by their values, and conditions by values, the old one where the
condition does not hold.

A name or a condition means what buffers held where it stands. Where a buffer is stored to before that is used, it is
kept in a buffer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilelang import tvm
from tvm import tirx

from ...language.nodes import is_one_of, nodes, uses


@dataclass(frozen=True)
class Kept:
    """A store to a buffer of its own, whatever the conditions around it."""

    store: tirx.BufferStore


NewBuffer = Callable[[Sequence[int], str], tirx.Buffer]
"""Makes an on-chip buffer, of a shape and dtype, that the kernel does not have."""


def predicated(body: Any, loops: Sequence[tirx.For], new_buffer: NewBuffer) -> list[Any]:
    """The statements of a T.Parallel body over ``loops`` without names and conditions, stores for the most part."""
    flat = _Body(loops, new_buffer).statements(body, [])
    return [each.store if isinstance(each, Kept) else each for each in flat]


@dataclass
class _Body:
    loops: Sequence[tirx.For]
    new_buffer: NewBuffer
    names: dict[tirx.Var, tirx.PrimExpr] = field(default_factory=dict)

    def statements(self, body: Any, later: Sequence[Any]) -> list[Any]:
        """``body``, which ``later`` follows."""
        sequence = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
        found: list[Any] = []
        for place, node in enumerate(sequence):
            behind = [*sequence[place + 1 :], *later]
            if isinstance(node, tirx.Bind):
                self.names[node.var] = self._inlined(node.value)
            elif isinstance(node, tirx.IfThenElse):
                found += self._branch(node, behind)
            else:
                found += [*self._kept_before(node, behind), self._inlined(node)]
        return found

    def _branch(self, node: tirx.IfThenElse, later: Sequence[Any]) -> list[Any]:
        before, condition = self._condition(node)
        other_case = [] if node.else_case is None else [node.else_case]
        then = self.statements(node.then_case, [*other_case, *later])
        other = [each for case in other_case for each in self.statements(case, later)]
        return [*before, *_merged(condition, then, other)]

    def _condition(self, node: tirx.IfThenElse) -> tuple[list[Kept], tirx.PrimExpr]:
        """The condition as all stores under it can take it, with what keeps it, where one changes what it reads."""
        condition = self._inlined(node.condition)
        arms = [node.then_case, *([] if node.else_case is None else [node.else_case])]
        stores = [store for arm in arms for store in nodes(arm, tirx.BufferStore)]
        is_one = len(stores) == 1 or (len(stores) == len(arms) == 2 and _same_place(*stores))
        if is_one or not _reads_any(condition, [store.buffer for store in stores]):
            return [], condition
        kept, value = self._keep(condition)
        return [kept], value

    def _kept_before(self, node: Any, later: Sequence[Any]) -> Iterator[Kept]:
        """What keeps the values of names that ``later`` uses, and that ``node`` changes."""
        if not isinstance(node, tirx.BufferStore):
            return
        for name, value in list(self.names.items()):
            if _reads_any(value, [node.buffer]) and any(uses(each, name) for each in later):
                kept, self.names[name] = self._keep(value)
                yield kept

    def _keep(self, value: tirx.PrimExpr) -> tuple[Kept, tirx.PrimExpr]:
        """What keeps ``value``, and it from then on."""
        shape = [int(loop.extent) for loop in self.loops] or [1]
        indices = [loop.loop_var - loop.min for loop in self.loops] or [0]
        is_condition = str(value.dtype) == "bool"
        if is_condition:
            value = tirx.if_then_else(value, *(tirx.const(number, "float32") for number in (1.0, 0.0)))
        buffer = self.new_buffer(shape, str(value.dtype))
        load = tirx.BufferLoad(buffer, indices)
        kept = Kept(tirx.BufferStore(buffer, value, indices))
        return kept, tirx.NE(load, tirx.const(0.0, "float32")) if is_condition else load

    def _inlined(self, node: Any) -> Any:
        return tirx.stmt_functor.substitute(node, self.names)


def _reads_any(expr: tirx.PrimExpr, buffers: Sequence[tirx.Buffer]) -> bool:
    return any(is_one_of(load.buffer, buffers) for load in nodes(expr, tirx.BufferLoad))


def _merged(condition: Any, then: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Both arms of a branch as plain stores; where both store to one place, as one store, which needs no old value."""
    found: list[Any] = []
    rest = list(other)
    for each in then:
        partner = next((place for place, one in enumerate(rest) if _same_place(each, one)), None)
        if partner is None or not _can_come_first(rest, partner):
            found.append(_where(condition, each, holds=True))
        else:
            value = tirx.if_then_else(condition, each.value, rest.pop(partner).value)
            found.append(tirx.BufferStore(each.buffer, value, each.indices))
    return [*found, *(_where(condition, each, holds=False) for each in rest)]


def _can_come_first(stores: Sequence[Any], place: int) -> bool:
    """Whether a store does the same in front of those that are in front of it."""
    own = stores[place]
    for each in stores[:place]:
        store = each.store if isinstance(each, Kept) else each
        if not isinstance(store, tirx.BufferStore) or store.buffer.same_as(own.buffer):
            return False
        if _reads_any(own.value, [store.buffer]) or _reads_any(store.value, [own.buffer]):
            return False
    return True


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
