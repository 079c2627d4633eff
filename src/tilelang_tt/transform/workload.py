"""From a kernel's TIR to the plain values that the planner works on."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from tvm import tirx

from .. import attrs
from ..language import tile_ops
from ..language.kernel import KernelInfo
from ..language.symbols import Symbols
from ..layout import TILE
from ..program.spec import TensorUseSpec, WorkloadSpec
from .common import layout_of


def workload_of(func: tirx.PrimFunc, kernel: KernelInfo, plain: Mapping[str, Any]) -> WorkloadSpec:
    """What the partition of ``func`` is made for.

    Args:
        func: the kernel, before GridToPersistentTT.
        kernel: what it does.
        plain: its attributes after InferTTLayout; without InferTTCompute's it is planned for HiFi4.
    """
    return WorkloadSpec(
        grid=(kernel.grid.gx, kernel.grid.gy, kernel.grid.gz),
        kt=kernel.kt,
        products=_products(func.body, 1, kernel.symbols),
        tensors=tuple(
            TensorUseSpec(
                name=tensor.name,
                shape=tensor.shape,
                dtype=tensor.dtype,
                roles=tensor.roles,
                block_elems=tensor.block_elems,
                read=tensor.read,
                written=tensor.written,
                follows=tensor.follows,
                layout=layout_of(plain, tensor).to_dict(),
                **_depth(plain, tensor.name),
            )
            for tensor in kernel.tensors
        ),
        schedule=dict(plain.get(attrs.USER_SCHEDULE, {})),
        math_fidelity=plain.get(attrs.COMPUTE, {}).get(attrs.MATH_FIDELITY, "HiFi4"),
    )


def _depth(plain: Mapping[str, Any], name: str) -> dict[str, int]:
    staged = plain.get(f"{attrs.CB_PREFIX}{name}")
    return {} if staged is None else {"depth": staged["depth"]}


def _products(node: Any, times: int, symbols: Symbols) -> int:
    """Matrix products of hardware tiles in one work tile; a loop of unknown length counts once."""
    if isinstance(node, tirx.SeqStmt):
        return sum(_products(statement, times, symbols) for statement in node.seq)
    if isinstance(node, tirx.For):
        extent = symbols.value(node.extent) if node.thread_binding is None else None
        return _products(node.body, times if extent is None else times * extent, symbols)
    if isinstance(node, tirx.SBlockRealize):
        return _products(node.block.body, times, symbols)
    if isinstance(node, tirx.IfThenElse):
        return _products(node.then_case, times, symbols)
    if isinstance(node, tirx.Evaluate) and tile_ops.is_tile_op(node.value) and tile_ops.op_name(node.value) == "gemm":
        a, c = (tile_ops.region_of(node.value.args[place]) for place in (0, 2))
        rows, columns = (-(-size // TILE) for size in c.extents[-2:])
        depth = prod(a.extents) // prod(c.extents[-2:-1])
        return times * rows * columns * -(-depth // TILE)
    return 0
