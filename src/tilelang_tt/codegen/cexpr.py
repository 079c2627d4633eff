"""Integer TIR expressions as C++ expressions over ``uint32_t``.

Every index of a kernel is non-negative, so floor division and modulo are C++'s own.
"""

from __future__ import annotations

from tvm import tirx

from ..errors import Code, UnsupportedError

_INFIX = {tirx.Add: ("+", 1), tirx.Sub: ("-", 1), tirx.Mul: ("*", 2), tirx.FloorDiv: ("/", 2), tirx.FloorMod: ("%", 2)}
_ATOM = 3

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
    cleaned = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in name)
    return f"{cleaned}_" if cleaned in CPP_KEYWORDS or cleaned[0].isdigit() else cleaned


RESERVED = CPP_KEYWORDS | {"i", "j", "k", "r", "c"}
"""What a variable of the kernel may not be called: C++ keywords and the loop variables of generated code."""


class Names:
    """The C++ names of a kernel's variables: each its own, none reserved."""

    def __init__(self) -> None:
        self._of: dict[tirx.Var, str] = {}
        self._taken: set[str] = set(RESERVED)

    def name(self, var: tirx.Var) -> str:
        """The name of ``var``, chosen when it is first asked for."""
        if var not in self._of:
            base = name = identifier(str(var.name))
            number = 2
            while name in self._taken:
                name, number = f"{base}_{number}", number + 1
            self._taken.add(name)
            self._of[var] = name
        return self._of[var]


def cexpr(expr: tirx.PrimExpr, names: Names) -> str:
    """``expr`` in C++.

    Raises:
        UnsupportedError: ``unsupported``, for anything but variables, constants, + - * // % min and max.
    """
    return _render(expr, names)[0]


def _render(expr: tirx.PrimExpr, names: Names) -> tuple[str, int]:
    """The text and how tightly its outermost operator binds."""
    if isinstance(expr, tirx.IntImm):
        return str(int(expr.value)), _ATOM
    if isinstance(expr, tirx.Var):
        return names.name(expr), _ATOM
    if isinstance(expr, (tirx.Min, tirx.Max)):
        (a, _), (b, _) = _render(expr.a, names), _render(expr.b, names)
        return f"({a} {'<' if isinstance(expr, tirx.Min) else '>'} {b} ? {a} : {b})", _ATOM
    if type(expr) in _INFIX:
        sign, strength = _INFIX[type(expr)]
        (a, left), (b, right) = _render(expr.a, names), _render(expr.b, names)
        a = a if left >= strength else f"({a})"
        b = b if right > strength else f"({b})"
        return f"{a} {sign} {b}", strength
    raise UnsupportedError(
        Code.UNSUPPORTED,
        "an index is not made of + - * // % min max",
        subject=type(expr).__name__,
        found=expr,
        expected="an affine index of block indices and loop variables",
    )
