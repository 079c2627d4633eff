"""Instruction streams: what the reader, the compute and the writer kernel of a core do, as nested lists of typed nodes.

Lowering appends nodes in program order; two small passes then clean a stream up: configurations that are already in
force go, those that a loop never changes move in front of it, and names nobody uses disappear.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Line:
    """One C++ statement or comment."""

    text: str


@dataclass(frozen=True)
class Define:
    """``declaration name = value;``, dropped where ``name`` is not used."""

    name: str
    value: str
    declaration: str = "const uint32_t"


@dataclass(frozen=True)
class Change:
    """``name = value;``, dropped where ``name`` is not used."""

    name: str
    value: str


@dataclass(frozen=True)
class Receive:
    """``lines`` define ``name``, an integer; dropped where it is not used."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Send:
    """``lines`` hand ``name`` to another kernel, ``role``; dropped where that has no use for it."""

    name: str
    role: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Configure:
    """Puts one unit of the core (``math`` with its unpackers, ``pack``, ``sfpu``) into a mode, unless it is in it
    already."""

    unit: str
    mode: str
    lines: tuple[str, ...]
    operands: tuple[str, ...] = ()
    """The circular buffers that the mode is for: sources of ``math``, the target of ``pack``."""


@dataclass
class For:
    """``for (uint32_t var = 0; var < extent && condition; var += step)``."""

    var: str
    extent: str
    body: list[Node] = field(default_factory=list)
    step: int = 1
    condition: str | None = None


@dataclass
class If:
    """``if (condition) {then} else {otherwise}``."""

    condition: str
    then: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


Node = Line | Define | Change | Receive | Send | Configure | For | If


_DROPPABLE = (Define, Receive)
"""What a body may be made of that leaves no trace."""


class Stream:
    """A list of nodes under construction, with the loops that are open."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._defined: dict[str, int] = {}
        self._open: list[list[Node]] = [self.nodes]

    def line(self, text: str) -> None:
        """Append a statement or comment."""
        self._open[-1].append(Line(text))

    def lines(self, *texts: str) -> None:
        """Append several statements."""
        for text in texts:
            self.line(text)

    def add(self, node: Node) -> None:
        """Append a node."""
        self._open[-1].append(node)

    def define(self, name: str, value: str, declaration: str = "const uint32_t") -> str:
        """Append a definition; returns its name, numbered where there was one of this name before."""
        number = self._defined[name] = self._defined.get(name, 0) + 1
        unique = name if number == 1 else f"{name}_{number}"
        self.add(Define(unique, value, declaration))
        return unique

    def configure(self, unit: str, mode: str, *lines: str, operands: tuple[str, ...] = ()) -> None:
        """Append a configuration of ``unit``."""
        self.add(Configure(unit, mode, lines, operands))

    def open_loop(self, var: str, extent: str | int, step: int = 1, condition: str | None = None) -> None:
        """Begin a loop."""
        loop = For(var, str(extent), step=step, condition=condition)
        self.add(loop)
        self._open.append(loop.body)

    def close_loop(self) -> None:
        """End the innermost loop; one in which nothing was put leaves no trace."""
        body = self._open.pop()
        if all(isinstance(node, _DROPPABLE) for node in body):
            self._open[-1].pop()

    def open_branch(self, condition: str) -> None:
        """Begin what is done only where ``condition`` holds."""
        branch = If(condition)
        self.add(branch)
        self._open.append(branch.then)

    def open_otherwise(self, condition: str) -> None:
        """Begin what is done where the innermost branch's ``condition`` does not hold."""
        self._open.pop()
        branch = self._open[-1][-1]
        assert isinstance(branch, If)
        assert branch.condition == condition
        self._open.append(branch.otherwise)

    def close_branch(self) -> None:
        """End the innermost branch; one in which nothing was put leaves no trace."""
        self._open.pop()
        branch = self._open[-1][-1]
        assert isinstance(branch, If)
        if all(isinstance(node, _DROPPABLE) for node in [*branch.then, *branch.otherwise]):
            self._open[-1].pop()

    def insert_first(self, nodes: list[Node]) -> None:
        """Put ``nodes`` in front of everything."""
        self.nodes[:0] = nodes


def settle_configurations(nodes: list[Node]) -> list[Node]:
    """``nodes`` without configurations that are already in force, each as far outside of loops as it may stand."""
    return _settle(nodes, {})


def _settle(nodes: list[Node], in_force: dict[str, str | None]) -> list[Node]:
    settled: list[Node] = []
    for node in nodes:
        if isinstance(node, Configure):
            if in_force.get(node.unit) != node.mode:
                settled.append(node)
                in_force[node.unit] = node.mode
        elif isinstance(node, For):
            settled += _settle_loop(node, in_force)
        elif isinstance(node, If):
            settled.append(_settle_branch(node, in_force))
        else:
            settled.append(node)
    return settled


