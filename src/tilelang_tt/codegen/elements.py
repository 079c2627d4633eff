"""Expressions of a T.Parallel body as tile expressions."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Protocol

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
    """``expr``, an element's value, as the same for whole tiles.

    Casts between float types vanish: values stay float32 in DST and are rounded where they are packed.

    Raises:
        UnsupportedError: ``unsupported``, naming the construct.
    """
    if isinstance(expr, (tirx.FloatImm, tirx.IntImm)):
        return Constant(float(expr.value))
    if isinstance(expr, tirx.Cast):
        return element_expr(expr.value, loops, regions)
    if isinstance(expr, tirx.Var):
        return _index_tile(expr, loops, regions)
    if isinstance(expr, tirx.BufferLoad):
        return _load(expr, loops, regions)
    if isinstance(expr, tirx.Select):
        parts = (expr.condition, expr.true_value, expr.false_value)
        return Choose(*(element_expr(part, loops, regions) for part in parts))
    if type(expr) in _COMPARE:
        return Unary(_COMPARE[type(expr)], _difference(expr.a, expr.b, loops, regions))
    if isinstance(expr, (tirx.And, tirx.Or)):
        op = "min" if isinstance(expr, tirx.And) else "max"
        return Binary(op, element_expr(expr.a, loops, regions), element_expr(expr.b, loops, regions))
    if isinstance(expr, tirx.Not):
        return Unary("eqz", element_expr(expr.a, loops, regions))
    if type(expr) in _BINARY and str(expr.dtype).startswith("int"):
        return _index_tile(expr, loops, regions)
    if type(expr) in _BINARY:
        return _folded(_BINARY[type(expr)], element_expr(expr.a, loops, regions), element_expr(expr.b, loops, regions))
    if isinstance(expr, tirx.Call):
        name = str(expr.op.name).split(".")[-1]
        if name == "infinity":
            return Constant(math.inf)
        if name == "if_then_else":
            condition, a, b = (element_expr(arg, loops, regions) for arg in expr.args)
            return Choose(condition, a, b)
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
    if not isinstance(exponent, Constant) or exponent.value not in range(1, MAX_POWER + 1):
        raise _refused(f"a power but of 1 to {MAX_POWER} is not supported", "pow", expr)
    result = base
    for _ in range(int(exponent.value) - 1):
        result = Binary("mul", result, base)
    return result


_COMPARE = {tirx.GE: "gez", tirx.GT: "gtz", tirx.LE: "lez", tirx.LT: "ltz", tirx.EQ: "eqz", tirx.NE: "nez"}


def _difference(a: Any, b: Any, loops: Sequence[tirx.For], regions: Regions) -> TileExpr:
    """``a - b``; of indices, as one index."""
    if str(a.dtype).startswith("int") and str(b.dtype).startswith("int"):
        return _index_tile(a - b, loops, regions)
    return _folded("sub", *(_finite(element_expr(side, loops, regions)) for side in (a, b)))


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
