"""From a sharded tensor to the work plane: which work tiles each of its shards belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from .._plain import ceil_div
from ..devices import Core, Device
from ..errors import Code, LayoutError
from .placement import ShardHolders, shard_holders
from .shards import StoredShards, check_shards, stored_shards, tile_sizes
from .types import BufferLayout, Memory, NdShard


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
        projected_grid: [Gy, Gx], the number of shards along M (batches one below the other) and along N; 1 on an axis
            that it does not have.
        projected_shard_tiles: hardware tiles of one shard along M and along N; 1 on an axis that it does not have.
        shard_work_tiles: (Sm, Sn), the work tiles of one shard along M and along N, the whole extent of the plane where
            the buffer is not cut; None for shards that do not line up.
        misfit: why the shards do not line up with the work grid; None when they do.
        nd_shard: the layout it came from.
        memory: where it lives.
        stored: the shards as they are stored.
        strides: how far apart the numbers of shards are that are neighbours along batches, M and N; 0 where not cut.
        rows_per_batch: shards along M of one batch.
    """

    buffer: str
    projected_grid: tuple[int, int]
    projected_shard_tiles: tuple[int, int]
    shard_work_tiles: tuple[int, int] | None
    misfit: Misfit | None
    nd_shard: NdShard
    memory: Memory
    stored: StoredShards
    strides: tuple[int, int, int]
    rows_per_batch: int

    @property
    def lined_up(self) -> bool:
        """Whether every shard is a rectangle of whole work tiles."""
        return self.misfit is None

    @property
    def reason(self) -> str | None:
        """Why the shards do not line up, or None when they do."""
        return None if self.misfit is None else self.misfit.reason

    @property
    def row_axis(self) -> str | None:
        """The plane axis ("M" or "N") along which a stored matrix is cut in rows; None where it is not cut."""
        return self._axis(0, self.stored.grid[-1])

    @property
    def column_axis(self) -> str | None:
        """The plane axis along which a stored matrix is cut in columns; None where it is not cut."""
        return self._axis(1, 1)

    def _axis(self, dim: int, stride: int) -> str | None:
        if self.stored.grid[dim] == 1:
            return None
        return "M" if self._stride_along_m == stride else "N" if self.strides[2] == stride else None

    @property
    def _stride_along_m(self) -> int | None:
        """How far apart the numbers of shards are that are neighbours along M; None where that varies."""
        batch, rows, _ = self.strides
        if batch and rows:
            return rows if batch == rows * self.rows_per_batch else None
        return batch or rows

    @property
    def in_place(self) -> bool:
        """Whether a core finds every tile of its shard by its row and column: the shards are blocks of a matrix."""
        axes = ((self.stored.grid[0], self.row_axis), (self.stored.grid[-1], self.column_axis))
        return self.lined_up and self.stored.is_matrix and all(parts == 1 or axis for parts, axis in axes)

    @property
    def in_plane_order(self) -> bool:
        """Whether shards are numbered row by row over the projected grid too."""
        gy, gx = self.projected_grid
        return (gy == 1 or self._stride_along_m == gx) and (gx == 1 or self.strides[2] == 1)

    def holders(self, device: Device) -> ShardHolders:
        """Which core, or DRAM bank, holds which shard, numbered row by row as they are stored.

        Raises :class:`PartitionError` (``too-many-shards``) and :class:`DeviceError` (``core-off-device``,
        ``core-ranges-overlap``).
        """
        return shard_holders(self.stored.grid, self.nd_shard, self.memory, device, subject=f"buffer {self.buffer!r}")

    def storage_cores(self, device: Device) -> tuple[Core, ...]:
        """The core, or (bank, 0), of every shard, numbered row by row as they are stored. Raises as above."""
        holders = self.holders(device)
        return tuple(holders.core_of(shard) for shard in range(holders.shards))

    def plane_cores(self, device: Device) -> tuple[Core, ...]:
        """The core of every shard that lines up, numbered row by row over the projected grid. Raises as above."""
        holders, (batch, rows, columns) = self.holders(device), self.strides
        gy, gx = self.projected_grid
        places = (divmod(sy, self.rows_per_batch) for sy in range(gy))
        starts = [batch * b + rows * row for b, row in places]
        return tuple(holders.core_of(start + sx * columns) for start in starts for sx in range(gx))


