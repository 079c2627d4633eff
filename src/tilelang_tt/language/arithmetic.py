"""What a kernel multiplies and sums up, by the dtypes that hold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ..engines import TF32_BITS, Product, bits_of_number, significant_bits
from ..formats import FLOATS
from . import tile_ops
from .nodes import nodes, uses

_MOVING = ("copy", "fill", "transpose")


@dataclass(frozen=True)
class KernelArithmetic:
    """``products``: what the matrix engine multiplies, sums and spread vectors included, which are products with ones;
    ``sums_in_bfloat16``: whether everything is in bfloat16, and nothing but T.gemm computes what that could not hold.
    """

    products: tuple[Product, ...]
    sums_in_bfloat16: bool


def arithmetic_of(func: tirx.PrimFunc, stored: Mapping[str, str], float16_as: str | None) -> KernelArithmetic:
    """What ``func`` multiplies and sums up.

    Args:
        func: the kernel.
        stored: the dtype that each tensor is stored as.
        float16_as: the dtype that float16 on-chip buffers have, where it is another.
    """
    return _Arithmetic(func, stored, float16_as).result()


class _Arithmetic:
    def __init__(self, func: tirx.PrimFunc, stored: Mapping[str, str], float16_as: str | None) -> None:
        self.stored, self.float16_as = stored, float16_as
        self.stores = nodes(func.body, tirx.BufferStore)
        self.calls = [node.value for node in nodes(func.body, tirx.Evaluate) if tile_ops.is_tile_op(node.value)]
        self.gemms = [call for call in self.calls if tile_ops.op_name(call) == "gemm"]
        self.body = func.body
        blocks = nodes(func.body, tirx.SBlock)
        self.on_chip = [buffer for block in blocks for buffer in block.alloc_buffers]
        self.bits: dict[str, int] = {name: significant_bits(dtype) for name, dtype in stored.items()}
        self._settle()

    def result(self) -> KernelArithmetic:
        """The answer."""
        return KernelArithmetic(tuple(self._products()), self._sums_in_bfloat16())

    # ---- how many bits the elements of a buffer have --------------------------------------------------------------

    def _settle(self) -> None:
        """The bits of every on-chip buffer: the most of what is put into it, by way of other buffers too."""
        before: dict[str, int] | None = None
        while self.bits != before:
            before = dict(self.bits)
            for call in self.calls:
                self._put_by(call)
            for store in self.stores:
                self._put(store.buffer, self._bits_of(store.value))

    def _put_by(self, call: tirx.Call) -> None:
        name = tile_ops.op_name(call)
        if name in ("copy", "transpose"):
            self._put(_buffer(call.args[1]), self._held_by(_buffer(call.args[0])))
        elif name == "fill":
            number = call.args[1]
            known = isinstance(number, (tirx.IntImm, tirx.FloatImm))
            bits = bits_of_number(float(number.value)) if known else TF32_BITS
            self._put(_buffer(call.args[0]), bits)
        else:
            for region in [call.args[2]] if name == "gemm" else filter(_is_region, call.args):
                self._put(_buffer(region), TF32_BITS)

    def _put(self, buffer: tirx.Buffer, bits: int) -> None:
        if not tile_ops.is_global(buffer):
            name = str(buffer.name)
            self.bits[name] = max(self.bits.get(name, 0), min(bits, significant_bits(self._dtype(buffer))))

    def _dtype(self, buffer: tirx.Buffer) -> str:
        name, dtype = str(buffer.name), str(buffer.dtype)
        if dtype == "float16" and self.float16_as is not None:
            dtype = self.float16_as
        return self.stored.get(name, dtype)

    def _held_by(self, buffer: tirx.Buffer) -> int:
        return self.bits.get(str(buffer.name), 0)

    def _bits_of(self, expr: Any) -> int:
        if isinstance(expr, (tirx.IntImm, tirx.FloatImm)):
            return bits_of_number(float(expr.value))
        if isinstance(expr, tirx.BufferLoad):
            return self._held_by(expr.buffer)
        if isinstance(expr, tirx.Cast):
            return min(self._bits_of(expr.value), significant_bits(str(expr.value.dtype)))
        if isinstance(expr, tirx.Select):
            return max(self._bits_of(expr.true_value), self._bits_of(expr.false_value))
        if isinstance(expr, (tirx.Max, tirx.Min)):
            return max(self._bits_of(expr.a), self._bits_of(expr.b))
        if isinstance(expr, tirx.Call) and str(expr.op.name).endswith("if_then_else"):
            return max(self._bits_of(part) for part in expr.args[1:])
        return significant_bits(str(expr.dtype))

    # ---- products -------------------------------------------------------------------------------------------------

    def _products(self) -> Iterator[Product]:
        for call in self.gemms:
            yield Product(self._held_by(_buffer(call.args[0])), self._held_by(_buffer(call.args[1])))
        for call in self.calls:
            if tile_ops.op_name(call) not in ("gemm", *_MOVING):
                yield from self._sums(call)
        for buffer in self.on_chip:
            if _is_vector(buffer) and str(buffer.dtype) in FLOATS:
                yield Product(1, self._held_by(buffer))
        if not self.gemms and any(_is_product_of_elements(node) for node in nodes(self.body, tirx.Mul)):
            # Beside T.gemm it is the vector engine that multiplies them.
            yield Product(TF32_BITS, TF32_BITS)
        for variables, body in _nests(self.body):
            for load in nodes(body, tirx.BufferLoad):
                if str(load.dtype) in FLOATS and not all(_moves_with(load, var) for var in variables):
                    yield Product(1, self._held_by(load.buffer))

    def _sums(self, call: tirx.Call) -> Iterator[Product]:
        """A row's sum is its product with ones, a column's that of ones with it, a maximum is spread like a row's."""
        if tile_ops.op_name(call) != "reduce":
            yield Product(TF32_BITS, TF32_BITS)
            return
        region, _, kind, dim = call.args[:4]
        source, bits = _buffer(region), self._held_by(_buffer(region))
        rows = int(dim.value) % len(source.shape) == len(source.shape) - 1
        if rows or _is_vector(source):
            yield Product(bits, 1)
        if not rows and "sum" in str(kind.value):
            yield Product(1, bits)

    # ---- sums in bfloat16 -----------------------------------------------------------------------------------------

    def _sums_in_bfloat16(self) -> bool:
        """bfloat16 and block floats only, and beside T.gemm only what moves elements or picks the larger of two."""
        tiles = {*self.stored.values(), *(self._dtype(buffer) for buffer in self.on_chip)}
        moving = all(tile_ops.op_name(call) in ("gemm", *_MOVING) for call in self.calls)
        return (
            bool(self.gemms)
            and tiles <= {"bfloat16", "bfloat8_b", "bfloat4_b"}
            and moving
            and all(_picks(store.value) for store in self.stores)
        )


