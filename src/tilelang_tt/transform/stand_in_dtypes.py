"""Dtypes that the engines have no tiles of, replaced by ones that hold every value of them.

Masks and small integers (bool, int8, uint8) become bfloat16, or float16 beside it, which hold whole numbers up to 256
and are compared, chosen by and spread over matrices like other floats; tensors that only bounds, indices and
conditions read become int32, as those are. The caller's tensors stay as they are. tfloat32 becomes float32.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tvm import tirx

from .. import attrs
from ..errors import Code, UnsupportedError
from ..language import tile_ops
from ..language.kernel import tensor_params
from ..language.nodes import nodes, uses
from ..language.source import statement_location, store_location

SMALL = ("bool", "int8", "uint8")
"""The dtypes that are integers of 8 bits or less."""

TFLOAT32 = "custom[tfloat32]"
_COMPARISONS = (tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE)
_PICKING = (tirx.Max, tirx.Min)
_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.FloorDiv, tirx.FloorMod, tirx.Mod)
_BITWISE = ("bitwise_and", "bitwise_or", "bitwise_xor", "shift_right")
_NUMBERS = (tirx.IntImm, tirx.FloatImm)


def with_stand_in_dtypes(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with other dtypes for its buffers of such ones, and ``tt.host.<name>`` for those of the tensors.

    Raises:
        UnsupportedError: ``unsupported``, for arithmetic on small integers that may leave their range, and for tile
            operations on them that compute.
    """
    rewriting = _Rewriting(func)
    casts = {str(cast.dtype) for cast in nodes(func.body, tirx.Cast)}
    return rewriting.function() if rewriting.replaced or casts & {TFLOAT32, *SMALL[1:]} else func


