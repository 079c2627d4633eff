"""On-chip buffers of a kernel: which there are, and how large."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...errors import UnsupportedError
from ...formats import data_format
from ...language import tile_ops
from ...language.nodes import nodes
from ...language.source import location_of
from ..tile_program.expressions import Block
from .regions import refused


def is_variable(buffer: tirx.Buffer) -> bool:
    """Whether ``buffer`` is an integer of T.alloc_var."""
    scope, shape = str(buffer.scope()), [int(dim) for dim in buffer.shape]
    return scope in ("local.var", "local") and shape == [1] and str(buffer.dtype).startswith(("int", "bool"))


def block_of(buffer: tirx.Buffer, shape: Sequence[int], float16_as: str | None) -> Block:
    """The hardware tiles for an on-chip buffer, whose size is ``shape``.

    Raises:
        UnsupportedError: ``unsupported``, for a scope or a dtype that there are no tiles for.
    """
    name, scope, dtype = str(buffer.name), str(buffer.scope()), str(buffer.dtype)
    is_one = all(dim == 1 for dim in shape)
    try:
        if not scope.startswith(("shared", "local.fragment")) and not (is_one and scope.startswith("local")):
            message, expected = f"buffer {name} of scope {scope} is not supported", "T.alloc_shared or T.alloc_fragment"
            raise refused(message, name, expected=expected)
        data_format(dtype)
    except UnsupportedError as error:
        raise error.at(location_of(buffer)) from None
    held = float16_as if dtype == "float16" and float16_as is not None else dtype
    return Block.of_shape(name, shape, held, is_one=is_one)


def reached(func: tirx.PrimFunc) -> dict[str, int]:
    """How many elements loops go through of each on-chip vector, which may be more than it has: it is then so long.

    TileLang lets a fragment be indexed past its end, where every thread holds elements of its own.
    """
    loops = [loop for loop in nodes(func.body, tirx.For) if loop.kind == tirx.ForKind.PARALLEL]
    lengths: dict[str, int] = {}
    for access in [*nodes(func.body, tirx.BufferLoad), *nodes(func.body, tirx.BufferStore)]:
        name = str(access.buffer.name)
        if len(access.indices) == 1 and not tile_ops.is_global(access.buffer):
            through = [loop.extent for loop in loops if loop.loop_var.same_as(access.indices[0])]
            counts = [int(extent) for extent in through if isinstance(extent, tirx.IntImm)]
            lengths[name] = max([lengths.get(name, 0), *counts])
    return lengths
