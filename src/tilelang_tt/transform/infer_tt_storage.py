"""InferTTStorage: tensors whose blocks are not made of their hardware tiles get another order of storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from .. import attrs
from ..errors import Code, LayoutError
from ..language import tile_ops
from ..language.kernel import tensor_params, tensor_uses
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..language.symbols import Symbols, symbols_of
from ..layout.storage import Part, StorageView, TensorUse, choose_view, rows_to_pick


def InferTTStorage() -> tvm.transform.Pass:
    """The pass. Rewrites the accesses to such tensors and their parameters, and writes ``tt.storage.<name>``.

    The grids of one function store a tensor in the same order.

    Raises, when run:
        LayoutError: ``layout-unsupported``, where the user says how such a tensor is sharded.
    """

    def run(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        functions: dict[Any, Any] = dict(mod.functions_items())
        for group in _groups(functions):
            views = _views([functions[var] for var in group])
            functions |= {var: _rewritten(functions[var], views) for var in group}
        return tvm.IRModule(functions, attrs=mod.attrs)

    return tvm.transform.module_pass(run, opt_level=0, name="tl.tt.InferTTStorage")


@dataclass(frozen=True)
class _Stored:
    """A tensor and what takes its place."""

    view: StorageView
    parts: tuple[Part, ...]
    buffer: tirx.Buffer


def _groups(functions: Mapping[Any, Any]) -> list[list[Any]]:
    """The functions that have tensors in common: the grids of one function, and every other by itself."""
    groups: dict[str, list[Any]] = {}
    for var, func in functions.items():
        if isinstance(func, tirx.PrimFunc):
            grid = plain_attrs(func).get(attrs.GRID_OF)
            of = f"function {var.name_hint}" if grid is None else f"grids of {grid['function']}"
            groups.setdefault(of, []).append(var)
    return list(groups.values())


def _views(funcs: Sequence[tirx.PrimFunc]) -> dict[str, tuple[StorageView, tuple[Part, ...]]]:
    """By name, the tensors that are to be stored as views of themselves, which suit all ``funcs``."""
    uses: dict[str, list[TensorUse]] = {}
    shapes: dict[str, tuple[int | None, ...]] = {}
    picked: set[str] = set()
    for func in funcs:
        analyzer = _bound_variables(func)
        for buffer in tensor_params(func):
            name = str(buffer.name)
            shapes[name] = tuple(int(size) if isinstance(size, tirx.IntImm) else None for size in buffer.shape)
            regions, is_picked = tensor_uses(func, buffer)
            picked |= {name} if is_picked else set()
            uses.setdefault(name, []).extend(
                TensorUse(region.extents, tuple(_step(first, analyzer) for first in region.mins)) for region in regions
            )
    views: dict[str, tuple[StorageView, tuple[Part, ...]]] = {}
    for name, shape in shapes.items():
        chosen = _chosen(shape, rows_to_pick(shape) if name in picked and not uses[name] else uses[name])
        if chosen is not None:
            views[name] = chosen
    return views


def _rewritten(func: tirx.PrimFunc, views: Mapping[str, tuple[StorageView, tuple[Part, ...]]]) -> tirx.PrimFunc:
    """``func`` with these tensors as they are stored."""
    stored: dict[tirx.Buffer, _Stored] = {}
    for buffer in tensor_params(func):
        if str(buffer.name) in views:
            view, parts = views[str(buffer.name)]
            dims = [_size(part, buffer) for part in parts]
            check_layout(func, buffer, dims)
            replacement = tirx.decl_buffer(dims, buffer.dtype, str(buffer.name), span=buffer.span)
            stored[buffer] = _Stored(view, parts, replacement)
    if not stored:
        return func
    body = _with_accesses(func.body, stored, _bound_variables(func))
    buffers = {param: stored[b].buffer if b in stored else b for param, b in func.buffer_map.items()}
    rewritten = tirx.PrimFunc(func.params, body, func.ret_type, buffers, func.attrs, func.span)
    symbols = symbols_of(func)
    return rewritten.with_attr(
        {
            f"{attrs.STORAGE_PREFIX}{buffer.name}": _noted(func, buffer, entry, symbols)
            for buffer, entry in stored.items()
        }
    )


def _chosen(shape: tuple[int | None, ...], uses: Sequence[TensorUse]) -> tuple[StorageView, tuple[Part, ...]] | None:
    """The view that a tensor is stored as, None for the tensor as it is.

    Of a tensor of symbolic sizes only the order changes, and only where blocks span others than its last two
    dimensions: all else is done with rows and elements of it.
    """
    chosen = choose_view(shape, uses)
    if chosen is None or None not in shape:
        return chosen
    spans = any(extent > 1 for use in uses for extent in use.extents[:-2])
    in_order = all(part.kind == "whole" for part in chosen[1])
    return chosen if spans and in_order else None


def _size(part: Part, buffer: tirx.Buffer) -> tirx.PrimExpr | int:
    """The size of a stored dimension."""
    if part.size is not None:
        return part.size
    assert part.axis is not None
    return buffer.shape[part.axis]


def _noted(func: tirx.PrimFunc, buffer: tirx.Buffer, entry: _Stored, symbols: Symbols) -> dict[str, list[Any]]:
    """What ``tt.storage.<name>`` says, at the representative sizes; a view that was noted before is stored anew."""
    before = plain_attrs(func).get(f"{attrs.STORAGE_PREFIX}{buffer.name}", {})
    shape = before.get("shape") or [symbols.value(size) for size in buffer.shape]
    order = list(entry.view.order)
    sizes = dict(zip(order, (symbols.value(size) for size in entry.buffer.shape), strict=True))
    return {"shape": shape, "split": [sizes[axis] for axis in range(len(order))], "order": order}


def _bound_variables(func: tirx.PrimFunc) -> arith.Analyzer:
    """An analyzer that knows what every variable of ``func`` may be."""
    analyzer = arith.Analyzer()

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For):
            analyzer.bind(node.loop_var, tvm.ir.Range.from_min_extent(node.min, node.extent))
        elif isinstance(node, tirx.Bind) and not isinstance(node.value, tirx.Call):
            analyzer.bind(node.var, node.value)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    return analyzer


def _step(first: tirx.PrimExpr, analyzer: arith.Analyzer) -> int:
    known = analyzer.modular_set(analyzer.simplify(first))
    return math.gcd(int(known.coeff), int(known.base))


def check_layout(func: tirx.PrimFunc, buffer: tirx.Buffer, stored_shape: Sequence[Any]) -> None:
    """Refuse shards of a tensor that is stored as ``stored_shape``, another than its own."""
    layout: Mapping[str, Any] = plain_attrs(func).get(attrs.USER_LAYOUT, {}).get(str(buffer.name), {})
    if layout.get("layout") == "sharded":
        raise LayoutError(
            Code.LAYOUT_UNSUPPORTED,
            f"tensor {buffer.name} is sharded, and the kernel takes blocks of it that are not made of its tiles",
            subject=str(buffer.name),
            found=f"shape {list(buffer.shape)}, stored as {list(stored_shape)}",
            expected="an interleaved tensor",
            location=location_of(buffer),
        )


def _with_accesses(body: tirx.Stmt, stored: Mapping[tirx.Buffer, _Stored], analyzer: arith.Analyzer) -> tirx.Stmt:
    def indices(entry: _Stored, given: Any) -> list[tirx.PrimExpr]:
        return [analyzer.simplify(_index(part, given)) for part in entry.parts]

    def region(node: Any) -> Any:
        if not (isinstance(node, tirx.Call) and str(getattr(node.op, "name", "")) == "tl.region"):
            return None
        load, access, *_ = node.args
        entry = stored.get(load.buffer)
        if entry is None:
            return None
        sizes = tile_ops.region_of(node).extents
        extents = [_extent(part, sizes) for part in entry.parts]
        moved = tirx.BufferLoad(entry.buffer, indices(entry, load.indices))
        return tirx.Call(node.dtype, node.op, [moved, access, *extents], span=node.span)

    def element(node: Any) -> Any:
        entry = stored.get(node.buffer) if isinstance(node, (tirx.BufferLoad, tirx.BufferStore)) else None
        if entry is None:
            return None
        if isinstance(node, tirx.BufferLoad):
            return tirx.BufferLoad(entry.buffer, indices(entry, node.indices))
        return tirx.BufferStore(entry.buffer, node.value, indices(entry, node.indices))

    kinds = ["tirx.Call", "tirx.BufferLoad", "tirx.BufferStore"]
    return tirx.stmt_functor.ir_transform(body, region, element, kinds)


def _index(part: Part, given: Any) -> tirx.PrimExpr:
    """The index along a stored dimension of what was element ``given``."""
    if part.axis is None:
        return tirx.IntImm("int32", 0)
    index, grain = given[part.axis], tirx.IntImm("int32", part.grain)
    if part.kind == "whole":
        return index
    return tirx.floordiv(index, grain) if part.kind == "outer" else tirx.floormod(index, grain)


def _extent(part: Part, sizes: tuple[int, ...]) -> int:
    return 1 if part.axis is None or part.kind == "outer" else sizes[part.axis]
