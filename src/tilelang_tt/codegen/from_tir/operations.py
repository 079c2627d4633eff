"""Tile operations (T.copy, T.gemm, ...) as statements of the tile program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tvm import tirx

from ...errors import SourceLocation
from ...language import tile_ops
from ..tile_program.expressions import Block, BlockTile, TensorTile, TileExpr, Unary
from ..tile_program.statements import Gemm, Load, Map, Reduce, Statement, Store
from . import cumsum
from .elements import element_expr
from .matrices import dimensions, matrix_by_matrix
from .regions import Regions, refused

REDUCTIONS = ("sum", "max", "min", "abssum", "absmax")


@dataclass(frozen=True)
class Operations:
    """The tile operations of one kernel on its on-chip buffers, ``blocks``, to which they may add."""

    regions: Regions
    blocks: dict[str, Block]
    parts: dict[tuple[str, tuple[int, ...], str], str] = field(default_factory=dict)
    """The buffers that operations take parts of others to, by role, size and dtype: no two hold them at once."""

    def statements(self, op: tile_ops.TileOp, location: SourceLocation | None) -> list[Statement]:
        """What ``op`` does.

        Raises:
            UnsupportedError: ``unsupported``, for operands that it has no lowering for.
        """
        if isinstance(op, tile_ops.CopyOp):
            return self._copy(op, location)
        if isinstance(op, tile_ops.FillOp):
            return self._fill(op, location)
        if isinstance(op, tile_ops.ReduceOp):
            return self._reduce(op, location)
        if isinstance(op, tile_ops.TransposeOp):
            return [self._transpose(op, location)]
        if isinstance(op, tile_ops.CumsumOp):
            return self._cumsum(op, location)
        return self._gemm(op, location)

    def _copy(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> list[Statement]:
        _check_same_size(op.src, op.dst)
        if len(dimensions(op.src)) > 2 and not (self._is_whole(op.src) and self._is_whole(op.dst)):

            def copy(src: tile_ops.Region, dst: tile_ops.Region) -> list[Statement]:
                return self._copy(replace(op, src=src, dst=dst), location)

            return [matrix_by_matrix((op.src, op.dst), self.regions, copy)]
        if op.src.is_global and op.dst.is_global:
            return self._copy_through_l1(op, location)
        if op.src.is_global:
            source = self.regions.tensor_block(op.src)
            if self.regions.part(op.dst) is None:
                return [Load(source, op.dst.name, location)]
            return [self.regions.write(op.dst, lambda lies: _converted(TensorTile(source, lies), op), location)]
        if op.dst.is_global:
            return [self._store(self.regions.read(op.src), op.dst, location)]
        if self.regions.part(op.dst) is None:
            return [Map(op.dst.name, self.regions.read(op.src), location)]
        return [self.regions.write(op.dst, lambda lies: _converted(self.regions.read(op.src, lies), op), location)]

    def _store(self, value: TileExpr, target: tile_ops.Region, location: SourceLocation | None) -> Store:
        """``value`` to all of a block of a tensor."""
        if self.regions.made_of_tiles(target):
            return Store(value, self.regions.tensor_block(target), location)
        return Store(value, self.regions.tensor_block(target, partly=True), location, self.regions.window(target))

    def _copy_through_l1(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> list[Statement]:
        """From tensor to tensor, by way of an on-chip buffer of the region's size."""
        sizes = [extent for extent in op.src.extents if extent != 1]
        if len(sizes) not in (1, 2):
            raise refused("a copy from tensor to tensor is not of a vector or matrix", op.src.name, found=sizes)
        name = self._new_block(f"{op.src.name}_to_{op.dst.name}", sizes, str(op.src.buffer.dtype))
        return [
            Load(self.regions.tensor_block(op.src), name, location),
            self._store(BlockTile(name), op.dst, location),
        ]

    def new_buffer(self, shape: Sequence[int], dtype: str) -> tirx.Buffer:
        """An on-chip buffer that the kernel does not have, for values that are kept."""
        return tirx.decl_buffer(shape, dtype, self._new_block("kept", shape, dtype), scope="local.fragment")

    def _new_block(self, name: str, shape: Sequence[int], dtype: str) -> str:
        """The name of an on-chip buffer that the kernel does not have."""
        while name in self.blocks:
            name += "_"
        self.blocks[name] = Block.of_shape(name, shape, dtype)
        return name

    def _operand(
        self, region: tile_ops.Region, location: SourceLocation | None, role: str = "part"
    ) -> tuple[str, list[Statement]]:
        """The on-chip buffer that ``region`` is: of a part of one, a buffer for its ``role`` in an operation, and what
        makes it so."""
        _check_matrix(region)
        if self.regions.part(region) is None:
            return region.name, []
        kind = (role, region.extents, self.blocks[region.name].dtype)
        if kind not in self.parts:
            self.parts[kind] = self._new_block("_".join(map(str, (role, *region.extents))), *kind[1:])
        name = self.parts[kind]
        return name, [Map(name, self.regions.read(region), location)]

    def _result(
        self, region: tile_ops.Region, location: SourceLocation | None, *, clear: bool
    ) -> tuple[str, list[Statement], list[Statement]]:
        """The on-chip buffer that ``region`` is, which is written: of a part of one, a buffer of its own, what brings
        to it what the part holds unless that is to ``clear``, and what takes it to the part."""
        name, before = self._operand(region, location, "result")
        if name == region.name:
            return name, [], []
        after = self.regions.write(region, lambda lies: BlockTile(name, lies), location)
        return name, [] if clear else before, [after]

    def _is_whole(self, region: tile_ops.Region) -> bool:
        return not region.is_global and self.regions.is_whole(region)

    def _fill(self, op: tile_ops.FillOp, location: SourceLocation | None) -> list[Statement]:
        if len(dimensions(op.dst)) > 2 and not self._is_whole(op.dst):
            return [matrix_by_matrix((op.dst,), self.regions, lambda dst: self._fill(replace(op, dst=dst), location))]
        return [self.regions.write(op.dst, lambda _: element_expr(op.value, [], self.regions), location)]

    def _reduce(self, op: tile_ops.ReduceOp, location: SourceLocation | None) -> list[Statement]:
        if op.kind not in REDUCTIONS:
            raise refused(f"T.reduce_{op.kind} is not supported", op.kind, expected=", ".join(REDUCTIONS))
        _check_floats(f"T.reduce_{op.kind}", op.src, op.dst)
        dim, moving = op.dim % len(op.src.extents), dimensions(op.src)
        left = [op.src.extents[axis] for axis in moving if axis != dim]
        if len(moving) > 2 and dim != moving[0] and left == [op.dst.extents[axis] for axis in dimensions(op.dst)]:

            def reduce(src: tile_ops.Region, dst: tile_ops.Region) -> list[Statement]:
                return self._reduce(replace(op, src=src, dst=dst), location)

            return [matrix_by_matrix((op.src, op.dst), self.regions, reduce)]
        name, before = self._operand(op.src, location)
        result, bringing, taking = self._result(op.dst, location, clear=op.clear)
        src, dst = self.blocks[name], self.blocks[result]
        to_vector = not src.is_vector and dst.is_vector and dst.lies != "all"
        to_element = src.is_vector and dst.lies == "all" and moving == [dim]
        if not to_vector and not to_element:
            found = f"{list(op.src.extents)} to {list(op.dst.extents)}"
            raise refused(
                "a reduction takes a matrix to a vector, or a vector to one element", op.src.name, found=found
            )
        axis = moving.index(dim) if to_vector else None
        return [*before, *bringing, Reduce(name, result, op.kind, axis, op.clear, location), *taking]

    def _transpose(self, op: tile_ops.TransposeOp, location: SourceLocation | None) -> Statement:
        for region in (op.src, op.dst):
            if region.is_global:
                raise refused("T.transpose of a tensor is not supported", region.name, hint="copy it first")
            _check_matrix(region)
        turns = len(dimensions(op.src)) > 1
        return self.regions.write(op.dst, lambda lies: self.regions.read(op.src, lies, transposed=turns), location)

    def _cumsum(self, op: tile_ops.CumsumOp, location: SourceLocation | None) -> list[Statement]:
        _check_floats("T.cumsum", op.src, op.dst)
        _check_same_size(op.src, op.dst)
        for region in (op.src, op.dst):
            if region.is_global:
                raise refused("T.cumsum of a tensor is not supported", region.name, hint="copy it first")
        name, before = self._operand(op.src, location)
        dst, _, taking = self._result(op.dst, location, clear=True)
        src, along = self.blocks[name], op.src.extents[op.dim]
        if src.is_vector:
            if along == 1:
                return [*before, Map(dst, BlockTile(name), location), *taking]
            square = self._new_block(f"{name}_counted", (along, along), src.dtype)
            sums = cumsum.of_vector(name, square, dst, reverse=op.reverse, location=location)
            return [*before, *sums, *taking]
        if name == dst:
            name = self._new_block(f"{op.src.name}_terms", op.src.extents, src.dtype)
            before = [Map(name, BlockTile(op.src.name), location)]
        ones = self._new_block(f"{op.src.name}_triangle", (along, along), src.dtype)
        dim = dimensions(op.src).index(op.dim)
        sums = cumsum.of_matrix(name, ones, dst, dim=dim, reverse=op.reverse, location=location)
        return [*before, *sums, *taking]

    def _gemm(self, op: tile_ops.GemmOp, location: SourceLocation | None) -> list[Statement]:
        for region in (op.a, op.b, op.c):
            if region.is_global:
                raise refused(
                    "T.gemm on a tensor is not supported", region.name, hint="copy it to a shared buffer first"
                )
        _check_floats("T.gemm", op.a, op.b, op.c)
        a, making_a = self._operand(op.a, location, "first")
        b, making_b = self._operand(op.b, location, "second")
        c, bringing, taking = self._result(op.c, location, clear=op.clear_accum)
        product = Gemm(a, b, c, op.transpose_a, op.transpose_b, op.clear_accum, location)
        return [*making_a, *making_b, *bringing, product, *taking]


def _converted(value: TileExpr, op: tile_ops.CopyOp) -> TileExpr:
    """``value`` of the source as the destination has it, a float or an integer."""
    integers = [str(region.buffer.dtype) == "int32" for region in (op.src, op.dst)]
    if integers[0] == integers[1]:
        return value
    return Unary("int32_to_float32" if integers[0] else "float32_to_int32", value)


def _check_matrix(region: tile_ops.Region) -> None:
    if len(dimensions(region)) > 2:
        found = list(region.extents)
        hint = "do it matrix by matrix, in a loop"
        raise refused(f"{region.name} is more than one matrix", region.name, found=found, hint=hint)


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
