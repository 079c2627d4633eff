"""Sizes that are known only when a program is launched: numbers, symbols, and expressions of both, as plain data."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Op = Literal["+", "-", "*", "//", "%", "min", "max"]


class SizeExpr(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``a op b``, with floor division and its modulo."""

    op: Op
    a: Size
    b: Size


Size = int | str | SizeExpr
"""A number, the name of a symbol, or an expression of them."""

_OPERATIONS: dict[Op, Any] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "min": min,
    "max": max,
}
_STRENGTH = {"+": 1, "-": 1, "*": 2, "//": 2, "%": 2}
_ATOM = 3


def evaluate(size: Size, values: Mapping[str, int]) -> int:
    """The number that ``size`` is where its symbols have these values. Raises ZeroDivisionError as Python does."""
    if isinstance(size, SizeExpr):
        return _OPERATIONS[size.op](evaluate(size.a, values), evaluate(size.b, values))
    return values[size] if isinstance(size, str) else size


def names_in(size: Size) -> set[str]:
    """The symbols in ``size``."""
    if isinstance(size, SizeExpr):
        return names_in(size.a) | names_in(size.b)
    return {size} if isinstance(size, str) else set()


def size_text(size: Size) -> str:
    """``size`` as one would write it."""
    return _text(size)[0]


def _text(size: Size) -> tuple[str, int]:
    if not isinstance(size, SizeExpr):
        return str(size), _ATOM
    (a, left), (b, right) = _text(size.a), _text(size.b)
    if size.op in ("min", "max"):
        return f"{size.op}({a}, {b})", _ATOM
    strength = _STRENGTH[size.op]
    return f"{a if left >= strength else f'({a})'} {size.op} {b if right > strength else f'({b})'}", strength


def to_plain(size: Size) -> Any:
    """``size`` as numbers, strings and dictionaries."""
    return msgspec.to_builtins(size)


def from_plain(value: Any) -> Size:
    """The size that :func:`to_plain` gave. Raises :class:`msgspec.ValidationError` for anything else."""
    return msgspec.convert(value, Size)
