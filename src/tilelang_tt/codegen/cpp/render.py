"""Instruction streams as C++ source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .circular_buffers import CircularBuffer
from .streams import Change, Configure, Define, For, If, Line, Node, Receive, Send

INDENT = "    "


def render_kernel(
    headers: Sequence[str], comment: Sequence[str], helpers: Mapping[str, str], nodes: Sequence[Node]
) -> str:
    """A kernel's source: includes, those of ``helpers`` (by name) that it calls, and ``kernel_main`` with ``nodes``."""
    lines = [f"#include <{header}>" if "/" not in header else f'#include "{header}"' for header in headers]
    body = _render(nodes, 1)
    called = "\n".join(_called(helpers, "\n".join(body)))
    lines += ["", *([called] if called else []), *(f"// {line}".rstrip() for line in comment), "void kernel_main() {"]
    lines += body
    return "\n".join([*lines, "}", ""])


def _called(helpers: Mapping[str, str], body: str) -> list[str]:
    """Those of ``helpers`` that ``body`` calls, or that these call, in their order."""
    kept: list[str] = []
    for name, text in reversed(list(helpers.items())):
        if any(f"{name}(" in caller or f"{name}<" in caller for caller in (body, *kept)):
            kept.insert(0, text)
    return kept


def _render(nodes: Sequence[Node], depth: int) -> list[str]:
    pad = INDENT * depth
    lines: list[str] = []
    for node in nodes:
        if isinstance(node, Line):
            lines.append(f"{pad}{node.text}".rstrip())
        elif isinstance(node, Define):
            lines.append(f"{pad}{node.declaration} {node.name} = {node.value};")
        elif isinstance(node, Change):
            lines.append(f"{pad}{node.name} = {node.value};")
        elif isinstance(node, (Configure, Receive, Send)):
            lines += [f"{pad}{text}" for text in node.lines]
        elif isinstance(node, For):
            step = f"++{node.var}" if node.step == 1 else f"{node.var} += {node.step}"
            goes_on = f"{node.var} < {node.extent}" + (f" && {node.condition}" if node.condition else "")
            lines.append(f"{pad}for (uint32_t {node.var} = 0; {goes_on}; {step}) {{")
            lines += _render(node.body, depth + 1)
            lines.append(f"{pad}}}")
        elif isinstance(node, If):
            lines += _render_branch(node, depth)
    return lines


def _render_branch(branch: If, depth: int) -> list[str]:
    pad = INDENT * depth
    if not branch.then:
        return [f"{pad}if (!({branch.condition})) {{", *_render(branch.otherwise, depth + 1), f"{pad}}}"]
    otherwise = [f"{pad}}} else {{", *_render(branch.otherwise, depth + 1)] if branch.otherwise else []
    return [f"{pad}if ({branch.condition}) {{", *_render(branch.then, depth + 1), *otherwise, f"{pad}}}"]


def buffer_indices(buffers: Sequence[CircularBuffer]) -> list[Node]:
    """The circular buffers' indices, by name."""
    return [
        Define(buffer.name, str(buffer.index), "uint32_t" if buffer.swaps_with else "constexpr uint32_t")
        for buffer in buffers
    ]
