"""Sizes of regions that are differences of names, as ``K[start:end]`` leaves them, as the constants that they are."""

from __future__ import annotations

from typing import Any

from tvm import arith, tirx

from ..errors import UnsupportedError
from . import tile_ops
from .nodes import is_one_of, nodes
from .source import statement_location
from .symbols import symbols_of


def with_constant_sizes(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with a constant in place of every size of a region of a tile operation.

    Raises:
        UnsupportedError: ``unsupported``, for a size that is none with its names' values.
    """
    values: dict[tirx.Var, tirx.PrimExpr] = {}
    for bind in nodes(func.body, tirx.Bind):
        values[bind.var] = tirx.stmt_functor.substitute(bind.value, values)
    analyzer, symbols = arith.Analyzer(), list(symbols_of(func).variables.values())

    def region(call: Any) -> Any:
        if not (isinstance(call, tirx.Call) and str(getattr(call.op, "name", "")) == "tl.region"):
            return call
        load, access, *sizes = call.args
        if all(isinstance(size, tirx.IntImm) for size in sizes):
            return call
        known = [analyzer.simplify(tirx.stmt_functor.substitute(size, values)) for size in sizes]
        made = tirx.Call(call.dtype, call.op, [load, access, *known], span=call.span)
        if any(nodes(size, tirx.BufferLoad) or _moves(size, symbols) for size in known):
            tile_ops.region_of(made)
        return made

    def operation(call: Any) -> Any:
        if not tile_ops.is_tile_op(call):
            return None
        try:
            arguments = [region(argument) for argument in call.args]
        except UnsupportedError as error:
            name, buffers = tile_ops.op_name(call), tile_ops.buffers_of(call)
            raise error.at(statement_location(func, name, buffers)) from None
        return tirx.Call(call.dtype, call.op, arguments, call.annotations, call.span)

    return func.with_body(tirx.stmt_functor.ir_transform(func.body, None, operation, ["tirx.Call"]), func.span)


def _moves(size: tirx.PrimExpr, symbols: list[tirx.Var]) -> bool:
    """Whether ``size`` is of more than constants and symbolic sizes."""
    return not all(is_one_of(var, symbols) for var in tirx.analysis.undefined_vars(size))