class _Rewriting:
    def __init__(self, func: tirx.PrimFunc) -> None:
        self.func = func
        blocks = nodes(func.body, tirx.SBlock)
        on_chip = [buffer for block in blocks for buffer in block.alloc_buffers if not _is_variable(buffer)]
        tensors = tensor_params(func)
        dtypes = {str(buffer.dtype) for buffer in (*tensors, *on_chip)}
        self.small = "float16" if "float16" in dtypes else "bfloat16"
        self.replaced: dict[tirx.Buffer, tirx.Buffer] = {}
        self.names: dict[tirx.Var, tirx.Var] = {}
        for buffer in (*tensors, *on_chip):
            dtype = self._stand_in(buffer)
            if dtype is not None:
                parts = {"scope": str(buffer.scope()), "span": buffer.span}
                self.replaced[buffer] = tirx.decl_buffer(buffer.shape, dtype, str(buffer.name), **parts)

    def function(self) -> tirx.PrimFunc:
        """The rewritten function."""
        func = self.func
        for node in nodes(func.body, tirx.Evaluate):
            if tile_ops.is_tile_op(node.value):
                self._check(node.value)
        kinds = ["SBlock", "Bind", "BufferStore", "BufferLoad", "Var", "Cast", "Select", "Call", "And", "Or", "Not"]
        kinds += [kind.__name__ for kind in (*_COMPARISONS, *_PICKING, *_ARITHMETIC)]
        kinds = [f"tirx.{kind}" for kind in kinds]
        body = tirx.stmt_functor.ir_transform(func.body, self._whole, self._block, kinds)
        buffers = {param: self.replaced.get(buffer, buffer) for param, buffer in func.buffer_map.items()}
        hosts = {
            f"{attrs.HOST_PREFIX}{buffer.name}": str(buffer.dtype)
            for buffer in tensor_params(func)
            if buffer in self.replaced and str(buffer.dtype) in SMALL
        }
        made = tirx.PrimFunc(func.params, body, func.ret_type, buffers, func.attrs, func.span)
        return made.with_attr(hosts) if hosts else made

    def _stand_in(self, buffer: tirx.Buffer) -> str | None:
        """The dtype that takes the place of ``buffer``'s own, where one does."""
        dtype = str(buffer.dtype)
        if dtype == TFLOAT32:
            return "float32"
        if dtype not in SMALL:
            return None
        return "int32" if tile_ops.is_global(buffer) and self._only_numbers(buffer) else self.small

    def _only_numbers(self, buffer: tirx.Buffer) -> bool:
        """Whether the kernel only reads single elements of ``buffer``, the same for all of a T.Parallel body."""
        regions = [call for call in nodes(self.func.body, tirx.Call) if _is_region(call)]
        stores = nodes(self.func.body, tirx.BufferStore)
        if any(call.args[0].buffer.same_as(buffer) for call in regions):
            return False
        if any(store.buffer.same_as(buffer) for store in stores):
            return False
        loops = [loop for loop in nodes(self.func.body, tirx.For) if loop.kind == tirx.ForKind.PARALLEL]
        loads = [load for load in nodes(self.func.body, tirx.BufferLoad) if load.buffer.same_as(buffer)]
        return not any(uses(index, loop.loop_var) for load in loads for index in load.indices for loop in loops)

    # ---- what may be done with small integers ---------------------------------------------------------------------

    def _check(self, call: tirx.Call) -> None:
        name = tile_ops.op_name(call)
        dtypes = [str(region.args[0].buffer.dtype) for region in call.args if _is_region(region)]
        small = next((dtype for dtype in dtypes if dtype in SMALL), None)
        if small is None or name == "fill":
            return
        widens = name == "copy" and dtypes[0] in SMALL and dtypes[1] not in SMALL
        picks = name in ("copy", "transpose") or (name == "reduce" and str(call.args[2].value) in ("max", "min"))
        if not widens and not (picks and len(set(dtypes)) == 1):
            buffers = tile_ops.buffers_of(call)
            raise UnsupportedError(
                Code.UNSUPPORTED,
                f"T.{name} of {small} is not supported" if name != "copy" else f"a copy that converts to {small}",
                subject=buffers[0],
                found=f"T.{name} on {', '.join(buffers)} of {', '.join(dtypes)}",
                expected="copies, also to floats and int32, T.fill, T.transpose, T.reduce_max and T.reduce_min",
                hint="convert elements with T.cast in T.Parallel",
                location=statement_location(self.func, name, buffers),
            )

    def _refuse(self, what: str, dtype: str, found: Any) -> NoReturn:
        loads = nodes(found, tirx.BufferLoad)
        name = str(loads[0].buffer.name) if loads else dtype
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"{what} of {dtype} is not supported: it may leave the range of {dtype}",
            subject=name,
            found=found,
            hint='compute with int32: T.cast(x, "int32")',
            location=store_location(self.func, name),
        )

    # ---- nodes ----------------------------------------------------------------------------------------------------

    def _whole(self, node: Any) -> Any:
        """``node`` rewritten with all that is in it: a dtype changes from the leaves up."""
        if isinstance(node, tirx.SBlock):
            return None
        if isinstance(node, tirx.BufferStore):
            target, value = self.replaced.get(node.buffer, node.buffer), self._expression(node.value)
            return tirx.BufferStore(target, _as(value, target.dtype), self._all(node.indices))
        if isinstance(node, tirx.Bind):
            return self._name(node)
        return self._expression(node)

    def _block(self, node: Any) -> Any:
        if not isinstance(node, tirx.SBlock):
            return None
        buffers = [self.replaced.get(buffer, buffer) for buffer in node.alloc_buffers]
        parts = (node.iter_vars, node.reads, node.writes, node.name_hint, node.body, node.init)
        return tirx.SBlock(*parts, buffers, node.match_buffers, node.annotations)

    def _name(self, bind: tirx.Bind) -> Any:
        value = self._expression(bind.value)
        if str(bind.var.dtype) not in (TFLOAT32, *SMALL[1:]):
            return tirx.Bind(bind.var, value)
        self.names[bind.var] = tirx.Var(str(bind.var.name), str(value.dtype))
        return tirx.Bind(self.names[bind.var], value)

    def _all(self, values: Any) -> list[Any]:
        return [self._expression(value) for value in values]

    def _expression(self, node: Any) -> Any:
        dtype = str(getattr(node, "dtype", ""))
        if isinstance(node, tirx.Var):
            return self.names.get(node, node)
        if isinstance(node, tirx.BufferLoad):
            return self._load(node)
        if isinstance(node, tirx.Cast):
            return _cast(self._expression(node.value), dtype)
        if isinstance(node, (tirx.And, tirx.Or)):
            return type(node)(*self._all((node.a, node.b)))
        if isinstance(node, tirx.Not):
            return tirx.Not(self._expression(node.a))
        if isinstance(node, tirx.Select):
            values = self._agreed(*self._all((node.true_value, node.false_value)))
            return tirx.Select(self._expression(node.condition), *values)
        if isinstance(node, (*_COMPARISONS, *_PICKING, *_ARITHMETIC)):
            if dtype in SMALL and isinstance(node, _ARITHMETIC):
                self._refuse(type(node).__name__, dtype, node)
            return type(node)(*self._agreed(*self._all((node.a, node.b))))
        return self._call(node, dtype) if isinstance(node, tirx.Call) else node

    def _load(self, load: tirx.BufferLoad) -> Any:
        element = tirx.BufferLoad(self.replaced.get(load.buffer, load.buffer), self._all(load.indices))
        is_condition = load.buffer in self.replaced and str(load.buffer.dtype) == "bool"
        return _cast(element, "bool") if is_condition else element

    def _region(self, call: tirx.Call) -> tirx.Call:
        """A region names a buffer; its load is no element."""
        load, *rest = call.args
        moved = tirx.BufferLoad(self.replaced.get(load.buffer, load.buffer), self._all(load.indices))
        return tirx.Call(call.dtype, call.op, [moved, *self._all(rest)], span=call.span)

    def _call(self, call: tirx.Call, dtype: str) -> Any:
        if _is_region(call):
            return self._region(call)
        name, arguments = str(call.op.name).split(".")[-1], self._all(call.args)
        if tile_ops.is_tile_op(call):
            if tile_ops.op_name(call) == "fill":
                arguments[1] = _as(arguments[1], arguments[0].args[0].dtype)
        elif name == "if_then_else":
            return tirx.if_then_else(arguments[0], *self._agreed(*arguments[1:]))
        elif dtype == TFLOAT32:
            arguments = [_as(a, "float32") if isinstance(a, tirx.PrimExpr) else a for a in arguments]
            return tirx.Call("float32", call.op, arguments, span=call.span)
        elif dtype in SMALL[1:]:
            return self._bitwise(name, call, arguments)
        return tirx.Call(call.dtype, call.op, arguments, call.annotations, span=call.span)

    def _bitwise(self, name: str, call: tirx.Call, arguments: list[Any]) -> Any:
        dtype, whole = str(call.dtype), [_as(argument, "int32") for argument in arguments]
        if name == "bitwise_not":
            return tirx.bitwise_xor(whole[0], tirx.IntImm("int32", -1 if dtype == "int8" else 255))
        if name not in _BITWISE:
            self._refuse(name, dtype, call)
        return tirx.Call("int32", call.op, whole, span=call.span)

    def _agreed(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Two values in one dtype; whole numbers that elements are compared with in that of the elements."""
        a, b = self._element(a, b), self._element(b, a)
        if isinstance(a, _NUMBERS):
            return _as(a, b.dtype), b
        if isinstance(b, _NUMBERS) or str(a.dtype) == str(b.dtype):
            return a, _as(b, a.dtype)
        wider = a.dtype if str(b.dtype) == "int32" else b.dtype
        return _as(a, wider), _as(b, wider)

    def _element(self, value: Any, other: Any) -> Any:
        """The small element that ``value`` is as int32, where ``other`` is one too, or a number that they hold."""
        if self._is_small(value) and (
            self._is_small(other) or (isinstance(other, tirx.IntImm) and abs(int(other)) <= 256)
        ):
            return value.value
        return value

    def _is_small(self, value: Any) -> bool:
        if not isinstance(value, tirx.Cast) or not isinstance(value.value, tirx.BufferLoad):
            return False
        dtype = str(value.value.dtype)
        return (
            str(value.dtype) == "int32"
            and dtype == self.small
            and any(value.value.buffer.same_as(new) and str(old.dtype) in SMALL for old, new in self.replaced.items())
        )


def _cast(value: Any, dtype: str) -> Any:
    """``value`` as ``dtype``: a small integer as an int32 that has wrapped around."""
    source = str(value.dtype)
    if dtype == TFLOAT32:
        return _as(value, "float32")
    if dtype == "bool":
        return value if source == "bool" else tirx.NE(value, _number(0, source))
    if dtype not in SMALL:
        return _as(value, dtype)
    whole = _as(value, "int32")
    if source == "bool":
        return whole
    if dtype == "uint8":
        return tirx.bitwise_and(whole, tirx.IntImm("int32", 255))
    places = tirx.IntImm("int32", 24)
    return tirx.shift_right(tirx.shift_left(whole, places), places)


def _as(value: Any, dtype: Any) -> Any:
    """``value`` in another dtype that holds it."""
    if isinstance(value, _NUMBERS):
        return _number(value.value, str(dtype))
    return value if str(value.dtype) == str(dtype) else tirx.Cast(dtype, value)


def _number(value: float, dtype: str) -> Any:
    return tirx.FloatImm(dtype, float(value)) if "float" in dtype else tirx.IntImm(dtype, int(value))


def _is_region(node: Any) -> bool:
    return isinstance(node, tirx.Call) and str(getattr(node.op, "name", "")) == "tl.region"


def _is_variable(buffer: tirx.Buffer) -> bool:
    """Whether ``buffer`` is a T.alloc_var, a variable of the generated code."""
    return str(buffer.scope()) in ("local.var", "local") and str(buffer.dtype) in ("bool", "int8")