def _settle_branch(branch: If, in_force: dict[str, str | None]) -> If:
    """Behind a branch only those modes are known that both its arms end in."""
    ends = (dict(in_force), dict(in_force))
    then, otherwise = (_settle(arm, end) for arm, end in zip((branch.then, branch.otherwise), ends, strict=True))
    for unit in {*ends[0], *ends[1]}:
        modes = {end.get(unit) for end in ends}
        in_force[unit] = modes.pop() if len(modes) == 1 else None
    return If(branch.condition, then, otherwise)


def _settle_loop(loop: For, in_force: dict[str, str | None]) -> list[Node]:
    modes: dict[str, list[Configure]] = {}
    for node in configurations(loop.body):
        modes.setdefault(node.unit, []).append(node)
    hoisted: list[Node] = []
    for unit, found in modes.items():
        if len({node.mode for node in found}) == 1:
            if in_force.get(unit) != found[0].mode:
                hoisted.append(found[0])
            in_force[unit] = found[0].mode
        else:
            in_force[unit] = None
    body = _settle(loop.body, in_force)
    if not loop.extent.isdigit() or loop.condition is not None:
        in_force.update({unit: None for unit, found in modes.items() if len({node.mode for node in found}) > 1})
    return [*hoisted, replace(loop, body=body)]


def configurations(nodes: list[Node]) -> list[Configure]:
    """Every configuration of ``nodes``, loops and branches included, in program order."""
    return [node for node in flat(nodes) if isinstance(node, Configure)]


def without_unused(nodes: list[Node]) -> list[Node]:
    """``nodes`` without the definitions of names that nothing after them uses."""
    changing = {
        word for node in flat(nodes) for word in words(node) if not (isinstance(node, Change) and word == node.name)
    }
    kept, _ = _used(nodes, set(), changing)
    return kept


_WORD = re.compile(r"[A-Za-z_]\w*")


def words(node: Node) -> set[str]:
    """The names that ``node`` itself uses, not what is in it."""
    if isinstance(node, Line):
        texts = [node.text]
    elif isinstance(node, (Configure, Send, Receive)):
        texts = list(node.lines)
    elif isinstance(node, For):
        texts = [node.extent, node.condition or ""]
    else:
        texts = [node.condition if isinstance(node, If) else node.value]
    return {word for text in texts for word in _WORD.findall(text)}


def _used(nodes: list[Node], names: set[str], changing: set[str]) -> tuple[list[Node], set[str]]:
    """The nodes that stay and the names that they use, ``names`` being used after them, ``changing`` somewhere."""
    kept: list[Node] = []
    for node in reversed(nodes):
        if isinstance(node, (Define, Receive)) and node.name not in names:
            continue
        if isinstance(node, Change):
            if node.name not in changing:
                continue
            names = names | {node.name}
        elif isinstance(node, For):
            body, names = _used(node.body, names, changing)
            node = replace(node, body=body)
        elif isinstance(node, If):
            then, in_then = _used(node.then, names, changing)
            otherwise, in_otherwise = _used(node.otherwise, names, changing)
            names = in_then | in_otherwise
            node = If(node.condition, then, otherwise)
        names = names | words(node)
        kept.append(node)
    return kept[::-1], names


def received(nodes: list[Node]) -> set[str]:
    """The names that ``nodes`` get from another kernel and use."""
    return {node.name for node in flat(without_unused(nodes)) if isinstance(node, Receive)}


def flat(nodes: list[Node]) -> Iterator[Node]:
    """Every node, those inside of loops and branches included."""
    for node in nodes:
        yield node
        for body in inner(node):
            yield from flat(body)


def inner(node: Node) -> tuple[list[Node], ...]:
    """The nodes in a loop, or in each arm of a branch."""
    if isinstance(node, For):
        return (node.body,)
    return (node.then, node.otherwise) if isinstance(node, If) else ()


def without_sends(nodes: list[Node], wanted: Collection[tuple[str, str]]) -> list[Node]:
    """``nodes`` without what is sent to a kernel that has no use for it; ``wanted``: pairs of name and role."""
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, Send) and (node.name, node.role) not in wanted:
            continue
        if isinstance(node, For):
            node = replace(node, body=without_sends(node.body, wanted))
        elif isinstance(node, If):
            arms = (without_sends(arm, wanted) for arm in (node.then, node.otherwise))
            node = If(node.condition, *arms)
        kept.append(node)
    return kept
