"""T.Parallel bodies as plain stores: names replaced by their values, and conditions by values, the old one where the
condition does not hold.

A name or a condition means what buffers held where it stands. Where a buffer is stored to before that is used, it is
kept in a buffer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import tirx

from ...language.nodes import is_one_of, nodes, same_expr, uses


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
class _Open:
    """A branch whose arms are being read: the names from before it, and what is kept in front of it."""

    names: Collection[tirx.Var]
    kept: list[Kept]


@dataclass
class _Body:
    loops: Sequence[tirx.For]
    new_buffer: NewBuffer
    names: dict[tirx.Var, tirx.PrimExpr] = field(default_factory=dict)
    branches: list[_Open] = field(default_factory=list)

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
        self.branches.append(_Open(tuple(self.names), before))
        then = self.statements(node.then_case, later)
        other = [] if node.else_case is None else self.statements(node.else_case, later)
        self.branches.pop()
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

    def _kept_before(self, node: Any, later: Sequence[Any]) -> list[Kept]:
        """What keeps the values of names that ``later`` uses, and that ``node`` changes.

        For a name from before a branch that is in front of the branch, as both arms may use it.
        """
        here: list[Kept] = []
        if not isinstance(node, tirx.BufferStore):
            return here
        for name, value in list(self.names.items()):
            if _reads_any(value, [node.buffer]) and any(uses(each, name) for each in later):
                kept, self.names[name] = self._keep(value)
                outermost = next((branch.kept for branch in self.branches if is_one_of(name, branch.names)), here)
                outermost.append(kept)
        return here

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
    """Both arms of a branch as plain stores; where both store to one place, it needs no old value."""
    found: list[Any] = []
    rest = list(other)
    for place, each in enumerate(then):
        partner = next((at for at, one in enumerate(rest) if _same_place(each, one)), None)
        if partner is None or any(_same_place(each, one) for one in then[:place]):
            found.append(_where(condition, each, holds=True))
        elif _can_come_first(rest, partner):
            value = tirx.if_then_else(condition, each.value, rest.pop(partner).value)
            found.append(tirx.BufferStore(each.buffer, value, each.indices))
        else:
            sees = any(_reads_any(_stored(one).value, [each.buffer]) for one in rest[: partner + 1] if _stored(one))
            # What this leaves elsewhere the other arm overwrites, unless it looks at it before.
            found.append(_where(condition, each, holds=True) if sees else each)
    return [*found, *(_where(condition, each, holds=False) for each in rest)]


def _stored(statement: Any) -> Any:
    """The store that ``statement`` is, None for anything else."""
    store = statement.store if isinstance(statement, Kept) else statement
    return store if isinstance(store, tirx.BufferStore) else None


def _can_come_first(stores: Sequence[Any], place: int) -> bool:
    """Whether a store does the same in front of those that are in front of it."""
    own = stores[place]
    for each in stores[:place]:
        store = _stored(each)
        if store is None or store.buffer.same_as(own.buffer):
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
    return all(same_expr(x, y) for x, y in zip(a.indices, b.indices, strict=True))
