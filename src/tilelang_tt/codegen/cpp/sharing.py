"""Circular buffers of which no two ever hold anything at a time take turns in one place.

Only those that the compute kernel both fills and empties: for it alone the order of its stream is the order of time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .circular_buffers import CircularBuffer
from .streams import Configure, For, If, Line, Node, inner, words

Span = tuple[float, float]
"""A part of a stream, by the numbers of its first and its last node."""


def pop_early(nodes: list[Node], buffers: Iterable[CircularBuffer]) -> list[Node]:
    """``nodes``, where a circular buffer that only the compute kernel uses is popped behind its last use."""
    return _pop_early(nodes, {buffer.name for buffer in buffers if _may_share(buffer)})


def share(buffers: Sequence[CircularBuffer], nodes: list[Node]) -> None:
    """Let ``buffers`` share places, ``nodes`` being the compute kernel's stream."""
    lifetimes = _Lifetimes(nodes)
    places: list[tuple[CircularBuffer, list[Span]]] = []
    for buffer in buffers:
        spans = lifetimes.of(buffer.name) if _may_share(buffer) else None
        if spans is None:
            continue
        taken = next((place for place in places if _fits(buffer, spans, *place)), None)
        if taken is None:
            places.append((buffer, spans))
        else:
            first, others = taken
            buffer.place, first.depth = first, max(first.depth, buffer.depth)
            others += spans


def _may_share(buffer: CircularBuffer) -> bool:
    return buffer.within_compute and not buffer.swaps_with


def _fits(buffer: CircularBuffer, spans: Sequence[Span], first: CircularBuffer, taken: Sequence[Span]) -> bool:
    """Blocks of one size never wrap inside of a block."""
    kinds = {(one.data_format, one.block_pages, one.unpacks_to_dst) for one in (buffer, first)}
    return len(kinds) == 1 and all(a[1] < b[0] or b[1] < a[0] for a in spans for b in taken)


def _pop_early(nodes: list[Node], names: Collection[str]) -> list[Node]:
    moved: list[Node] = []
    for node in nodes:
        if isinstance(node, For):
            node = replace(node, body=_pop_early(node.body, names))
        elif isinstance(node, If):
            node = If(node.condition, _pop_early(node.then, names), _pop_early(node.otherwise, names))
        name = _popped(node)
        place = len(moved)
        if name in names:
            while place and not _uses(moved[place - 1], str(name)):
                place -= 1
        # A buffer is not popped in front of what it is used by, all the more not where nothing uses it.
        moved.insert(place if place else len(moved), node)
    return moved


def _popped(node: Node) -> str | None:
    """The circular buffer that ``node`` pops."""
    if not isinstance(node, Line) or not node.text.startswith("cb_pop_front("):
        return None
    return node.text.removeprefix("cb_pop_front(").split(",")[0]


def _uses(node: Node, name: str) -> bool:
    """Whether ``node`` does anything with what a circular buffer holds."""
    if isinstance(node, Configure):
        return False
    return name in words(node) or any(_uses(each, name) for body in inner(node) for each in body)


@dataclass
class _Walk:
    """What a circular buffer holds as one goes through a stream."""

    spans: list[Span]
    held: int = 0
    began: float | None = None


class _Lifetimes:
    """When circular buffers hold something, by the numbers of the nodes of a stream."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._numbers: dict[int, Span] = {}
        self._number(nodes, 0)

    def of(self, name: str) -> list[Span] | None:
        """The spans in which ``name`` holds something; None where that cannot be told."""
        walk = _Walk([])
        known = self._visit(self._nodes, name, walk)
        return walk.spans if known and walk.held == 0 and walk.began is None else None

    def _number(self, nodes: list[Node], number: int) -> int:
        for node in nodes:
            first = number
            for body in inner(node):
                number = self._number(body, number + 1)
            number += 1
            self._numbers[id(node)] = (first, number)
            number += 1
        return number

    def _visit(self, nodes: list[Node], name: str, walk: _Walk) -> bool:
        """Whether it can be told what ``nodes`` do to the buffer."""
        for node in nodes:
            if not _uses(node, name):
                continue
            bodies = inner(node)
            known = self._visit_inside(node, bodies, name, walk) if bodies else self._do(node, name, walk)
            if not known:
                return False
        return True

    def _visit_inside(self, node: Node, bodies: tuple[list[Node], ...], name: str, walk: _Walk) -> bool:
        """Each body of a loop or branch by itself: all must leave as much as the others, a loop as much as there
        was."""
        ends = [_Walk([]) for _ in bodies]
        open_before = walk.began is not None
        for body, end in zip(bodies, ends, strict=True):
            end.held = walk.held
            end.began = walk.began
            if not self._visit(body, name, end):
                return False
        held = {end.held for end in ends}
        if len(held) > 1 or (isinstance(node, For) and held != {walk.held}):
            return False
        still_open = any(end.began is not None for end in ends)
        if isinstance(node, For) and still_open != open_before:
            return False
        walk.held = held.pop()
        walk.spans += [span for end in ends for span in end.spans]
        walk.began = min((end.began for end in ends if end.began is not None), default=None)
        return True

    def _do(self, node: Node, name: str, walk: _Walk) -> bool:
        first, last = self._numbers[id(node)]
        if walk.began is None:
            walk.began = first
        text = node.text if isinstance(node, Line) else ""
        if text.startswith(f"cb_push_back({name},"):
            walk.held += 1
        elif text.startswith(f"cb_pop_front({name},"):
            walk.held -= 1
            if walk.held < 0:
                return False
            if walk.held == 0:
                walk.spans.append((walk.began, last))
                walk.began = None
        return True
