"""Integer TIR expressions as C++ expressions over ``uint32_t``.

Sums and products of negative numbers wrap around, so that they are right modulo 2**32. Where sign matters (comparisons,
floor division, minima) and numbers may be negative, they are taken as ``int32_t``.
"""

from __future__ import annotations

from copy import copy

from tvm import arith, tirx

from ..errors import Code, UnsupportedError
from .cpp import metalium

_INFIX = {tirx.Add: ("+", 4), tirx.Sub: ("-", 4), tirx.Mul: ("*", 5), tirx.FloorDiv: ("/", 5), tirx.FloorMod: ("%", 5)}
_COMPARE = {tirx.LT: "<", tirx.LE: "<=", tirx.GT: ">", tirx.GE: ">=", tirx.EQ: "==", tirx.NE: "!="}
_FLOOR = {tirx.FloorDiv: metalium.FLOOR_DIV_NAME, tirx.FloorMod: metalium.FLOOR_MOD_NAME}
_LOGIC = {tirx.And: ("&&", 2), tirx.Or: ("||", 1)}
_ATOM = 6

CPP_KEYWORDS = frozenset(
    [
        "alignas",
        "and",
        "asm",
        "auto",
        "bool",
        "break",
        "case",
        "catch",
        "char",
        "class",
        "const",
        "constexpr",
        "continue",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "explicit",
        "export",
        "extern",
        "false",
        "float",
        "for",
        "friend",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "mutable",
        "namespace",
        "new",
        "not",
        "operator",
        "or",
        "private",
        "protected",
        "public",
        "register",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "throw",
        "true",
        "try",
        "typedef",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "while",
        "xor",
    ]
)


def identifier(name: str) -> str:
    """``name`` as a C++ identifier that is no keyword."""
    cleaned = "".join(ch if (ch.isascii() and ch.isalnum()) or ch == "_" else "_" for ch in name)
    return f"{cleaned}_" if cleaned in CPP_KEYWORDS or cleaned[0].isdigit() else cleaned


RESERVED = CPP_KEYWORDS | {"i", "j", "k", "r", "c"}
"""What a variable of the kernel may not be called: C++ keywords and the loop variables of generated code."""


class Names:
    """The C++ names of a kernel's variables: each its own, none reserved; and what is known of their values."""

    def __init__(self, analyzer: arith.Analyzer) -> None:
        self.analyzer = analyzer
        self.natural = False
        self._of: dict[tirx.Var, str] = {}
        self._taken: set[str] = set(RESERVED)

    def naturals(self) -> Names:
        """The same names, for an expression of which no part is ever negative, by construction."""
        view = copy(self)
        view.natural = True
        return view

    def never_negative(self, expr: tirx.PrimExpr) -> bool:
        """Whether ``expr`` is known to be at least 0."""
        return self.natural or self.analyzer.can_prove(expr >= 0)

    def name(self, var: tirx.Var, prefix: str = "") -> str:
        """The name of ``var``, chosen when it is first asked for, which may begin with ``prefix``."""
        if var not in self._of:
            base = name = identifier(f"{prefix}{var.name}")
            number = 2
            while name in self._taken:
                name, number = f"{base}_{number}", number + 1
            self._taken.add(name)
            self._of[var] = name
        return self._of[var]

    def call(self, var: tirx.Var, name: str) -> None:
        """``var``, a loop variable of generated code, is called ``name``."""
        self._of[var] = name


def cexpr(expr: tirx.PrimExpr, names: Names) -> str:
    """``expr``, a number or a condition, in C++.

    Raises:
        UnsupportedError: ``unsupported``, for anything but variables, constants, + - * // % min max, comparisons, and,
            or, not.
    """
    return _render(expr, names)[0]


