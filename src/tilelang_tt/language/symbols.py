"""The sizes of a function that are known only at launch (``T.dynamic``), and expressions of them.

The passes work with a representative size of each, which the schedule's key ``dynamic`` gives.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from .. import attrs
from .._plain import INT32_MAX, int_tuple, is_int
from ..errors import Code, ScheduleError, UnsupportedError, nearest
from ..sizes import Op, Size, SizeExpr
from .plain import plain_attrs
from .source import location_of

DEFAULT_SIZE = 1024
"""The representative size of a symbol that neither the schedule nor a tensor's shards tell."""

_OPERATIONS: dict[type, Op] = {
    tirx.Add: "+",
    tirx.Sub: "-",
    tirx.Mul: "*",
    tirx.FloorDiv: "//",
    tirx.FloorMod: "%",
    tirx.Min: "min",
    tirx.Max: "max",
}
_MAKERS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": tirx.floordiv,
    "%": tirx.floormod,
    "min": tirx.min,
    "max": tirx.max,
}


@dataclass(frozen=True)
class Symbols:
    """The symbolic sizes of one function.

    Attributes:
        variables: by name, in the order in which the tensors' shapes name them, then those of numbers (``tt.numbers``).
        sizes: the representative size of each.
    """

    variables: Mapping[str, tirx.Var]
    sizes: Mapping[str, int]

    def value(self, expr: Any) -> int | None:
        """``expr`` at the representative sizes; None where it depends on other variables too."""
        if isinstance(expr, tirx.IntImm):
            return int(expr.value)
        known = {var: tirx.IntImm(str(var.dtype), self.sizes[name]) for name, var in self.variables.items()}
        found = arith.Analyzer().simplify(tirx.stmt_functor.substitute(expr, known))
        return int(found.value) if isinstance(found, tirx.IntImm) else None

    def size(self, expr: Any, what: str) -> Size:
        """``expr`` as plain data.

        Raises:
            UnsupportedError: ``unsupported``, naming ``what``, unless it is made of constants, symbols, + - * // %, min
                and max.
        """
        if isinstance(expr, tirx.IntImm):
            return int(expr.value)
        if isinstance(expr, tirx.Var):
            for name, var in self.variables.items():
                if var.same_as(expr):
                    return name
        operation = _OPERATIONS.get(type(expr))
        if operation is not None:
            return SizeExpr(operation, self.size(expr.a, what), self.size(expr.b, what))
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"{what} cannot be computed at launch",
            subject=what,
            found=expr,
            expected=f"constants and {', '.join(self.variables) or 'no symbols'}, with + - * // % min max",
        )

    def expr(self, size: Size) -> tirx.PrimExpr:
        """``size`` as TIR."""
        if isinstance(size, SizeExpr):
            return _MAKERS[size.op](self.expr(size.a), self.expr(size.b))
        return self.variables[size] if isinstance(size, str) else tirx.IntImm("int32", size)

    def bind(self, analyzer: arith.Analyzer) -> None:
        """Tell ``analyzer`` that every symbol is at least 1."""
        for var in self.variables.values():
            analyzer.bind(var, tvm.ir.Range(1, INT32_MAX))


def symbols_of(func: tirx.PrimFunc) -> Symbols:
    """The symbolic sizes of ``func``.

    Raises:
        UnsupportedError: ``unsupported``, for a symbol that no tensor's dimension is, or that is no int32.
        ScheduleError: ``unknown-key`` or ``schedule-malformed``, for representative sizes that are none.
    """
    buffers = [func.buffer_map[param] for param in func.params if param in func.buffer_map]
    variables: dict[str, tirx.Var] = {}
    for buffer in buffers:
        for dim in buffer.shape:
            if isinstance(dim, tirx.Var):
                _check_symbol(dim, variables, buffer)
                variables[str(dim.name)] = dim
    plain = plain_attrs(func)
    variables |= {str(name): number_size(str(name)) for name in plain.get(attrs.NUMBERS, ())}
    sizes = dict.fromkeys(variables, DEFAULT_SIZE)
    if variables:
        sizes |= _covered_by_shards(buffers, plain) | _given(func, variables, plain)
    return Symbols(variables, sizes)


