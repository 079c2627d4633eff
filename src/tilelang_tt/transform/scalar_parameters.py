"""Parameters that are numbers: each becomes a tensor of one element, which a call makes of the number it is given.

One that decides the launch grid is a symbolic size as well, whose value is that number.
"""

from __future__ import annotations

from tvm import tirx

from .. import attrs
from ..errors import Code, UnsupportedError
from ..formats import COMPUTE_FORMATS
from ..language.nodes import nodes, uses
from ..language.source import location_of
from ..language.symbols import number_size


def numbers_as_tensors(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with a tensor of one element for every parameter that is a number.

    Raises:
        UnsupportedError: ``unsupported``, for a number that is a tensor's size, or of a dtype that has no lowering.
    """
    numbers = [param for param in func.params if param not in func.buffer_map and str(param.dtype) != "handle"]
    if not numbers:
        return func
    params, tensors, values = list(func.params), dict(func.buffer_map.items()), {}
    in_grid = [str(number.name) for number in numbers if _decides_grid(func, number)]
    for number in numbers:
        _check_use(func, number)
        name = str(number.name)
        buffer, handle = tirx.decl_buffer((1,), str(number.dtype), name), tirx.Var(f"{name}_handle", "handle")
        params[next(at for at, param in enumerate(params) if param.same_as(number))] = handle
        tensors[handle] = buffer
        is_size = name in in_grid
        values[number] = number_size(name) if is_size else tirx.BufferLoad(buffer, [tirx.IntImm("int32", 0)])
    body = tirx.stmt_functor.substitute(func.body, values)
    made = tirx.PrimFunc(params, body, func.ret_type, tensors, func.attrs)
    return made.with_attr(attrs.NUMBERS, in_grid) if in_grid else made


def _decides_grid(func: tirx.PrimFunc, number: tirx.Var) -> bool:
    loops = nodes(func.body, tirx.For)
    return any(loop.thread_binding is not None and uses(loop.extent, number) for loop in loops)


def _check_use(func: tirx.PrimFunc, number: tirx.Var) -> None:
    def refuse(what: str) -> UnsupportedError:
        return UnsupportedError(
            Code.UNSUPPORTED,
            f"parameter {number.name} is not a tensor, and {what}",
            subject=str(number.name),
            found=f"{number.name}: {number.dtype}",
            expected="a number that decides values, indices, bounds of loops or the launch grid",
            hint="make it a constant of the function that makes the kernel",
            location=location_of(func),
        )

    if str(number.dtype) not in (*COMPUTE_FORMATS, "int32"):
        raise refuse("numbers are of " + ", ".join((*COMPUTE_FORMATS, "int32")))

    for buffer in func.buffer_map.values():
        if any(uses(size, number) for size in buffer.shape):
            raise refuse(f"it is a size of {buffer.name}")
