"""From a sharded tensor to the work plane: which work tiles each of its shards belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._plain import ceil_div
from ..devices import Core, Device
from ..errors import Code, LayoutError
from .placement import place_shards
from .shards import MatrixShards, check_shards, matrix_shards, tile_sizes
from .types import BufferLayout, NdShard


@dataclass(frozen=True)
class Misfit:
    """Why a buffer's shards do not line up with the work grid."""

    code: Code
    reason: str
    found: str
    expected: str


@dataclass(frozen=True)
class Projection:
    """A sharded buffer on the work plane of [Mt, Nt] work tiles.

    Attributes:
        buffer: its name.
        projected_grid: [Gy, Gx], the number of shards along M and along N; 1 on an axis that it does not have.
        projected_shard_tiles: hardware tiles of one shard along M and along N; 1 on an axis that it does not have.
        shard_work_tiles: (Sm, Sn), the work tiles of one shard along M and along N, the whole extent of the plane where
            the buffer is not cut; None for shards that do not line up.
        misfit: why the shards do not line up with the work grid; None when they do.
        nd_shard: the layout it came from.
        matrix: the shards as blocks of the stored matrix.
        row_axis, column_axis: the plane axis ("M" or "N") along which the stored matrix is cut in rows and in columns;
            None where it is not cut, or cut along no axis of the plane.
    """

    buffer: str
    projected_grid: tuple[int, int]
    projected_shard_tiles: tuple[int, int]
    shard_work_tiles: tuple[int, int] | None
    misfit: Misfit | None
    nd_shard: NdShard
    matrix: MatrixShards
    row_axis: str | None
    column_axis: str | None

    @property
    def lined_up(self) -> bool:
        """Whether every shard is a rectangle of whole work tiles."""
        return self.misfit is None

    @property
    def reason(self) -> str | None:
        """Why the shards do not line up, or None when they do."""
        return None if self.misfit is None else self.misfit.reason

    def storage_cores(self, device: Device) -> tuple[Core, ...]:
        """The core of every shard in L1, numbered row by row over the stored matrix (``matrix.grid``).

        Raises :class:`PartitionError` (``too-many-shards``) and :class:`DeviceError` (``core-off-device``,
        ``core-ranges-overlap``).
        """
        return place_shards(
            self.matrix.grid,
            device,
            subject=f"buffer {self.buffer!r}",
            order=self.nd_shard.order,
            orientation=self.nd_shard.orientation,
            core_ranges=self.nd_shard.core_ranges,
        )

    def plane_cores(self, device: Device) -> tuple[Core, ...]:
        """The core of every shard that lines up, numbered row by row over the projected grid. Raises as above."""
        stored, columns = self.storage_cores(device), self.matrix.grid[1]
        stride = {"M": 0, "N": 0, None: 0}
        stride[self.row_axis] += columns
        stride[self.column_axis] += 1
        gy, gx = self.projected_grid
        return tuple(stored[sy * stride["M"] + sx * stride["N"]] for sy in range(gy) for sx in range(gx))


