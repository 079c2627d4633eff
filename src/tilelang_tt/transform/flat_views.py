"""Other views of a tensor's memory, as ``T.Tensor((K * K * C, F), dtype, kernel.data)``: the shape in which the kernel
uses the tensor, and in which it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..errors import Code, UnsupportedError
from ..language.nodes import nodes
from ..language.source import location_of
from .infer_tt_storage import check_layout


def with_views_as_tensors(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with its view in place of every tensor that is used by way of one; ``tt.storage.<name>`` says so.

    Raises:
        UnsupportedError: ``unsupported``, for a tensor that is used in several shapes, or as another dtype.
        LayoutError: ``layout-unsupported``, where the user says how such a tensor is sharded.
    """
    used = [node.buffer for kind in (tirx.BufferLoad, tirx.BufferStore) for node in nodes(func.body, kind)]
    views: dict[tirx.Buffer, tirx.Buffer] = {}
    stored: dict[str, Mapping[str, Any]] = {}
    buffers = dict(func.buffer_map.items())
    for param, tensor in func.buffer_map.items():
        own = [buffer for buffer in used if buffer.data.same_as(tensor.data)]
        if all(buffer.same_as(tensor) for buffer in own):
            continue
        shape, before = _only_shape(tensor, own), [int(size) for size in tensor.shape]
        check_layout(func, tensor, shape)
        buffers[param] = tirx.decl_buffer(shape, tensor.dtype, str(tensor.name), span=tensor.span)
        views |= dict.fromkeys(own, buffers[param])
        name = f"{attrs.STORAGE_PREFIX}{tensor.name}"
        stored[name] = {"shape": before, "split": shape, "order": list(range(len(shape)))}
    if not views:
        return func
    body = _with_buffers(func.body, views)
    made = tirx.PrimFunc(func.params, body, func.ret_type, buffers, func.attrs, func.span)
    return made.with_attr(stored)


def _only_shape(tensor: tirx.Buffer, uses: list[tirx.Buffer]) -> list[int]:
    """The one shape that ``tensor`` is used in."""
    shapes = [[*buffer.shape] for buffer in uses]
    sizes = [*tensor.shape, *(size for shape in shapes for size in shape)]
    if not all(isinstance(size, tirx.IntImm) for size in sizes):
        raise _refused(tensor, uses, "constant sizes")
    if any(not tvm.ir.structural_equal(shape, shapes[0]) for shape in shapes):
        raise _refused(tensor, uses, "one shape")
    shape = [int(size) for size in shapes[0]]
    same_memory = all(_is_compact(buffer) and buffer.dtype == tensor.dtype for buffer in uses)
    if not same_memory or math.prod(shape) != math.prod(int(size) for size in tensor.shape):
        raise _refused(tensor, uses, f"all of its {tensor.dtype}, one behind the other")
    return shape


def _is_compact(buffer: tirx.Buffer) -> bool:
    """Whether the elements of ``buffer`` lie one behind the other, from the beginning of its memory on."""
    if not (isinstance(buffer.elem_offset, tirx.IntImm) and int(buffer.elem_offset) == 0):
        return False
    step = 1
    for size, stride in zip(reversed(list(buffer.shape)), reversed(list(buffer.strides)), strict=False):
        if not isinstance(stride, tirx.IntImm) or int(stride) != step:
            return False
        step *= int(size)
    return True


def _refused(tensor: tirx.Buffer, uses: list[tirx.Buffer], expected: str) -> UnsupportedError:
    view = next(buffer for buffer in uses if not buffer.same_as(tensor))
    return UnsupportedError(
        Code.UNSUPPORTED,
        f"{view.name} is another view of the memory of {tensor.name}",
        subject=str(tensor.name),
        found=", ".join(dict.fromkeys(f"{list(buffer.shape)} of {buffer.dtype}" for buffer in (tensor, *uses))),
        expected=expected,
        hint="use the tensor in one shape, which may be a view's",
        location=location_of(tensor),
    )


def _with_buffers(body: tirx.Stmt, views: Mapping[tirx.Buffer, tirx.Buffer]) -> tirx.Stmt:
    def moved(node: Any) -> Any:
        buffer = views.get(node.buffer)
        if buffer is None:
            return None
        if isinstance(node, tirx.BufferLoad):
            return tirx.BufferLoad(buffer, node.indices, span=node.span)
        return tirx.BufferStore(buffer, node.value, node.indices, span=node.span)

    return tirx.stmt_functor.ir_transform(body, None, moved, ["tirx.BufferLoad", "tirx.BufferStore"])
