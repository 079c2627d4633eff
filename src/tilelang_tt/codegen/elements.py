"""Expressions of a T.Parallel body as tile expressions."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from tilelang import tvm
from tvm import arith, tirx

from ..errors import Code, UnsupportedError
from ..language import tile_ops
from .tile_program import (
    Binary,
    BlockTile,
    Broadcast,
    Choose,
    Constant,
    IndexTile,
    Integer,
    TensorBlock,
    TensorTile,
    TileExpr,
    Unary,
)


class Regions(Protocol):
    """What element expressions need to know of the kernel around them."""

    def parallel_region(
        self, buffer: tirx.Buffer, indices: Sequence[Any], loops: Sequence[tirx.For]
    ) -> tile_ops.Region:
        """What an access covers over all parallel loops."""
        ...

    def scalar(self, expr: Any) -> str:
        """An integer that is the same for all elements, as a C++ expression."""
        ...

    def tensor_block(self, region: tile_ops.Region, is_vector: bool) -> TensorBlock:
        """A region of a tensor in hardware tiles."""
        ...


_BINARY = {tirx.Add: "add", tirx.Sub: "sub", tirx.Mul: "mul", tirx.Div: "div", tirx.Max: "max", tirx.Min: "min"}
_UNARY = {
    "exp": "exp",
    "exp2": "exp2",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "fabs": "abs",
    "log": "log",
}


def element_expr(expr: tirx.PrimExpr, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """``expr``, an element's value, as the same for whole tiles: int32 where ``expr`` is an integer, else float32.

    Casts between float types vanish: values stay float32 in DST and are rounded where they are packed. A condition is a
    float, 1 or 0.

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
        return replace(_index_tile(expr, loops, regions), integer=True)
    if isinstance(expr, tirx.BufferLoad):
        return _load(expr, loops, regions)
    if isinstance(expr, tirx.Select):
        if _is_absolute_value(expr):
            return Unary("abs_int32", element_expr(expr.true_value, loops, regions))
        return _choice((expr.condition, expr.true_value, expr.false_value), loops, regions)
    if type(expr) in _COMPARE:
        return _comparison(expr, loops, regions)
    if isinstance(expr, (tirx.And, tirx.Or)):
        op = "min" if isinstance(expr, tirx.And) else "max"
        return Binary(op, element_expr(expr.a, loops, regions), element_expr(expr.b, loops, regions))
    if isinstance(expr, tirx.Not):
        return Unary("eqz", element_expr(expr.a, loops, regions))
    if _is_integer(expr):
        return _integer_expr(expr, loops, regions)
    if type(expr) in _BINARY:
        return _folded(_BINARY[type(expr)], element_expr(expr.a, loops, regions), element_expr(expr.b, loops, regions))
    if isinstance(expr, tirx.Call):
        name = str(expr.op.name).split(".")[-1]
        if name == "infinity":
            return Constant(math.inf)
        if name == "if_then_else":
            return _choice(expr.args, loops, regions)
        if name == "log2":
            return Binary("mul", Unary("log", element_expr(expr.args[0], loops, regions)), Constant(1 / math.log(2)))
        if name in ("pow", "pow_of_int"):
            return _power(expr, loops, regions)
        if name in _UNARY:
            return Unary(_UNARY[name], element_expr(expr.args[0], loops, regions))
        raise _refused(f"{name} in T.Parallel is not supported", name, expr)
    raise _refused(f"{type(expr).__name__} in T.Parallel is not supported", type(expr).__name__, expr)


MAX_POWER = 4