def project(
    name: str,
    layout: BufferLayout,
    shape: Sequence[int],
    roles: Sequence[str],
    block_elems: Sequence[int],
    grid_tiles: tuple[int, int],
) -> Projection:
    """The shards of buffer ``name`` on the work plane.

    Args:
        name: the buffer, named in errors.
        layout: its layout, sharded.
        shape: its shape in elements.
        roles: how the kernel indexes each dimension: "M" by the block row, "N" by the block column, "K" by a reduction
            loop, "B" by a batch block index, "" by none of them.
        block_elems: elements of each dimension that one work tile covers.
        grid_tiles: (Mt, Nt), the work plane in work tiles.

    Raises:
        LayoutError: ``axes-mismatch`` where the declared axes contradict the roles, and the errors of shards that do
            not cover the tensor or are not aligned. Shards that are sound but do not line up with the work grid are no
            error here: the projection says so, and why.
    """
    shard = layout.nd_shard
    if shard is None:
        raise LayoutError(
            Code.ND_SHARD_MISSING,
            f"buffer {name!r} is not sharded, so it has no projection",
            subject=name,
            found=f"layout: {layout.layout}",
            expected="layout: sharded",
        )
    shape, roles, block_elems = tuple(shape), tuple(roles), tuple(block_elems)
    check_shards(name, layout, shape)
    declared = _declared_axes(shard, roles, grid_tiles)
    _check_axes(name, declared, roles)

    # A dimension that the kernel takes whole has only its declared meaning.
    axes = tuple(role or axis for role, axis in zip(roles, declared, strict=True))
    dims = {axis: axes.index(axis) if axis in axes else None for axis in ("M", "N")}
    misfit = _misfit(name, shard, shape, roles, block_elems, grid_tiles)
    matrix = matrix_shards(shard)
    sizes = tile_sizes(len(shape))

    def along(values: Sequence[int], default: int) -> tuple[int, int]:
        per_axis = [default if (dim := dims[axis]) is None else values[dim] for axis in ("M", "N")]
        return per_axis[0], per_axis[1]

    def plane_axis(dim: int | None) -> str | None:
        return axes[dim] if dim is not None and axes[dim] in dims else None

    grid = along(shard.grid, 1)
    tiles = [ceil_div(size, tile) for size, tile in zip(shard.shard_shape_elems, sizes, strict=True)]
    blocks = [size // block for size, block in zip(shard.shard_shape_elems, block_elems, strict=True)]
    work = tuple(
        extent if parts == 1 else size for parts, size, extent in zip(grid, along(blocks, 1), grid_tiles, strict=True)
    )
    return Projection(
        buffer=name,
        projected_grid=grid,
        projected_shard_tiles=along(tiles, 1),
        shard_work_tiles=None if misfit else (work[0], work[1]),
        misfit=misfit,
        nd_shard=shard,
        matrix=matrix,
        row_axis=plane_axis(matrix.row_dim),
        column_axis=plane_axis(matrix.column_dim),
    )


def _declared_axes(shard: NdShard, roles: tuple[str, ...], grid_tiles: tuple[int, int]) -> tuple[str, ...]:
    """The declared axes in the letters of the work plane.

    A launch grid of one dimension is one row of work tiles, whatever its blocks are to the user: rows that it walks may
    be called M, and then what it takes whole may be called N.
    """
    rows_walked = [axis == "M" and role == "N" for axis, role in zip(shard.axes, roles, strict=True)]
    if grid_tiles[0] != 1 or not any(rows_walked):
        return shard.axes
    others = ("" if axis == "N" and not role else axis for axis, role in zip(shard.axes, roles, strict=True))
    return tuple("N" if walked else axis for walked, axis in zip(rows_walked, others, strict=True))


def _check_axes(name: str, axes: tuple[str, ...], roles: tuple[str, ...]) -> None:
    indexed = [role or axis for role, axis in zip(roles, axes, strict=True)]
    for dim, (declared, role) in enumerate(zip(axes, roles, strict=True)):
        if role and declared != role:
            raise LayoutError(
                Code.AXES_MISMATCH,
                f"buffer {name!r}: nd_shard.axes contradicts how the kernel indexes dimension {dim}",
                subject=name,
                found=f"declared {list(axes)}",
                expected=f"{indexed}, from the kernel's indexing",
            )


def _misfit(
    name: str,
    shard: NdShard,
    shape: tuple[int, ...],
    roles: tuple[str, ...],
    block_elems: tuple[int, ...],
    grid_tiles: tuple[int, int],
) -> Misfit | None:
    extents = dict(zip(("M", "N"), grid_tiles, strict=True))
    words = {"K": "the reduction axis K", "B": "the batch axis B", "": "a dimension that every work tile takes whole"}
    for dim, (role, parts, size) in enumerate(zip(roles, shard.grid, shard.shard_shape_elems, strict=True)):
        where = f"buffer {name!r}, dimension {dim}"
        if role not in extents:
            if parts > 1:
                reason = f"{where}: cut along {words[role]}"
                return Misfit(Code.LAYOUT_UNSUPPORTED, reason, f"{parts} shards", "1 shard")
            continue
        block, extent = block_elems[dim], extents[role]
        if size % block:
            return Misfit(
                Code.SHARD_NOT_WORK_TILES,
                f"{where} ({role}): a shard is not a whole number of work tiles",
                f"{size} elements",
                f"a multiple of {block}, the elements that one work tile covers",
            )
        covered = ceil_div(shape[dim], block)
        if parts > 1 and covered != extent:
            reason = f"{where} ({role}): its work tiles are not those of the launch grid"
            found = f"{covered} work tiles of {block} elements"
            return Misfit(Code.LAYOUT_UNSUPPORTED, reason, found, f"{extent}, as the launch grid has along {role}")
    return None
