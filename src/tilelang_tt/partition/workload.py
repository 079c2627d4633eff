"""A kernel as the planner sees it, from the plain values that a saved program keeps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .._plain import ceil_div
from ..devices import Device
from ..engines import PRODUCT_CYCLES
from ..formats import storage_format, tile_bytes
from ..layout import BufferLayout, Projection, parse_user_layout, project
from ..layout.shards import tile_sizes
from ..program.spec import TensorUseSpec, WorkloadSpec
from .cost import Access
from .grid import WorkGrid
from .placed_buffers import PlacedBuffer


def work_grid(workload: WorkloadSpec) -> WorkGrid:
    """The launch grid."""
    return WorkGrid(*workload.grid)


def layout_of(tensor: TensorUseSpec) -> BufferLayout:
    """Where a tensor lives."""
    return parse_user_layout(tensor.name, tensor.layout, tensor.shape, tensor.dtype)


def projection_of(workload: WorkloadSpec, tensor: TensorUseSpec) -> Projection | None:
    """The shards of a tensor on the work plane; None where it is interleaved."""
    layout, grid = layout_of(tensor), work_grid(workload)
    if layout.nd_shard is None:
        return None
    return project(tensor.name, layout, tensor.shape, tensor.roles, tensor.block_elems, (grid.mt, grid.nt), grid.gy)


def placed_buffers(workload: WorkloadSpec) -> list[PlacedBuffer]:
    """The tensors as the partition engine takes them."""
    buffers = []
    for tensor in workload.tensors:
        layout = layout_of(tensor)
        projection = projection_of(workload, tensor)
        buffers.append(
            PlacedBuffer(tensor.name, tensor.written, layout.memory, layout.layout, projection, tensor.follows)
        )
    return buffers


def accesses(workload: WorkloadSpec, device: Device) -> list[Access]:
    """What one work tile moves of every tensor. Raises as :meth:`Projection.holders`."""
    return [_access(workload, tensor, device) for tensor in workload.tensors]


def _access(workload: WorkloadSpec, tensor: TensorUseSpec, device: Device) -> Access:
    layout = layout_of(tensor)
    sizes = tile_sizes(len(tensor.shape))
    matrix = [ceil_div(size, step) for size, step in zip(tensor.shape, sizes, strict=True)]
    block = [
        whole if role == "K" else min(whole, ceil_div(elems, step))
        for whole, role, elems, step in zip(matrix, tensor.roles, tensor.block_elems, sizes, strict=True)
    ]
    # Leading dimensions are folded into the rows: batches of whole rows, unless rows move along the plane themselves.
    row_axis = next((role for role in ("M", "N", "B") if role in tensor.roles[:-1]), None)
    holders = stored = None
    projection = projection_of(workload, tensor)
    if projection is not None:
        holders, stored = projection.holders(device), projection.stored
    return Access(
        name=tensor.name,
        reads=int(tensor.read),
        writes=int(tensor.written),
        matrix=(prod(matrix[:-1]), matrix[-1]),
        block=(prod(block[:-1]), block[-1]),
        axes=(row_axis, tensor.roles[-1] if tensor.roles[-1] in ("M", "N") else None),
        page_bytes=tile_bytes(storage_format(layout.dtype)),
        memory=layout.memory,
        shard=None if stored is None else stored.shard_tiles,
        extents=() if stored is None or stored.is_matrix else tuple(matrix),
        shard_cores=() if holders is None else holders.cores,
        shards_per_core=1 if holders is None else holders.per_core,
        contiguous=holders is not None and holders.contiguous,
        steps=workload.kt if "K" in tensor.roles else 1,
        depth=tensor.depth,
        batch_tiles=workload.grid[1],
        k_axis=1 if tensor.roles[-1] == "K" else 0 if "K" in tensor.roles else None,
    )


def cycles_per_tile(workload: WorkloadSpec) -> float:
    """Clock cycles of matrix work of one work tile; element-wise work is not modelled."""
    return float(workload.products * PRODUCT_CYCLES[workload.math_fidelity])


def l1_bytes(accesses: Sequence[Access], device: Device, resident: Sequence[str] = ()) -> dict[str, int]:
    """L1 of a core that tensors take, by purpose: what lies there, and blocks of the others in circular buffers.

    A lower bound: of a tensor that no reduction goes through one block is counted, as code generation may stage it by
    way of an accumulator; other accumulators and intermediate results come on top.
    """
    needed = {}
    for access in accesses:
        if access.memory == "L1":
            pages = ceil_div(prod(access.matrix), len(device.cores))
            if access.shard is not None:
                pages = prod(access.shard) * access.shards_per_core
            needed[f"shard of {access.name}"] = pages * access.page_bytes
        if access.name not in resident:
            depth = 1 if access.k_axis is None else access.depth
            needed[f"blocks of {access.name}"] = depth * access.bytes // access.steps
    return needed