def _render(expr: tirx.PrimExpr, names: Names) -> tuple[str, int]:
    """The text and how tightly its outermost operator binds."""
    if isinstance(expr, tirx.IntImm):
        return str(int(expr.value)), _ATOM
    if isinstance(expr, tirx.Var):
        return names.name(expr), _ATOM
    if isinstance(expr, tirx.Cast) and str(expr.dtype).startswith("int"):
        return _render(expr.value, names)
    if isinstance(expr, (tirx.Min, tirx.Max)):
        left, right = _signed((expr.a, expr.b), names)
        a, b = (_render(side, names)[0] for side in (expr.a, expr.b))
        return f"({left} {'<' if isinstance(expr, tirx.Min) else '>'} {right} ? {a} : {b})", _ATOM
    if type(expr) in _FLOOR and not names.never_negative(expr.a):
        return f"{_FLOOR[type(expr)]}({_render(expr.a, names)[0]}, {_render(expr.b, names)[0]})", _ATOM
    if isinstance(expr, (tirx.Div, tirx.Mod)) and str(expr.dtype).startswith("int"):
        return _truncated(expr, names)
    if type(expr) in _INFIX:
        return _infix(expr, *_INFIX[type(expr)], names)
    if type(expr) in _LOGIC:
        return _infix(expr, *_LOGIC[type(expr)], names)
    if type(expr) in _COMPARE and str(expr.a.dtype).startswith(("int", "uint")):
        a, b = _signed((expr.a, expr.b), names)
        return f"{a} {_COMPARE[type(expr)]} {b}", 3
    if isinstance(expr, tirx.Not):
        return f"!({_render(expr.a, names)[0]})", _ATOM
    if isinstance(expr, tirx.Select) or _is_choice(expr):
        parts = (expr.condition, expr.true_value, expr.false_value) if isinstance(expr, tirx.Select) else expr.args
        condition, a, b = (_render(part, names)[0] for part in parts)
        return f"({condition} ? {a} : {b})", _ATOM
    raise UnsupportedError(
        Code.UNSUPPORTED,
        "an index is not made of + - * // % min max",
        subject=type(expr).__name__,
        found=expr,
        expected="an affine index of block indices and loop variables",
    )


def _truncated(expr: tirx.PrimExpr, names: Names) -> tuple[str, int]:
    """Division that cuts towards zero, which C++'s does of signed numbers."""
    a, b = (_render(side, names)[0] for side in (expr.a, expr.b))
    sign = "/" if isinstance(expr, tirx.Div) else "%"
    signed = "" if names.never_negative(expr.a) and names.never_negative(expr.b) else "int32_t"
    return f"uint32_t({signed}({a}) {sign} {signed}({b}))", _ATOM


def _infix(expr: tirx.PrimExpr, sign: str, strength: int, names: Names) -> tuple[str, int]:
    (a, left), (b, right) = _render(expr.a, names), _render(expr.b, names)
    a = a if left >= strength else f"({a})"
    b = b if right > strength else f"({b})"
    return f"{a} {sign} {b}", strength


def _signed(sides: tuple[tirx.PrimExpr, ...], names: Names) -> list[str]:
    """The numbers to compare: as signed ones, unless none of them can be negative."""
    texts = [_render(side, names) for side in sides]
    if all(names.never_negative(side) for side in sides):
        return [text if strength > 3 else f"({text})" for text, strength in texts]
    return [text if text.isdigit() else f"int32_t({text})" for text, _ in texts]


def _is_choice(expr: tirx.PrimExpr) -> bool:
    return isinstance(expr, tirx.Call) and str(expr.op.name).endswith("if_then_else")


# ---- arithmetic on C++ index expressions ----------------------------------------------------------------------------


def plus(a: str, b: str | int) -> str:
    """``a + b``, constants folded."""
    b = str(b)
    if a.isdigit() and b.isdigit():
        return str(int(a) + int(b))
    return b if a == "0" else a if b == "0" else f"{a} + {b}"


def times(a: str, factor: int) -> str:
    """``a * factor``, constants folded."""
    if a.isdigit():
        return str(int(a) * factor)
    if factor == 1:
        return a
    return f"{a} * {factor}" if a.replace("_", "").isalnum() else f"({a}) * {factor}"
