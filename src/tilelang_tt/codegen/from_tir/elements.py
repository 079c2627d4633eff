"""Expressions of a T.Parallel body as tile expressions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tvm import arith, tirx

from ...errors import UnsupportedError
from ...formats import TILE, rounded_number
from ...language import tile_ops
from ...language.nodes import nodes, same_expr
from ..tile_program.expressions import (
    Binary,
    BlockTile,
    Choose,
    Constant,
    IndexTile,
    Integer,
    TensorTile,
    TileExpr,
    Unary,
)
from .access import broadcast
from .functions import FUNCTIONS, binary, scaled
from .gathers import gathered, is_gathered, is_index
from .regions import Regions, refused

_BINARY = {tirx.Add: "add", tirx.Sub: "sub", tirx.Mul: "mul", tirx.Div: "div", tirx.Max: "max", tirx.Min: "min"}


ANY = tirx.For(tirx.Var("any", "int32"), 0, TILE, tirx.ForKind.PARALLEL, tirx.Evaluate(0))
"""A loop that nothing moves with."""


def element_expr(expr: tirx.PrimExpr, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """``expr``, an element's value, as the same for whole tiles: int32 where ``expr`` is an integer, else float32.

    Values stay float32 in DST; casts to narrower types, and buffers of those, round them. A condition is a float: 1, 0.

    Raises:
        UnsupportedError: ``unsupported``, naming the construct.
    """
    if isinstance(expr, tirx.IntImm) and _is_integer(expr):
        return Integer(int(expr.value))
    if isinstance(expr, (tirx.FloatImm, tirx.IntImm)):
        return Constant(float(expr.value))
    if isinstance(expr, tirx.Cast):
        return _cast(expr, loops, regions)
    if isinstance(expr, tirx.Var):
        return _index(expr, loops, regions, integer=True)
    if isinstance(expr, tirx.BufferLoad):
        return _load(expr, loops, regions)
    if isinstance(expr, tirx.Select):
        if _is_absolute_value(expr):
            return Unary("abs_int32", element_expr(expr.true_value, loops, regions))
        return _choice((expr.condition, expr.true_value, expr.false_value), loops, regions)
    if type(expr) in _COMPARE:
        return _comparison(expr, loops, regions)
    if isinstance(expr, tirx.And) and _is_infinity_test(expr):
        return Unary("isinf", element_expr(expr.b.a.args[0], loops, regions))
    if isinstance(expr, (tirx.And, tirx.Or)) or _is_logic(expr):
        a, b = expr.args if isinstance(expr, tirx.Call) else (expr.a, expr.b)
        op = "min" if isinstance(expr, tirx.And) or _is_call(expr, "bitwise_and") else "max"
        return Binary(op, element_expr(a, loops, regions), element_expr(b, loops, regions))
    if isinstance(expr, tirx.Not):
        return Unary("eqz", element_expr(expr.a, loops, regions))
    if _is_integer(expr):
        return _integer_expr(expr, loops, regions)
    if type(expr) in _BINARY:
        return binary(_BINARY[type(expr)], element_expr(expr.a, loops, regions), element_expr(expr.b, loops, regions))
    if isinstance(expr, tirx.Call):
        name = str(expr.op.name).split(".")[-1]
        if name == "infinity":
            return Constant(math.inf)
        if name == "if_then_else":
            return _choice(expr.args, loops, regions)
        if name in FUNCTIONS:
            return FUNCTIONS[name](*(_operand(arg, loops, regions) for arg in _operands(expr)))
        raise _refused(f"{name} in T.Parallel is not supported", name, expr)
    raise _refused(f"{type(expr).__name__} in T.Parallel is not supported", type(expr).__name__, expr)


def _operands(call: tirx.Call) -> list[Any]:
    """The arguments of a call, but for the name of a way of rounding."""
    return [arg for arg in call.args if not isinstance(arg, tirx.StringImm)]


def _operand(arg: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """An argument of a function of floats."""
    value = element_expr(arg, loops, regions)
    return Constant(float(value.value)) if isinstance(value, Integer) else value


def _is_infinity_test(expr: tirx.And) -> bool:
    """``fabs(x) == infinity and not isnan(x)``, which is what T.isinf(x) becomes."""
    a, b = expr.a, expr.b
    if not (isinstance(a, tirx.EQ) and isinstance(b, tirx.Not) and _is_call(a.a, "fabs") and _is_call(b.a, "isnan")):
        return False
    return same_expr(a.a.args[0], b.a.args[0]) and isinstance(a.b, tirx.FloatImm) and a.b.value == math.inf


def _is_logic(expr: Any) -> bool:
    """Whether ``expr`` is ``a & b`` or ``a | b`` of conditions."""
    return str(expr.dtype) == "bool" and (_is_call(expr, "bitwise_and") or _is_call(expr, "bitwise_or"))


def _is_call(expr: Any, name: str) -> bool:
    return isinstance(expr, tirx.Call) and str(expr.op.name).split(".")[-1] == name


_COMPARE = {tirx.GE: "ge", tirx.GT: "gt", tirx.LE: "le", tirx.LT: "lt", tirx.EQ: "eq", tirx.NE: "ne"}


def _comparison(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """1 where ``expr`` holds, else 0: by the difference of two indices or floats, directly of two int32."""
    op = _COMPARE[type(expr)]
    if not _is_integer(expr.a):
        sides = (_finite(element_expr(side, loops, regions)) for side in (expr.a, expr.b))
        return Unary(f"{op}z", binary("sub", *sides))
    if not _reads_elements(expr):
        return Unary(f"{op}z", _index(expr.a - expr.b, loops, regions, integer=False))
    a, b = (element_expr(side, loops, regions) for side in (expr.a, expr.b))
    return Unary("int32_to_float32", Binary(f"{op}_int32", a, b))


FLOATS = ("bfloat16", "float16", "float32")


def _cast(cast: tirx.Cast, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """A cast to a narrower float type rounds; one to an integer cuts towards zero."""
    value = element_expr(cast.value, loops, regions)
    source, target = str(cast.value.dtype), str(cast.dtype)
    if target == "bool":
        return Unary("nez", Unary("int32_to_float32", value) if _is_integer(cast.value) else value)
    if target not in (*FLOATS, "int32"):
        raise _refused(f"a cast to {target} is not supported", target, cast)
    if target == "int32":
        return value if _is_integer(cast.value) else Unary("float32_to_int32", value)
    if source not in FLOATS and source != "bool":
        value = _float_of_integer(cast.value, value, loops, regions)
    if target == "float16" and regions.float16_as is not None:
        target = regions.float16_as
    if target == "float32" or target == source:
        return value
    if isinstance(value, Constant):
        return Constant(rounded_number(value.value, target))
    return Unary(f"to_{target}", value)


def _float_of_integer(expr: Any, value: TileExpr, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    if isinstance(value, Integer):
        return Constant(float(value.value))
    if not _reads_elements(expr):
        return _index(expr, loops, regions, integer=False)
    return Unary("int32_to_float32", value)


def _is_integer(expr: Any) -> bool:
    return str(expr.dtype).startswith("int")


def _reads_elements(expr: Any) -> bool:
    """Whether ``expr`` depends on the elements of a buffer or tensor, so that it is no index."""
    return bool(nodes(expr, tirx.BufferLoad) or nodes(expr, tirx.Call))


_INTEGER_BINARY = {tirx.Add: "add", tirx.Sub: "sub", tirx.Mul: "mul", tirx.Max: "max", tirx.Min: "min"}
_INTEGER_CALLS = {
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
    "shift_left": "shl",
    "shift_right": "shr",
}


def _integer_expr(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """Integer arithmetic: of indices as an index, else of int32 elements."""
    if not _reads_elements(expr):
        return _index(expr, loops, regions, integer=True)
    if type(expr) in (tirx.FloorDiv, tirx.FloorMod):
        return _by_power_of_two(expr, loops, regions)
    op = _INTEGER_BINARY.get(type(expr))
    if op is not None:
        return _integer_binary(op, expr.a, expr.b, loops, regions)
    if not isinstance(expr, tirx.Call):
        raise _refused(f"{type(expr).__name__} of integers is not supported", type(expr).__name__, expr)
    name = str(expr.op.name).split(".")[-1]
    if name in _INTEGER_CALLS:
        return _integer_binary(_INTEGER_CALLS[name], expr.args[0], expr.args[1], loops, regions)
    if name == "if_then_else":
        return _choice(expr.args, loops, regions)
    if name in ("abs", "fabs"):
        return Unary("abs_int32", element_expr(expr.args[0], loops, regions))
    raise _refused(f"{name} of integers is not supported", name, expr)


def _is_absolute_value(expr: tirx.Select) -> bool:
    """Whether ``expr`` is ``x if x >= 0 else 0 - x``, as T.abs of an integer comes."""
    x, compare, negated = expr.true_value, expr.condition, expr.false_value
    return (
        _is_integer(expr)
        and isinstance(compare, tirx.GE)
        and isinstance(negated, tirx.Sub)
        and same_expr(compare.a, x)
        and same_expr(negated.b, x)
        and all(isinstance(zero, tirx.IntImm) and int(zero) == 0 for zero in (compare.b, negated.a))
    )


def _choice(parts: Sequence[Any], loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    if _is_zero(parts[2]) and is_gathered(parts[1], loops, regions) and is_index(parts[0]):
        return gathered(parts[1], loops, regions, parts[0])
    condition, a, b = (element_expr(part, loops, regions) for part in parts)
    return Choose(condition, a, b)


def _is_zero(expr: Any) -> bool:
    return isinstance(expr, (tirx.IntImm, tirx.FloatImm)) and float(expr.value) == 0


def _integer_binary(op: str, a: Any, b: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    return Binary(f"{op}_int32", element_expr(a, loops, regions), element_expr(b, loops, regions))


def _by_power_of_two(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """Floor division and modulo as shift and mask, which the vector engine has."""
    divisor = int(expr.b) if isinstance(expr.b, tirx.IntImm) else 0
    if divisor <= 0 or divisor & (divisor - 1):
        raise _refused("a division of integers but by a constant power of two is not supported", "T.Parallel", expr)
    value = element_expr(expr.a, loops, regions)
    if isinstance(expr, tirx.FloorDiv):
        return Binary("shr_int32", value, Integer(divisor.bit_length() - 1))
    return Binary("and_int32", value, Integer(divisor - 1))


FLT_MAX = 3.4028234663852886e38


def _finite(expr: TileExpr) -> TileExpr:
    """``expr``, infinities as the largest numbers: the difference of two infinities does not tell that they agree."""
    return binary("min", binary("max", expr, Constant(-FLT_MAX)), Constant(FLT_MAX))


def _index(expr: Any, loops: Sequence[tirx.For], regions: Regions, *, integer: bool) -> TileExpr:
    """An integer expression of the loops' variables, as int32 or as floats: affine, or made of such ones by
    + - * // % max and min."""
    affine = _affine(expr, loops, regions)
    if affine is not None:
        return replace(affine, integer=integer)
    number = _not_affine(expr, loops, regions)
    return Unary("float32_to_int32", number) if integer else number