@cache
def number_size(name: str) -> tirx.Var:
    """The variable for the size that the parameter ``name``, a number, is: always the same one."""
    return tirx.Var(name, "int32")


def _covered_by_shards(buffers: Sequence[tirx.Buffer], plain: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the user's shards are made for. What is no layout is refused by InferTTLayout."""
    sizes: dict[str, int] = {}
    for buffer in buffers:
        layout = plain.get(attrs.USER_LAYOUT, {}).get(str(buffer.name))
        shard = layout.get("nd_shard") if isinstance(layout, Mapping) else None
        if isinstance(shard, Mapping):
            parts, elems = (int_tuple(shard.get(key), minimum=1) for key in ("grid", "shard_shape_elems"))
            for dim, count, size in zip(buffer.shape, parts or (), elems or (), strict=False):
                if isinstance(dim, tirx.Var):
                    sizes[str(dim.name)] = count * size
    return sizes


def _check_symbol(var: tirx.Var, known: Mapping[str, tirx.Var], buffer: tirx.Buffer) -> None:
    name = str(var.name)
    if name in known and not known[name].same_as(var):
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"two sizes are called {name}",
            subject=name,
            found=f"dimensions of {buffer.name} and another tensor",
            expected="a name for each",
            hint=f'make it once, {name} = T.dynamic("{name}"), where both are the same size',
            location=location_of(buffer),
        )
    if str(var.dtype) != "int32":
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"size {name} is no int32",
            subject=name,
            found=f"{name}: {var.dtype}",
            expected="int32",
            hint=f'T.dynamic("{name}")',
            location=location_of(buffer),
        )


def _given(func: tirx.PrimFunc, variables: Mapping[str, tirx.Var], plain: Mapping[str, Any]) -> dict[str, int]:
    schedule = plain.get(attrs.USER_SCHEDULE, {})
    given = schedule.get(attrs.DYNAMIC_KEY, {}) if isinstance(schedule, Mapping) else {}
    sizes: dict[str, int] = {}
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if name not in variables:
            raise ScheduleError(
                Code.UNKNOWN_KEY,
                f"{attrs.DYNAMIC_KEY} names {name!r}, which is no symbolic size of the kernel",
                subject=str(name),
                found=name,
                expected=", ".join(variables) or "a kernel with symbolic sizes",
                hint=nearest(str(name), variables),
                location=location_of(func),
            )
        # What is no size is refused by parse_user_schedule.
        if is_int(value, minimum=1):
            sizes[str(name)] = value
    return sizes


def check_unknown_sizes(func: tirx.PrimFunc, symbols: Symbols) -> None:
    """Refuse sizes in the body that no tensor has: nothing tells them at launch."""
    known = [*func.params, *symbols.variables.values()]
    for var in tirx.analysis.undefined_vars(func.body, known):
        if str(var.dtype).startswith(("int", "uint")):
            raise UnsupportedError(
                Code.UNSUPPORTED,
                f"size {var.name} is no dimension of a tensor",
                subject=str(var.name),
                found=var,
                expected=", ".join(symbols.variables) or "a dimension of a tensor parameter",
                location=location_of(func),
            )


def check_constant(buffer: tirx.Buffer) -> None:
    """Refuse an on-chip buffer whose size nobody knows before launch."""
    if not all(isinstance(dim, tirx.IntImm) for dim in buffer.shape):
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"on-chip buffer {buffer.name} has a size that is known only at launch",
            subject=str(buffer.name),
            found=list(buffer.shape),
            expected="constant dimensions",
            hint="go over the tensor by blocks of constant size",
            location=location_of(buffer),
        )


def parallel_extent(loop: tirx.For) -> int:
    """The extent of a loop of T.Parallel, which covers whole on-chip buffers. Raises where it is not constant."""
    if isinstance(loop.extent, tirx.IntImm):
        return int(loop.extent)
    raise UnsupportedError(
        Code.UNSUPPORTED,
        f"T.Parallel over {loop.loop_var.name} has an extent that is not constant",
        subject=str(loop.loop_var.name),
        found=loop.extent,
        expected="the size of an on-chip buffer",
        hint="go over a block, and mask what lies past the end with T.if_then_else",
    )
