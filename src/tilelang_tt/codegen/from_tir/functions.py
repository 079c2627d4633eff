"""The functions of a T.Parallel body: what each is of in a tile expression."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..tile_program.expressions import Binary, Constant, TileExpr, Unary

_FOLD = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "max": max, "min": min}


def binary(op: str, a: TileExpr, b: TileExpr) -> TileExpr:
    """``a op b``, constants folded."""
    if isinstance(a, Constant) and isinstance(b, Constant) and op in _FOLD:
        return Constant(_FOLD[op](a.value, b.value))
    return Binary(op, a, b)


def scaled(a: TileExpr, factor: float) -> TileExpr:
    """``a * factor``."""
    return binary("mul", a, Constant(factor))


def power(base: TileExpr, exponent: TileExpr) -> TileExpr:
    """``base ** exponent``, by the shortest way for the exponents that are seen most."""
    if not isinstance(exponent, Constant):
        return Binary("pow", base, exponent)
    if exponent.value in _POWERS:
        return _POWERS[exponent.value](base)
    return Binary("pow", base, exponent)


_POWERS: Mapping[float, Callable[[TileExpr], TileExpr]] = MappingProxyType(
    {
        0.0: lambda base: Constant(1.0),
        1.0: lambda base: base,
        2.0: lambda base: Unary("square", base),
        -1.0: lambda base: Unary("recip", base),
        0.5: lambda base: Unary("sqrt", base),
        -0.5: lambda base: Unary("rsqrt", base),
    }
)


def _copysign(size: TileExpr, sign: TileExpr) -> TileExpr:
    return Binary("mul", Unary("abs", size), binary("sub", scaled(Unary("gez", sign), 2.0), Constant(1.0)))


def _hypot(a: TileExpr, b: TileExpr) -> TileExpr:
    return Unary("sqrt", binary("add", Unary("square", a), Unary("square", b)))


def _fused(a: TileExpr, b: TileExpr, c: TileExpr) -> TileExpr:
    return binary("add", binary("mul", a, b), c)


_ONE_OPERAND = {
    **{name: name for name in ("exp", "exp2", "log", "log1p", "sqrt", "rsqrt", "tanh", "sigmoid", "erf")},
    **{name: name for name in ("floor", "ceil", "trunc", "round", "nearbyint", "isfinite")},
    **{name: name for name in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: name for name in ("sinh", "cosh", "asinh", "acosh", "atanh")},
    **{"fabs": "abs", "fast_rcp": "recip", "ieee_frcp": "recip", "ieee_frsqrt": "rsqrt", "ieee_fsqrt": "sqrt"},
    **{f"__{name}": name for name in ("exp", "log", "sin", "cos", "tan")},
}
_TWO_OPERANDS = {"ieee_add": "add", "ieee_sub": "sub", "ieee_mul": "mul", "ieee_fdiv": "div", "fmod": "fmod"}


def _one(op: str) -> Callable[..., TileExpr]:
    return lambda a: Unary(op, a)


def _two(op: str) -> Callable[..., TileExpr]:
    return lambda a, b: binary(op, a, b)


def _logarithm(base: float) -> Callable[..., TileExpr]:
    return lambda a: scaled(Unary("log", a), 1 / math.log(base))


def _power_of_ten(a: TileExpr) -> TileExpr:
    return Unary("exp", scaled(a, math.log(10)))


FUNCTIONS: Mapping[str, Callable[..., TileExpr]] = MappingProxyType(
    {name: _one(op) for name, op in _ONE_OPERAND.items()}
    | {name: _two(op) for name, op in _TWO_OPERANDS.items()}
    | {"log2": _logarithm(2), "log10": _logarithm(10), "__log2": _logarithm(2), "__log10": _logarithm(10)}
    | {"exp10": _power_of_ten, "__exp10": _power_of_ten, "pow": power, "pow_of_int": power}
    | {"clamp": lambda x, low, high: binary("min", binary("max", x, low), high)}
    | {"copysign": _copysign, "hypot": _hypot, "fma": _fused, "ieee_fmaf": _fused}
)
"""By TIR's name: operands as tile expressions to the result."""
