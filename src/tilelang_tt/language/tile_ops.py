"""TileLang's tile operations as typed values, decoded from TIR calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ..errors import Code, UnsupportedError

PREFIX = "tl.tileop."


@dataclass(frozen=True)
class Region:
    """A rectangle of a buffer: per dimension the first element (an expression) and the number of elements."""

    buffer: tirx.Buffer
    mins: tuple[tirx.PrimExpr, ...]
    extents: tuple[int, ...]

    @property
    def name(self) -> str:
        """The buffer's name."""
        return str(self.buffer.name)

    @property
    def is_global(self) -> bool:
        """Whether the buffer is a tensor parameter, not an on-chip one."""
        return is_global(self.buffer)


@dataclass(frozen=True)
class CopyOp:
    """``T.copy(src, dst)``."""

    src: Region
    dst: Region


@dataclass(frozen=True)
class FillOp:
    """``T.fill(dst, value)`` or ``T.clear(dst)``."""

    dst: Region
    value: tirx.PrimExpr


@dataclass(frozen=True)
class GemmOp:
    """``T.gemm(a, b, c)``: c (+)= op(a) @ op(b)."""

    a: Region
    b: Region
    c: Region
    transpose_a: bool
    transpose_b: bool
    clear_accum: bool


@dataclass(frozen=True)
class ReduceOp:
    """``T.reduce_sum(src, dst, dim)`` and its kin; ``kind`` as TileLang names it (sum, max, min, abssum ...)."""

    src: Region
    dst: Region
    kind: str
    dim: int
    clear: bool


@dataclass(frozen=True)
class TransposeOp:
    """``T.transpose(src, dst)``."""

    src: Region
    dst: Region


@dataclass(frozen=True)
class CumsumOp:
    """``T.cumsum(src, dst, dim, reverse)``: running sums, from the last element on where ``reverse``."""

    src: Region
    dst: Region
    dim: int
    reverse: bool


TileOp = CopyOp | FillOp | GemmOp | ReduceOp | TransposeOp | CumsumOp


def is_global(buffer: tirx.Buffer) -> bool:
    """Whether ``buffer`` lies in device memory (a tensor parameter)."""
    return str(buffer.scope()) in ("global", "")


def op_name(call: tirx.Call) -> str:
    """The operation's bare name: ``tl.tileop.copy`` is ``copy``."""
    return str(call.op.name).removeprefix(PREFIX)


def is_tile_op(node: Any) -> bool:
    """Whether ``node`` is a call of one of TileLang's tile operations."""
    return isinstance(node, tirx.Call) and str(getattr(node.op, "name", "")).startswith(PREFIX)


def buffers_of(call: tirx.Call) -> list[str]:
    """The names of the buffers a tile operation touches, operands first."""
    regions = [arg for arg in call.args if isinstance(arg, tirx.Call) and str(arg.op.name) == "tl.region"]
    return [str(region.args[0].buffer.name) for region in regions]


def decode(call: tirx.Call) -> TileOp:
    """The tile operation that ``call`` makes.

    Raises:
        UnsupportedError: ``unsupported``, for an operation that has no lowering; its message names the operation.
    """
    name = op_name(call)
    if name == "copy":
        return CopyOp(region_of(call.args[0]), region_of(call.args[1]))
    if name == "fill":
        return FillOp(region_of(call.args[0]), call.args[1])
    if name == "gemm":
        a, b, c, transpose_a, transpose_b, *_, clear = (*call.args[:5], call.args[9])
        return GemmOp(region_of(a), region_of(b), region_of(c), _flag(transpose_a), _flag(transpose_b), _flag(clear))
    if name == "reduce":
        src, dst, kind, dim, clear = call.args[:5]
        return ReduceOp(region_of(src), region_of(dst), str(kind.value), int(dim.value), _flag(clear))
    if name == "transpose":
        return TransposeOp(region_of(call.args[0]), region_of(call.args[1]))
    if name == "cumsum":
        src, dst, dim, reverse = call.args[:4]
        return CumsumOp(region_of(src), region_of(dst), int(dim.value), _flag(reverse))
    raise UnsupportedError(
        Code.UNSUPPORTED,
        f"T.{name} is not supported",
        subject=name,
        found=f"T.{name} on {', '.join(buffers_of(call))}",
        expected="T.copy, T.fill, T.clear, T.gemm, T.reduce_*, T.cumsum, T.transpose and T.Parallel bodies",
    )


def _flag(expr: tirx.PrimExpr) -> bool:
    if isinstance(expr, tirx.IntImm):
        return bool(expr.value)
    raise UnsupportedError(Code.UNSUPPORTED, "flags of tile operations must be constants", subject="flag", found=expr)


def region_of(call: tirx.Call) -> Region:
    """The region that a ``tl.region`` call names.

    Raises:
        UnsupportedError: ``unsupported``, when its size is not constant.
    """
    load, _access, *extents = call.args
    sizes = []
    for extent in extents:
        if not isinstance(extent, tirx.IntImm):
            raise UnsupportedError(
                Code.UNSUPPORTED,
                f"a region of {load.buffer.name} has a size that is not constant",
                subject=str(load.buffer.name),
                found=extent,
            )
        sizes.append(int(extent.value))
    return Region(load.buffer, tuple(load.indices), tuple(sizes))
