"""Where in the user's Python file a piece of TIR comes from.

TileLang's TIR carries spans on functions and buffers, not on statements; a statement is found by looking for the call
that made it (its operation's name, mentioning its buffers) in the source of its function.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from tvm import tirx

from ..errors import SourceLocation

# The TileLang spellings of an operation: what a user may have written for it.
SPELLINGS = {"fill": ("fill", "clear"), "store": ("Parallel",)}


def location_of(node: Any) -> SourceLocation | None:
    """The location of a function's, buffer's or statement's own span, if it has one."""
    span = getattr(node, "span", None)
    return None if span is None else SourceLocation(str(span.source_name.name), int(span.line))


def statement_location(func: tirx.PrimFunc, operation: str, names: Collection[str]) -> SourceLocation | None:
    """The line in ``func``'s source where ``operation`` (copy, gemm, reduce_max, ...) is applied to the buffers
    ``names``.

    Falls back to the function's own location.
    """
    start = location_of(func)
    if start is None:
        return None
    nodes = _nodes(start.file, start.line)
    # TileLang's macros make buffers of their own, which the user never wrote.
    written = set(names) & _names(nodes)
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        spelled = _callee(call)
        matches = spelled.startswith(operation) or spelled in SPELLINGS.get(operation, ())
        if matches and written <= _names(ast.walk(call)):
            return SourceLocation(start.file, call.lineno)
    return start


def store_location(func: tirx.PrimFunc, name: str) -> SourceLocation | None:
    """The line in ``func``'s source that assigns to an element of buffer ``name``, else the function's location."""
    start = location_of(func)
    if start is None:
        return None
    for node in _nodes(start.file, start.line):
        if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Store):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == name:
            return SourceLocation(start.file, node.lineno)
    return start


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@lru_cache(maxsize=64)
def _nodes(file: str, line: int) -> tuple[ast.AST, ...]:
    """The nodes, by line, of the innermost function definition of ``file`` around ``line``; none where it cannot be
    read."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    if not functions:
        return ()
    innermost = max(functions, key=lambda node: node.lineno)
    return tuple(sorted(ast.walk(innermost), key=lambda node: getattr(node, "lineno", 0)))
