"""InferTTLayout: the layout of every tensor parameter, from the user's annotation or by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..errors import Code, LayoutError
from ..language.kernel import KernelInfo, TensorAccess, read_kernel
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..layout import TILE, BufferLayout, parse_user_layout
from ..partition.schedule import parse_user_schedule
from ..sizes import size_text
from .common import check_tensor_names, function_pass, projection_of, with_attrs


def InferTTLayout() -> tvm.transform.Pass:
    """The pass. Writes ``tt.buffer.<name>`` for every tensor parameter; DRAM interleaved where the user said nothing.

    Raises, when run:
        LayoutError: for an annotation that is not exactly a layout of one of the function's tensors.
    """

    def rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
        kernel = read_kernel(func)
        plain = plain_attrs(func)
        user = plain.get(attrs.USER_LAYOUT, {})
        check_tensor_names(user, [tensor.name for tensor in kernel.tensors], func)
        float16_as = parse_user_schedule(plain.get(attrs.USER_SCHEDULE), location_of(func)).float16_as
        layouts = {}
        for tensor in kernel.tensors:
            raw = user.get(tensor.name, {})
            if float16_as is not None and tensor.dtype == "float16" and isinstance(raw, Mapping):
                raw = {"dtype": float16_as, **raw}
            layouts[f"{attrs.BUFFER_PREFIX}{tensor.name}"] = _buffer_attr(kernel, tensor, raw)
        return with_attrs(func, layouts)

    return function_pass("InferTTLayout", rewrite)


def _buffer_attr(kernel: KernelInfo, tensor: TensorAccess, raw: Any) -> dict[str, Any]:
    location = location_of(tensor.buffer)
    layout = parse_user_layout(tensor.name, raw, tensor.shape, tensor.dtype, location)
    value = layout.to_dict()
    if layout.nd_shard is not None:
        _check_symbolic_shards(tensor, layout)
    try:
        projection = projection_of(kernel, tensor, layout)
    except LayoutError as error:
        raise error.at(location) from None
    if projection is not None:
        value["nd_shard"]["projected_grid"] = list(projection.projected_grid)
        value["nd_shard"]["projected_shard_tiles"] = list(projection.projected_shard_tiles)
    padded = padded_shape(tensor.shape)
    if padded != tensor.shape:
        value |= {"padded_shape": list(padded), "needs_padding": True}
    return value


def _check_symbolic_shards(tensor: TensorAccess, layout: BufferLayout) -> None:
    """Shards stay where they are at every launch: neither their cores nor the place of a row may depend on a size."""
    one_each = layout.l1_sharded and layout.nd_shard is not None and layout.nd_shard.distribution == "one_per_core"
    if not one_each and not all(isinstance(dim, int) for dim in tensor.dims):
        raise LayoutError(
            Code.LAYOUT_UNSUPPORTED,
            f"buffer {tensor.name!r} is sharded, and its shape is known only at launch",
            subject=tensor.name,
            found=f"shape [{', '.join(map(size_text, tensor.dims))}], sharded in {layout.memory}",
            expected="one shard per core in L1",
            hint="keep the tensor interleaved",
            location=location_of(tensor.buffer),
        )
    for axis, dim in enumerate(tensor.dims[:-1]):
        if not isinstance(dim, int) and any(outer != 1 for outer in tensor.dims[:axis]):
            raise LayoutError(
                Code.LAYOUT_UNSUPPORTED,
                f"buffer {tensor.name!r} is sharded, and its dimension {axis} is known only at launch",
                subject=tensor.name,
                found=f"shape [{', '.join(map(size_text, tensor.dims))}]",
                expected="a symbolic size as the last dimension, or with dimensions of size 1 before it",
                hint="keep the tensor interleaved",
                location=location_of(tensor.buffer),
            )


def padded_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` in elements with its tiled dimensions, the last two, rounded up to whole hardware tiles.

    A vector is one row of tiles: its only dimension is rounded up.
    """
    tiled = min(2, len(shape))
    return tuple(-(-size // TILE) * TILE if axis >= len(shape) - tiled else size for axis, size in enumerate(shape))
