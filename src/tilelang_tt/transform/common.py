"""What the passes share: how a pass is made, and reading what earlier passes wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..devices import Device, load_device
from ..errors import Code, LayoutError, PartitionError, nearest
from ..language.kernel import BLOCK_ROLES, KernelInfo, TensorAccess
from ..language.source import location_of
from ..language.symbols import symbols_of
from ..layout import BufferLayout, Projection, parse_user_layout, project
from ..partition import PlacedBuffer, WorkGrid
from ..sizes import from_plain, to_plain

DEFAULT_DEVICE = "wormhole_n150"

PROJECTED_KEYS = ("projected_grid", "projected_shard_tiles")


def function_pass(name: str, rewrite: Callable[[tirx.PrimFunc], tirx.PrimFunc]) -> tvm.transform.Pass:
    """A TVM pass ``tl.tt.<name>`` that rewrites every PrimFunc of a module; the module given is left as it was."""

    def run(func: tirx.PrimFunc, _mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tirx.PrimFunc:
        return rewrite(func)

    return tirx.transform.prim_func_pass(run, opt_level=0, name=f"tl.tt.{name}")


def with_attrs(func: tirx.PrimFunc, values: Mapping[str, Any]) -> tirx.PrimFunc:
    """``func`` with more attributes."""
    return func.with_attr(dict(values))


def device_of(plain: Mapping[str, Any], given: str | Device | None) -> Device:
    """The device a pass works for: the one given, else the function's ``tt.device``, else a Wormhole n150."""
    if given is not None:
        return load_device(given)
    described = plain.get(attrs.DEVICE)
    return load_device(DEFAULT_DEVICE) if described is None else load_device(described)


def check_tensor_names(user: Mapping[str, Any], names: Sequence[str], func: tirx.PrimFunc) -> None:
    """Refuse layouts (name -> layout) of what is none of the tensors ``names`` of ``func``."""
    for name in user:
        if name not in names:
            raise LayoutError(
                Code.UNKNOWN_BUFFER,
                f"{attrs.USER_LAYOUT} names {name!r}, which is no tensor of the kernel",
                subject=name,
                found=name,
                expected=f"one of {', '.join(names)}",
                hint=nearest(name, names),
                location=location_of(func),
            )


def work_grid(kernel: KernelInfo) -> WorkGrid:
    """The kernel's launch grid as a grid of work tiles."""
    return WorkGrid(kernel.grid.gx, kernel.grid.gy, kernel.grid.gz)


def dynamic_attrs(kernel: KernelInfo) -> dict[str, Any]:
    """``tt.dynamic`` of a kernel with symbolic sizes; nothing for another.

    ``sizes``: the representative size of each, in their order; ``grid``: extents of blockIdx.x, y and z; ``Kt``: the
    reduction steps (see :mod:`tilelang_tt.sizes` for expressions).
    """
    symbols = kernel.symbols
    if not symbols.variables:
        return {}
    grid = [to_plain(symbols.size(kernel.grid.expr(tag), tag)) for tag in ("blockIdx.x", "blockIdx.y", "blockIdx.z")]
    steps = to_plain(symbols.size(kernel.kt_expr, "Kt"))
    # A list: TVM's maps keep no order.
    sizes = [[name, size] for name, size in symbols.sizes.items()]
    return {attrs.DYNAMIC: {"sizes": sizes, "grid": grid, "Kt": steps}}


def grid_exprs(func: tirx.PrimFunc, plain: Mapping[str, Any]) -> dict[str, tirx.PrimExpr]:
    """Thread tag -> extent of the launch grid, from the attributes of a function that may be persistent already."""
    keys = zip(BLOCK_ROLES, (attrs.GRID_X, attrs.GRID_Y, attrs.GRID_Z), strict=True)
    if attrs.DYNAMIC not in plain:
        return {tag: tirx.IntImm("int32", plain[key]) for tag, key in keys if key in plain}
    symbols = symbols_of(func)
    return {
        tag: symbols.expr(from_plain(size)) for tag, size in zip(BLOCK_ROLES, plain[attrs.DYNAMIC]["grid"], strict=True)
    }


def layout_of(plain: Mapping[str, Any], tensor: TensorAccess) -> BufferLayout:
    """The layout that InferTTLayout wrote for ``tensor``.

    Raises:
        PartitionError: ``metadata-missing``, when it wrote none.
    """
    key = f"{attrs.BUFFER_PREFIX}{tensor.name}"
    if key not in plain:
        raise PartitionError(
            Code.METADATA_MISSING, f"the function has no {key}", subject=key, hint="run InferTTLayout before this pass"
        )
    raw = {name: value for name, value in plain[key].items() if name not in ("padded_shape", "needs_padding")}
    if "nd_shard" in raw:
        raw["nd_shard"] = {name: value for name, value in raw["nd_shard"].items() if name not in PROJECTED_KEYS}
    return parse_user_layout(tensor.name, raw, tensor.shape, tensor.dtype)


def projection_of(kernel: KernelInfo, tensor: TensorAccess, layout: BufferLayout) -> Projection | None:
    """The shards of ``tensor`` on the work plane; None where it is interleaved."""
    if layout.nd_shard is None:
        return None
    grid = work_grid(kernel)
    return project(tensor.name, layout, tensor.shape, tensor.roles, tensor.block_elems, (grid.mt, grid.nt), grid.gy)


def placed_buffer(plain: Mapping[str, Any], kernel: KernelInfo, tensor: TensorAccess) -> PlacedBuffer:
    """``tensor`` as the partition engine takes it. Raises as :func:`layout_of`."""
    layout = layout_of(plain, tensor)
    projection = projection_of(kernel, tensor, layout)
    return PlacedBuffer(tensor.name, tensor.written, layout.memory, layout.layout, projection, tensor.follows)