def _not_affine(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    if type(expr) in (tirx.FloorDiv, tirx.FloorMod) and isinstance(expr.b, tirx.IntImm) and int(expr.b) > 0:
        number, divisor = _index(expr.a, loops, regions, integer=False), int(expr.b)
        # The half keeps whole quotients away from where rounding could tip them.
        quotient = Unary("floor", scaled(binary("add", number, Constant(0.5)), 1 / divisor))
        return quotient if isinstance(expr, tirx.FloorDiv) else binary("sub", number, scaled(quotient, float(divisor)))
    if type(expr) in _BINARY and not isinstance(expr, tirx.Div):
        return binary(_BINARY[type(expr)], *(_index(part, loops, regions, integer=False) for part in (expr.a, expr.b)))
    raise _refused("an index in T.Parallel is not made of + - * // % max min", "T.Parallel", expr)


def _affine(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> IndexTile | None:
    variables = [loop.loop_var for loop in loops]
    if not variables:
        return IndexTile(0, 0, regions.scalar(expr))
    parts = arith.detect_linear_equation(expr, variables)
    if len(parts) != len(variables) + 1 or not all(isinstance(part, tirx.IntImm) for part in parts[:-1]):
        return None
    factors = [int(part) for part in parts[:-1]]
    rows, cols = factors if len(factors) == 2 else (0, factors[0])
    return IndexTile(rows, cols, regions.scalar(parts[-1]))


def _load(load: tirx.BufferLoad, loops: Sequence[tirx.For], regions: Regions) -> BlockTile | TensorTile:
    if is_gathered(load, loops, regions):
        return gathered(load, loops, regions)
    found = regions.access(load.buffer, load.indices, loops)
    over = broadcast(found, len(loops))
    is_vector = tile_ops.is_global(load.buffer) or sum(int(extent) > 1 for extent in load.buffer.shape) == 1
    if over in ("row", "col") and _is_integer(load) and is_vector:
        raise _refused(
            "a vector of integers in an expression of matrices is not supported", str(load.buffer.name), load
        )
    if over is None:
        raise _refused(f"{load.buffer.name} is read in T.Parallel over {len(loops)} dimensions", "T.Parallel", load)
    transposed = found.order == (1, 0)
    region = found.region
    if tile_ops.is_global(load.buffer):
        return TensorTile(regions.tensor_block(region), over, transposed)
    return regions.read(region, over, transposed=transposed)


def _refused(message: str, subject: str, found: object) -> UnsupportedError:
    expected = f"+ - * / max min, casts, constants, {', '.join(sorted(FUNCTIONS))} of elements"
    return refused(message, subject, found=found, expected=expected)