def _picks(expr: Any) -> bool:
    """Whether ``expr`` is one of the elements or numbers in it, each of them exact in bfloat16."""
    if isinstance(expr, (tirx.Max, tirx.Min)):
        return _picks(expr.a) and _picks(expr.b)
    if isinstance(expr, tirx.Cast):
        return str(expr.dtype) in ("bfloat16", "float32") and _picks(expr.value)
    if isinstance(expr, (tirx.IntImm, tirx.FloatImm)):
        return bits_of_number(float(expr.value)) <= significant_bits("bfloat16")
    return isinstance(expr, tirx.BufferLoad)


def _nests(root: Any) -> Iterator[tuple[list[tirx.Var], Any]]:
    """The variables of parallel loops around one another, and the body of the innermost."""
    for loop in nodes(root, tirx.For):
        variables, body = [], loop
        while isinstance(body, tirx.For) and body.kind == tirx.ForKind.PARALLEL:
            variables.append(body.loop_var)
            body = body.body
        if variables:
            yield variables, body


def _moves_with(load: tirx.BufferLoad, var: tirx.Var) -> bool:
    return any(uses(index, var) for index in load.indices)


def _is_vector(buffer: tirx.Buffer) -> bool:
    return sum(not (isinstance(size, tirx.IntImm) and int(size) == 1) for size in buffer.shape) <= 1


def _is_product_of_elements(expr: tirx.Mul) -> bool:
    constants = (tirx.FloatImm, tirx.IntImm)
    return str(expr.dtype) in FLOATS and not isinstance(expr.a, constants) and not isinstance(expr.b, constants)


def _is_region(argument: Any) -> bool:
    return isinstance(argument, tirx.Call) and str(argument.op.name) == "tl.region"


def _buffer(region: tirx.Call) -> tirx.Buffer:
    return region.args[0].buffer