def _power(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    base, exponent = element_expr(expr.args[0], loops, regions), element_expr(expr.args[1], loops, regions)
    if not isinstance(exponent, (Constant, Integer)) or exponent.value not in range(1, MAX_POWER + 1):
        raise _refused(f"a power but of 1 to {MAX_POWER} is not supported", "pow", expr)
    result = base
    for _ in range(int(exponent.value) - 1):
        result = Binary("mul", result, base)
    return result


_COMPARE = {tirx.GE: "ge", tirx.GT: "gt", tirx.LE: "le", tirx.LT: "lt", tirx.EQ: "eq", tirx.NE: "ne"}


def _comparison(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """1 where ``expr`` holds, else 0: by the difference of two indices or floats, directly of two int32."""
    op = _COMPARE[type(expr)]
    if not _is_integer(expr.a):
        sides = (_finite(element_expr(side, loops, regions)) for side in (expr.a, expr.b))
        return Unary(f"{op}z", _folded("sub", *sides))
    if not _reads_elements(expr):
        return Unary(f"{op}z", _index_tile(expr.a - expr.b, loops, regions))
    a, b = (element_expr(side, loops, regions) for side in (expr.a, expr.b))
    return Unary("int32_to_float32", Binary(f"{op}_int32", a, b))


FLOATS = ("bfloat16", "float16", "float32")


def _cast(cast: tirx.Cast, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """A cast between float types is none; one to an integer cuts towards zero."""
    value = element_expr(cast.value, loops, regions)
    source, target = str(cast.value.dtype), str(cast.dtype)
    if target == "bool":
        return Unary("nez", Unary("int32_to_float32", value) if _is_integer(cast.value) else value)
    if target not in (*FLOATS, "int32"):
        raise _refused(f"a cast to {target} is not supported", target, cast)
    if target == "int32":
        return value if _is_integer(cast.value) else Unary("float32_to_int32", value)
    if source in FLOATS or source == "bool":
        return value
    if isinstance(value, IndexTile):
        return replace(value, integer=False)
    return Constant(float(value.value)) if isinstance(value, Integer) else Unary("int32_to_float32", value)


def _is_integer(expr: Any) -> bool:
    return str(expr.dtype).startswith("int")


def _reads_elements(expr: Any) -> bool:
    """Whether ``expr`` depends on the elements of a buffer or tensor, so that it is no index."""
    found: list[bool] = []
    tirx.stmt_functor.post_order_visit(expr, lambda node: found.append(isinstance(node, (tirx.BufferLoad, tirx.Call))))
    return any(found)


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
        return replace(_index_tile(expr, loops, regions), integer=True)
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
    same = tvm.ir.structural_equal
    return (
        _is_integer(expr)
        and isinstance(compare, tirx.GE)
        and isinstance(negated, tirx.Sub)
        and same(compare.a, x)
        and same(negated.b, x)
        and all(isinstance(zero, tirx.IntImm) and int(zero) == 0 for zero in (compare.b, negated.a))
    )


def _choice(parts: Sequence[Any], loops: Sequence[tirx.For], regions: Regions) -> Choose:
    condition, a, b = (element_expr(part, loops, regions) for part in parts)
    return Choose(condition, a, b)


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
    return _folded("min", _folded("max", expr, Constant(-FLT_MAX)), Constant(FLT_MAX))


def _index_tile(expr: Any, loops: Sequence[tirx.For], regions: Regions) -> IndexTile:
    """An integer expression that is affine in the loops' variables."""
    variables = [loop.loop_var for loop in loops]
    parts = arith.detect_linear_equation(expr, variables)
    if len(parts) != len(variables) + 1 or not all(isinstance(part, tirx.IntImm) for part in parts[:-1]):
        raise _refused("an index in T.Parallel is not affine", "T.Parallel", expr)
    factors = [int(part) for part in parts[:-1]]
    rows, cols = factors if len(factors) == 2 else (0, factors[0])
    return IndexTile(rows, cols, regions.scalar(parts[-1]))


_FOLD = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "max": max, "min": min}


def _folded(op: str, a: TileExpr, b: TileExpr) -> TileExpr:
    if isinstance(a, Constant) and isinstance(b, Constant) and op in _FOLD:
        return Constant(_FOLD[op](a.value, b.value))
    return Binary(op, a, b)


def _load(load: tirx.BufferLoad, loops: Sequence[tirx.For], regions: Regions) -> BlockTile | TensorTile:
    broadcast: Broadcast = ""
    own_loops = loops
    moving = [any(_uses(index, loop.loop_var) for index in load.indices) for loop in loops]
    is_global = tile_ops.is_global(load.buffer)
    if len(loops) == 2 and (len(load.buffer.shape) == 1 or (is_global and sum(moving) == 1)):
        if _is_integer(load):
            raise _refused(
                "a vector of integers in an expression of matrices is not supported", str(load.buffer.name), load
            )
        broadcast, own_loops = ("col", loops[:1]) if moving[0] else ("row", loops[1:])
    region = regions.parallel_region(load.buffer, load.indices, own_loops)
    if is_global:
        return TensorTile(regions.tensor_block(region, len(own_loops) == 1), broadcast)
    shape = tuple(int(dim) for dim in load.buffer.shape)
    if region.extents != shape or any(not isinstance(first, tirx.IntImm) or int(first) for first in region.mins):
        raise _refused(f"T.Parallel reads a part of {load.buffer.name}", str(load.buffer.name), load)
    return BlockTile(str(load.buffer.name), broadcast)


def _uses(expr: Any, var: tirx.Var) -> bool:
    return any(candidate.same_as(var) for candidate in tirx.analysis.undefined_vars(expr))


def _refused(message: str, subject: str, found: object) -> UnsupportedError:
    return UnsupportedError(
        Code.UNSUPPORTED,
        message,
        subject=subject,
        found=found,
        expected="+ - * / max min, casts, constants, "
        f"{', '.join(sorted(_UNARY))} of elements [i, j] and row vectors [j]",
    )