def project(
    name: str,
    layout: BufferLayout,
    shape: Sequence[int],
    roles: Sequence[str],
    block_elems: Sequence[int],
    grid_tiles: tuple[int, int],
    batch_tiles: int | None = None,
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
        batch_tiles: work tiles along M of one batch; all of them by default.

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
    # Only a dimension that batches move along stands for them.
    dims = {axis: axes.index(axis) if axis in axes else None for axis in ("M", "N")}
    dims["B"] = roles.index("B") if "B" in roles else None
    fit = _Fit(name, shard, shape, roles, block_elems, grid_tiles, batch_tiles or grid_tiles[0])
    misfit = fit.misfit()
    sizes = tile_sizes(len(shape))
    tiles = [ceil_div(size, tile) for size, tile in zip(shard.shard_shape_elems, sizes, strict=True)]

    def along(axis: str, values: Sequence[int]) -> int:
        return 1 if (dim := dims[axis]) is None else values[dim]

    def stride(axis: str) -> int:
        return 0 if (dim := dims[axis]) is None or shard.grid[dim] == 1 else prod(shard.grid[dim + 1 :])

    rows_per_batch = along("M", shard.grid)
    projection = Projection(
        buffer=name,
        projected_grid=(along("B", shard.grid) * rows_per_batch, along("N", shard.grid)),
        projected_shard_tiles=(along("B", tiles) * along("M", tiles), along("N", tiles)),
        shard_work_tiles=None if misfit else fit.shard_work_tiles(),
        misfit=misfit,
        nd_shard=shard,
        memory=layout.memory,
        stored=stored_shards(shard, shape),
        strides=(stride("B"), stride("M"), stride("N")),
        rows_per_batch=rows_per_batch,
    )
    return projection if misfit else _dealt_in_order(projection)


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


def _dealt_in_order(projection: Projection) -> Projection:
    """Cores with several shards work on them in the order of their numbers, which must be that of the plane."""
    dealt = projection.memory == "L1" and projection.nd_shard.distribution != "one_per_core"
    if not dealt or projection.in_plane_order:
        return projection
    misfit = Misfit(
        Code.LAYOUT_UNSUPPORTED,
        f"buffer {projection.buffer!r}: its shards are dealt out to cores in another order than that of the work plane",
        f"distribution {projection.nd_shard.distribution} of shards numbered along M first",
        "shards numbered along N first, or one per core",
    )
    return replace(projection, misfit=misfit, shard_work_tiles=None)


@dataclass(frozen=True)
class _Fit:
    """Whether the shards of a buffer are rectangles of whole work tiles; the fields are :func:`project`'s arguments."""

    name: str
    shard: NdShard
    shape: tuple[int, ...]
    roles: tuple[str, ...]
    block_elems: tuple[int, ...]
    grid_tiles: tuple[int, int]
    batch_tiles: int

    def misfit(self) -> Misfit | None:
        """Why they are not, or None where they are."""
        words = {"K": "the reduction axis K", "": "a dimension that every work tile takes whole"}
        for dim, (role, parts) in enumerate(zip(self.roles, self.shard.grid, strict=True)):
            second_batch = role == "B" and "B" in self.roles[:dim]
            if role in words or second_batch:
                if parts > 1:
                    reason = f"{self._where(dim)}: cut along {words.get(role, 'a second batch dimension')}"
                    return Misfit(Code.LAYOUT_UNSUPPORTED, reason, f"{parts} shards", "1 shard")
                continue
            found = self._partial_tiles(dim, role) or self._other_tiles(dim, role)
            if found is not None:
                return found
        return self._no_rectangles()

    def shard_work_tiles(self) -> tuple[int, int]:
        """(Sm, Sn) where they are; the whole extent of the plane along an axis that is not cut."""
        mt, nt = self.grid_tiles
        rows = self._work_tiles("M") or (self.batch_tiles if self._work_tiles("B") else mt)
        return rows * (self._work_tiles("B") or 1), self._work_tiles("N") or nt

    def _work_tiles(self, axis: str) -> int | None:
        """Work tiles of one shard along an axis that the buffer is cut along, else None."""
        for role, parts, size, block in zip(
            self.roles, self.shard.grid, self.shard.shard_shape_elems, self.block_elems, strict=True
        ):
            if role == axis and parts > 1:
                return size // block
        return None

    def _where(self, dim: int) -> str:
        return f"buffer {self.name!r}, dimension {dim}"

    def _partial_tiles(self, dim: int, role: str) -> Misfit | None:
        size, block = self.shard.shard_shape_elems[dim], self.block_elems[dim]
        if size % block == 0 or (role == "B" and self.shard.grid[dim] == 1):
            return None
        return Misfit(
            Code.SHARD_NOT_WORK_TILES,
            f"{self._where(dim)} ({role}): a shard is not a whole number of work tiles",
            f"{size} elements",
            f"a multiple of {block}, the elements that one work tile covers",
        )

    def _other_tiles(self, dim: int, role: str) -> Misfit | None:
        """A buffer that is cut must have the work tiles of the launch grid along that axis, no more and no fewer."""
        (mt, nt), block = self.grid_tiles, self.block_elems[dim]
        batched = self._work_tiles("B") is not None
        extent = {"M": self.batch_tiles if batched else mt, "N": nt, "B": mt // self.batch_tiles}[role]
        covered = ceil_div(self.shape[dim], block)
        if self.shard.grid[dim] == 1 or covered == extent:
            return None
        axis = "the batch axis B" if role == "B" else role
        return Misfit(
            Code.LAYOUT_UNSUPPORTED,
            f"{self._where(dim)} ({axis}): its work tiles are not those of the launch grid",
            f"{covered} work tiles of {block} elements",
            f"{extent}, as the launch grid has along {role}",
        )

    def _no_rectangles(self) -> Misfit | None:
        """Rows of several batches are no rectangle of the plane, and shards at a batch's end must not be shorter."""
        batches, rows = self._work_tiles("B"), self._work_tiles("M")
        if batches is None or rows is None or (batches == 1 and self.batch_tiles % rows == 0):
            return None
        return Misfit(
            Code.LAYOUT_UNSUPPORTED,
            f"buffer {self.name!r}: its shards are no rectangles of the plane, in which batches follow one another",
            f"shards of {batches} batches and {rows} of {self.batch_tiles} work tiles along M",
            "1 batch, and a divisor of its work tiles; or whole batches",
        )
