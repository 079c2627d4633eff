"""``T.im2col`` as the T.Parallel body that it stands for: a matrix whose rows are what a convolution's kernel sees."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from . import tile_ops
from .source import statement_location

NAMES = ("im2col", "c2d_im2col")


def without_im2col(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with element-wise work in place of every T.im2col.

    Raises:
        UnsupportedError: ``unsupported``, for regions whose size is not constant.
    """
    found = False

    def rewrite(node: Any) -> Any:
        nonlocal found
        call = node.value
        if not tile_ops.is_tile_op(call) or tile_ops.op_name(call) not in NAMES:
            return None
        found = True
        try:
            return _elements(*(tile_ops.region_of(region) for region in call.args[:2]), *call.args[2:8])
        except UnsupportedError as error:
            raise error.at(statement_location(func, "im2col", tile_ops.buffers_of(call))) from None

    body = tirx.stmt_functor.ir_transform(func.body, None, rewrite, ["tirx.Evaluate"])
    return func.with_body(body, func.span) if found else func


def _elements(
    image: tile_ops.Region,
    target: tile_ops.Region,
    row_step: tirx.PrimExpr,
    column_step: tirx.PrimExpr,
    size: tirx.PrimExpr,
    stride: tirx.PrimExpr,
    dilation: tirx.PrimExpr,
    padding: tirx.PrimExpr,
) -> tirx.Stmt:
    """Row m of the matrix is a pixel of the output, column k an element of the kernel's ``size`` x ``size`` x C; the
    target is block (``row_step``, ``column_step``) of it."""
    _, height, width, channels = image.buffer.shape
    rows, columns = target.extents[-2:]
    i, j = tirx.Var("i", "int32"), tirx.Var("j", "int32")
    m, k = row_step * rows + i, column_step * columns + j
    out_height, out_width = (
        tirx.floordiv(along + 2 * padding - (size - 1) * dilation - 1, stride) + 1 for along in (height, width)
    )
    pixels = out_height * out_width
    y = tirx.floordiv(tirx.floormod(m, pixels), out_width) * stride
    y = y + tirx.floordiv(k, size * channels) * dilation - padding
    x = tirx.floormod(m, out_width) * stride
    x = x + tirx.floormod(tirx.floordiv(k, channels), size) * dilation - padding
    inside = tirx.all(y >= 0, y < height, x >= 0, x < width)
    place = [tirx.floordiv(m, pixels), y, x, tirx.floormod(k, channels)]
    nothing = tirx.const(0, str(target.buffer.dtype))
    value = tirx.if_then_else(inside, tirx.BufferLoad(image.buffer, place), nothing)
    indices = [*target.mins[:-2], target.mins[-2] + i, target.mins[-1] + j]
    body: tirx.Stmt = tirx.BufferStore(target.buffer, value, indices)
    for var, extent in ((j, columns), (i, rows)):
        body = tirx.For(var, tirx.IntImm("int32", 0), tirx.IntImm("int32", extent), tirx.ForKind.PARALLEL, body)
    return body
