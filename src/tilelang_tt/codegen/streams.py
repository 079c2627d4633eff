"""Instruction streams: what the reader, the compute and the writer kernel of a core do, as nested lists of typed nodes.

Lowering appends nodes in program order; two small passes then clean a stream up: configurations that are already in
force go, those that a loop never changes move in front of it, and names nobody uses disappear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


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
    """``for (uint32_t var = 0; var < extent; var += step)``."""

    var: str
    extent: str
    body: list[Node] = field(default_factory=list)
    step: int = 1


@dataclass
class If:
    """``if (condition) {then} else {otherwise}``."""

    condition: str
    then: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


Node = Line | Define | Configure | For | If


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

    def define(self, name: str, value: str) -> str:
        """Append a definition; returns its name, numbered where there was one of this name before."""
        number = self._defined[name] = self._defined.get(name, 0) + 1
        unique = name if number == 1 else f"{name}_{number}"
        self.add(Define(unique, value))
        return unique

    def configure(self, unit: str, mode: str, *lines: str, operands: tuple[str, ...] = ()) -> None:
        """Append a configuration of ``unit``."""
        self.add(Configure(unit, mode, lines, operands))

    def open_loop(self, var: str, extent: str | int, step: int = 1) -> None:
        """Begin a loop."""
        loop = For(var, str(extent), step=step)
        self.add(loop)
        self._open.append(loop.body)

    def close_loop(self) -> None:
        """End the innermost loop; one in which nothing was put leaves no trace."""
        body = self._open.pop()
        if all(isinstance(node, Define) for node in body):
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
        if all(isinstance(node, Define) for node in [*branch.then, *branch.otherwise]):
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
    if not loop.extent.isdigit():
        in_force.update({unit: None for unit, found in modes.items() if len({node.mode for node in found}) > 1})
    return [*hoisted, For(loop.var, loop.extent, body, loop.step)]


def configurations(nodes: list[Node]) -> list[Configure]:
    """Every configuration of ``nodes``, loops and branches included, in program order."""
    found: list[Configure] = []
    for node in nodes:
        if isinstance(node, Configure):
            found.append(node)
        elif isinstance(node, For):
            found += configurations(node.body)
        elif isinstance(node, If):
            found += configurations(node.then) + configurations(node.otherwise)
    return found


def without_unused(nodes: list[Node]) -> list[Node]:
    """``nodes`` without the definitions of names that nothing after them uses."""
    kept, _ = _used(nodes, set())
    return kept


_WORD = re.compile(r"[A-Za-z_]\w*")


def _used(nodes: list[Node], names: set[str]) -> tuple[list[Node], set[str]]:
    kept: list[Node] = []
    for node in reversed(nodes):
        if isinstance(node, Line):
            names |= set(_WORD.findall(node.text))
        elif isinstance(node, Configure):
            names |= {word for text in node.lines for word in _WORD.findall(text)}
        elif isinstance(node, For):
            body, names = _used(node.body, names)
            names |= set(_WORD.findall(node.extent))
            node = For(node.var, node.extent, body, node.step)
        elif isinstance(node, If):
            then, in_then = _used(node.then, set(names))
            otherwise, in_otherwise = _used(node.otherwise, set(names))
            names = in_then | in_otherwise | set(_WORD.findall(node.condition))
            node = If(node.condition, then, otherwise)
        elif node.name not in names:
            continue
        else:
            names |= set(_WORD.findall(node.value))
        kept.append(node)
    return kept[::-1], names
