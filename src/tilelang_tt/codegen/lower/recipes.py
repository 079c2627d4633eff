"""Functions that the vector engine has no accurate operation for, made of those that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .values import Indices, Operand, Product


@dataclass(frozen=True)
class Step:
    """One engine operation on virtual registers: ``out`` is written (and, but for fetches, read; a ``product`` is added
    to it), ``b`` and ``c`` are read."""

    kind: str
    out: int
    b: int = 0
    op: str = ""
    operands: tuple[Operand, ...] = ()
    number: float = 0.0
    text: str = ""
    c: int = 0
    indices: Indices | None = None
    product: Product | None = None


@dataclass(frozen=True)
class Recipe:
    """``steps`` of the register of the operand, where the result comes to lie, and of ``scratch`` others."""

    scratch: int
    steps: Callable[..., list[Step]]


def _unary(out: int, *ops: str) -> list[Step]:
    return [Step("unary", out, op=op) for op in ops]


def _scalar(out: int, op: str, number: float) -> Step:
    return Step("scalar", out, op=op, number=number)


def _erf(x: int, t: int, p: int) -> list[Step]:
    """Abramowitz and Stegun, 7.1.26: 1 - t * polynomial(t) * exp(-x * x) with t = 1 / (1 + 0.3275911 * |x|)."""
    steps = [Step("copy", t, b=x), *_unary(t, "abs"), _scalar(t, "mul", 0.3275911), _scalar(t, "add", 1.0)]
    steps += [*_unary(t, "recip"), Step("fill", p, number=1.061405429)]
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        steps += [Step("binary", p, b=t, op="mul"), _scalar(p, "add", coefficient)]
    steps += [Step("binary", p, b=t, op="mul"), Step("copy", t, b=x), *_unary(t, "square", "neg", "exp")]
    steps += [Step("binary", p, b=t, op="mul"), _scalar(p, "rsub", 1.0), *_unary(x, "sign")]
    return [*steps, Step("binary", x, b=p, op="mul")]


def _round(x: int, rest: int) -> list[Step]:
    """To whole numbers, halves away from zero: the whole part, and once more that of twice the rest."""
    steps = [Step("copy", rest, b=x), *_unary(x, "trunc"), Step("binary", rest, b=x, op="sub")]
    return [*steps, _scalar(rest, "mul", 2.0), *_unary(rest, "trunc"), Step("binary", x, b=rest, op="add")]


RECIPES: Mapping[str, Recipe] = MappingProxyType({"erf": Recipe(2, _erf), "round": Recipe(1, _round)})
"""By the name of the operation in a tile expression. erf: within 5e-7; round: exact."""
