"""Tile operations (T.copy, T.gemm, ...) as statements of the tile program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import SourceLocation
from ...language import tile_ops
from ..tile_program.expressions import Block, BlockTile
from ..tile_program.statements import Gemm, Load, Map, Reduce, Statement, Store
from . import cumsum
from .elements import element_expr
from .regions import Regions, check_whole, refused

REDUCTIONS = ("sum", "max", "min", "abssum", "absmax")


@dataclass(frozen=True)
class Operations:
    """The tile operations of one kernel on its on-chip buffers, ``blocks``, to which they may add."""

    regions: Regions
    blocks: dict[str, Block]

    def statements(self, op: tile_ops.TileOp, location: SourceLocation | None) -> list[Statement]:
        """What ``op`` does.

        Raises:
            UnsupportedError: ``unsupported``, for operands that it has no lowering for.
        """
        if isinstance(op, tile_ops.CopyOp):
            return self._copy(op, location)
        if isinstance(op, tile_ops.FillOp):
            return [self._fill(op, location)]
        if isinstance(op, tile_ops.ReduceOp):
            return self._reduce(op, location)
        if isinstance(op, tile_ops.TransposeOp):
            return [self._transpose(op, location)]
        if isinstance(op, tile_ops.CumsumOp):
            return self._cumsum(op, location)
        return self._gemm(op, location)

    def _copy(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> list[Statement]:
        _check_same_size(op.src, op.dst)
        if op.src.is_global and op.dst.is_global:
            return self._copy_through_l1(op, location)
        if op.src.is_global:
            check_whole(op.dst)
            return [Load(self.regions.tensor_block(op.src), op.dst.name, location)]
        value = BlockTile(op.src.name, part=self.regions.part(op.src))
        if op.dst.is_global:
            return [Store(value, self.regions.tensor_block(op.dst), location)]
        check_whole(op.dst)
        return [Map(op.dst.name, value, location)]

    def _copy_through_l1(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> list[Statement]:
        """From tensor to tensor, by way of an on-chip buffer of the region's size."""
        sizes = [extent for extent in op.src.extents if extent != 1]
        if len(sizes) not in (1, 2):
            raise refused("a copy from tensor to tensor is not of a vector or matrix", op.src.name, found=sizes)
        name = self._new_block(f"{op.src.name}_to_{op.dst.name}", sizes, str(op.src.buffer.dtype))
        return [
            Load(self.regions.tensor_block(op.src), name, location),
            Store(BlockTile(name), self.regions.tensor_block(op.dst), location),
        ]

    def _new_block(self, name: str, shape: Sequence[int], dtype: str) -> str:
        """The name of an on-chip buffer that the kernel does not have."""
        while name in self.blocks:
            name += "_"
        self.blocks[name] = Block.of_shape(name, shape, dtype)
        return name

    def _operand(self, region: tile_ops.Region, location: SourceLocation | None) -> tuple[str, list[Statement]]:
        """The on-chip buffer that ``region`` is: of a part of one, a buffer of its own, and what makes it so."""
        part = self.regions.part(region)
        if part is None:
            return region.name, []
        name = self._new_block(f"{region.name}_part", region.extents, str(region.buffer.dtype))
        return name, [Map(name, BlockTile(region.name, part=part), location)]

    def _fill(self, op: tile_ops.FillOp, location: SourceLocation | None) -> Statement:
        check_whole(op.dst)
        return Map(op.dst.name, element_expr(op.value, [], self.regions), location)

    def _reduce(self, op: tile_ops.ReduceOp, location: SourceLocation | None) -> list[Statement]:
        if op.kind not in REDUCTIONS:
            raise refused(f"T.reduce_{op.kind} is not supported", op.kind, expected=", ".join(REDUCTIONS))
        check_whole(op.dst)
        _check_floats(f"T.reduce_{op.kind}", op.src, op.dst)
        name, before = self._operand(op.src, location)
        src, dst = self.blocks[name], self.blocks[op.dst.name]
        moving = [axis for axis, size in enumerate(op.src.extents) if size > 1]
        to_vector = not src.is_vector and dst.is_vector and dst.lies != "all"
        to_element = src.is_vector and dst.lies == "all" and moving == [op.dim % len(op.src.extents)]
        if not to_vector and not to_element:
            found = f"{list(op.src.extents)} to {list(op.dst.extents)}"
            raise refused(
                "a reduction takes a matrix to a vector, or a vector to one element", op.src.name, found=found
            )
        return [*before, Reduce(name, op.dst.name, op.kind, op.dim if to_vector else None, op.clear, location)]

    def _transpose(self, op: tile_ops.TransposeOp, location: SourceLocation | None) -> Statement:
        for region in (op.src, op.dst):
            if region.is_global:
                raise refused("T.transpose of a tensor is not supported", region.name, hint="copy it first")
        check_whole(op.dst)
        turns = not self.blocks[op.src.name].is_vector
        return Map(op.dst.name, BlockTile(op.src.name, transposed=turns, part=self.regions.part(op.src)), location)

    def _cumsum(self, op: tile_ops.CumsumOp, location: SourceLocation | None) -> list[Statement]:
        check_whole(op.dst)
        _check_floats("T.cumsum", op.src, op.dst)
        _check_same_size(op.src, op.dst)
        for region in (op.src, op.dst):
            if region.is_global:
                raise refused("T.cumsum of a tensor is not supported", region.name, hint="copy it first")
        name, before = self._operand(op.src, location)
        src, dtype = self.blocks[name], str(op.src.buffer.dtype)
        along = op.src.extents[op.dim]
        if src.is_vector:
            if along == 1:
                return [*before, Map(op.dst.name, BlockTile(name), location)]
            square = self._new_block(f"{name}_counted", (along, along), dtype)
            return [*before, *cumsum.of_vector(name, square, op.dst.name, reverse=op.reverse, location=location)]
        if name == op.dst.name:
            name = self._new_block(f"{op.src.name}_terms", op.src.extents, dtype)
            before = [Map(name, BlockTile(op.src.name), location)]
        ones = self._new_block(f"{op.src.name}_triangle", (along, along), dtype)
        sums = cumsum.of_matrix(name, ones, op.dst.name, dim=op.dim, reverse=op.reverse, location=location)
        return [*before, *sums]

    def _gemm(self, op: tile_ops.GemmOp, location: SourceLocation | None) -> list[Statement]:
        for region in (op.a, op.b, op.c):
            if region.is_global:
                raise refused(
                    "T.gemm on a tensor is not supported", region.name, hint="copy it to a shared buffer first"
                )
        check_whole(op.c)
        _check_floats("T.gemm", op.a, op.b, op.c)
        (a, making_a), (b, making_b) = (self._operand(region, location) for region in (op.a, op.b))
        product = Gemm(a, b, op.c.name, op.transpose_a, op.transpose_b, op.clear_accum, location)
        return [*making_a, *making_b, product]


def _check_same_size(src: tile_ops.Region, dst: tile_ops.Region) -> None:
    sizes = [[extent for extent in region.extents if extent != 1] for region in (src, dst)]
    if sizes[0] != sizes[1]:
        raise refused(
            f"T.copy from {src.name} to {dst.name}: the regions differ in size",
            src.name,
            found=f"{list(src.extents)} to {list(dst.extents)}",
            expected="regions of one size",
        )


def _check_floats(construct: str, *regions: tile_ops.Region) -> None:
    """The matrix engine computes with floats."""
    for region in regions:
        if str(region.buffer.dtype) == "int32":
            raise refused(f"{construct} of int32 is not supported", region.name, found="dtype int32", expected="floats")
