"""Parameters that are numbers: each becomes a tensor of one element, which a call makes of the number it is given."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import Code, UnsupportedError
from ..formats import COMPUTE_FORMATS
from ..language import tile_ops
from ..language.nodes import uses
from ..language.source import location_of


def numbers_as_tensors(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with a tensor of one element for every parameter that is a number.

    Raises:
        UnsupportedError: ``unsupported``, for a number that is no value of elements but an index, a size or a bound.
    """
    numbers = [param for param in func.params if param not in func.buffer_map and str(param.dtype) != "handle"]
    if not numbers:
        return func
    params, tensors, values = list(func.params), dict(func.buffer_map.items()), {}
    for number in numbers:
        _check_use(func, number)
        name = str(number.name)
        buffer, handle = tirx.decl_buffer((1,), str(number.dtype), name), tirx.Var(f"{name}_handle", "handle")
        params[next(at for at, param in enumerate(params) if param.same_as(number))] = handle
        tensors[handle] = buffer
        values[number] = tirx.BufferLoad(buffer, [tirx.IntImm("int32", 0)])
    body = tirx.stmt_functor.substitute(func.body, values)
    return tirx.PrimFunc(params, body, func.ret_type, tensors, func.attrs)


def _check_use(func: tirx.PrimFunc, number: tirx.Var) -> None:
    def refuse(what: str) -> UnsupportedError:
        return UnsupportedError(
            Code.UNSUPPORTED,
            f"parameter {number.name} is not a tensor, and {what}",
            subject=str(number.name),
            found=f"{number.name}: {number.dtype}",
            expected="a number that elements are computed with",
            hint="make it a constant of the function that makes the kernel",
            location=location_of(func),
        )

    if str(number.dtype) not in (*COMPUTE_FORMATS, "int32"):
        raise refuse("numbers are of " + ", ".join((*COMPUTE_FORMATS, "int32")))

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For) and (uses(node.min, number) or uses(node.extent, number)):
            raise refuse("it bounds a loop")
        if isinstance(node, (tirx.BufferLoad, tirx.BufferStore)) and any(uses(index, number) for index in node.indices):
            raise refuse(f"it is an index of {node.buffer.name}")
        if tile_ops.is_tile_op(node) and tile_ops.op_name(node) != "fill" and uses(node, number):
            raise refuse(f"T.{tile_ops.op_name(node)} depends on it")

    tirx.stmt_functor.post_order_visit(func.body, visit)
    for buffer in func.buffer_map.values():
        if any(uses(size, number) for size in buffer.shape):
            raise refuse(f"it is a size of {buffer.name}")
