"""Regions of tensors, and integers that are the same for all elements, as the tile program has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import arith, tirx

from ...errors import Code, SourceLocation, UnsupportedError
from ...formats import TILE
from ...language import tile_ops
from ...transform.grid_to_persistent_tt import is_one
from ..cexpr import Names, cexpr
from ..tile_program.expressions import BlockTile, Broadcast, Picked, Shift, TensorBlock, TileExpr
from ..tile_program.statements import Map, ReadScalar, Window
from .access import Access, access
from .parts import Part, part_of
from .windows import Bounds, bounds


@dataclass(frozen=True)
class Regions:
    """How a kernel indexes its tensors; ``analyzer`` knows what its variables may be."""

    analyzer: arith.Analyzer
    names: Names
    float16_as: str | None
    """What float16 is computed as, where that is not float16."""

    shapes: Mapping[str, Sequence[int]]
    """The sizes of on-chip buffers, in elements, that are larger than the kernel says."""

    def access(self, buffer: tirx.Buffer, indices: Sequence[Any], loops: Sequence[tirx.For]) -> Access:
        """How ``buffer[indices]`` moves with the parallel loops."""
        return access(buffer, indices, loops, self.analyzer)

    def scalar(self, expr: Any) -> str:
        """An integer that is the same for all elements, as a C++ expression."""
        return cexpr(self.analyzer.simplify(expr), self.names)

    def tensor_block(self, region: tile_ops.Region, *, partly: bool = False) -> TensorBlock:
        """A region of a tensor in hardware tiles, or one row, one column or one element of it.

        ``partly``: of the last tiles a part may be meant.

        Raises:
            UnsupportedError: ``unsupported``, unless it is whole tiles, or as many elements, of one matrix along the
                rest.
        """
        shape: list[Any] = list(region.buffer.shape)
        mins, extents = list(region.mins), list(region.extents)
        is_vector = len(shape) == 1 and extents[0] > 1
        if len(shape) == 1:
            shape = [tirx.IntImm("int32", 1), *shape]
            mins, extents = [tirx.IntImm("int32", 0), *mins], [1, *extents]
        if any(extent != 1 for extent in extents[:-2]):
            raise refused(
                f"a block of {region.name} spans several matrices",
                region.name,
                found=extents,
                expected="the last two dimensions",
            )
        tensor_tiles = [self.analyzer.simplify(_tiles_along(size)) for size in shape[-2:]]
        if not partly:
            self._check_whole_tiles(region)
        rows, cols = (-(-extent // TILE) for extent in extents[-2:])
        past = [self._may_reach_past(*axis) for axis in zip(mins[-2:], extents[-2:], shape[-2:], strict=True)]
        return TensorBlock(
            tensor=region.name,
            leading=self.scalar(_matrix_number(mins, shape)),
            row=self._tile_index(mins[-2]),
            col=self._tile_index(mins[-1]),
            rows=rows,
            cols=cols,
            tensor_rows=self.scalar(tensor_tiles[0]),
            tensor_cols=self.scalar(tensor_tiles[1]),
            is_vector=is_vector,
            past_rows=past[0],
            past_cols=past[1],
            leading_inside=self.inside(mins[:-2], shape[:-2]),
            picked=None if is_vector else self._picked(mins[-2:], extents[-2:], shape[-2:]),
            shift=self._shift(mins[-2:], extents[-2:]),
            last_rows=self._in_last_tile(shape[-2]),
            last_cols=self._in_last_tile(shape[-1]),
        )

    def read_scalar(self, load: tirx.BufferLoad, var: str, location: SourceLocation | None) -> ReadScalar:
        """The statement that reads an element of a tensor."""
        indices, shape = [self.analyzer.simplify(index) for index in load.indices], list(load.buffer.shape)
        page, row, col = (self.scalar(expr) for expr in place_of(indices, shape))
        inside = self.inside(indices, shape) or None
        return ReadScalar(var, str(load.buffer.name), page, row, col, inside, location)

    def _in_last_tile(self, size: Any) -> str:
        """How many of ``size`` elements lie in the last hardware tile, as a C++ expression."""
        return self.scalar(tirx.floormod(size + (TILE - 1), TILE) + 1)

    def _may_reach_past(self, first: Any, extent: int, size: Any) -> bool:
        """Whether a block may have tiles past those of a tensor of ``size`` elements."""
        covered = 1 if extent == 1 else -(-extent // TILE) * TILE
        end = _tiles_along(size) * TILE
        return not (self.analyzer.can_prove(first >= 0) and self.analyzer.can_prove(first + covered <= end))

    def _picked(self, mins: Sequence[Any], extents: Sequence[int], shape: Sequence[Any]) -> Picked | None:
        """The row, column or element that a block of extent 1 is."""
        if all(extent > 1 for extent in extents):
            return None
        tile = tirx.IntImm("int32", TILE)
        row, col = (
            self.scalar(tirx.floormod(first, tile)) if extent == 1 else None
            for first, extent in zip(mins, extents, strict=True)
        )
        return Picked(row, col, all(is_one(size) for size, extent in zip(shape, extents, strict=True) if extent == 1))

    def inside(self, indices: Sequence[Any], shape: Sequence[Any]) -> str:
        """Which of ``indices`` have to be below ``shape`` when the kernel runs, as a C++ condition; "" where all are
        known to be."""
        return " && ".join(
            f"uint32_t({self.scalar(index)}) < {self.scalar(size)}"
            for index, size in zip(indices, shape, strict=True)
            if not (self.analyzer.can_prove(index >= 0) and self.analyzer.can_prove(index < size))
        )

    def _tile_index(self, index: tirx.PrimExpr) -> str:
        return self.scalar(tirx.floordiv(index, tirx.IntImm("int32", TILE)))

    def _shift(self, mins: Sequence[Any], extents: Sequence[int]) -> Shift | None:
        """How far inside hardware tiles a block begins; of a row, a column or an element :class:`Picked` says it."""
        zero, tile = tirx.IntImm("int32", 0), tirx.IntImm("int32", TILE)
        inside = [
            tirx.floormod(first, tile) if extent > 1 else zero for first, extent in zip(mins, extents, strict=True)
        ]
        rows, cols = ("0" if self.analyzer.can_prove_equal(each, zero) else self.scalar(each) for each in inside)
        return None if rows == cols == "0" else Shift(rows, cols)

    def _of_other_size(self, region: tile_ops.Region) -> int | None:
        """An extent of a block that is not whole hardware tiles, nor reaches the tensor's end; None where there is
        none."""
        for first, extent, size in list(zip(region.mins, region.extents, region.buffer.shape, strict=True))[-2:]:
            if extent > 1 and extent % TILE and not self.analyzer.can_prove(first + extent >= size):
                return extent
        return None

    def _check_whole_tiles(self, region: tile_ops.Region) -> None:
        extent = self._of_other_size(region)
        if extent is not None:
            raise refused(
                f"a block of {region.name} is not whole hardware tiles",
                region.name,
                found=f"{extent} elements",
                expected=f"a multiple of {TILE}",
            )

    def made_of_tiles(self, region: tile_ops.Region) -> bool:
        """Whether a block of a tensor has hardware tiles of its own, or is a row, a column or an element."""
        mins, extents = [tirx.IntImm("int32", 0), *region.mins][-2:], [1, *region.extents][-2:]
        return self._of_other_size(region) is None and self._shift(mins, extents) is None

    def window(
        self,
        region: tile_ops.Region,
        conditions: Sequence[Any] = (),
        loops: Sequence[tirx.For] = (),
        moving: Sequence[int | None] | None = None,
    ) -> Window:
        """The elements of a block of a tensor that a store under ``conditions`` writes.

        ``moving``: of every dimension the one of ``loops`` that moves along it.

        Raises:
            UnsupportedError: ``unsupported``, for conditions that no rectangle of elements fulfils.
        """
        found = bounds(conditions, loops, self.analyzer)
        if found is None:
            raise refused(
                f"{region.name} is stored under a condition, in blocks that are not made of hardware tiles",
                region.name,
                found=" and ".join(map(str, conditions)),
                expected="comparisons of one index each with what is the same for all elements",
            )
        ones = Bounds(tirx.IntImm("int32", 0), tirx.IntImm("int32", 1))
        along = [
            Bounds(tirx.IntImm("int32", 0), tirx.IntImm("int32", extent)) if number is None else found[number]
            for number, extent in zip(moving or [None] * len(region.extents), region.extents, strict=True)
        ]
        rows, cols = [ones, ones, *along][-2:]
        return Window(*(self.scalar(each) for each in (rows.first, rows.end, cols.first, cols.end)))

    def is_whole(self, region: tile_ops.Region) -> bool:
        """Whether a region of an on-chip buffer is all of it."""
        first_ones = all(isinstance(first, tirx.IntImm) and int(first) == 0 for first in region.mins)
        return first_ones and list(region.extents) == [int(size) for size in region.buffer.shape]

    def part(self, region: tile_ops.Region) -> Part | None:
        """A region of an on-chip buffer in hardware tiles; None for all of it.

        Raises:
            UnsupportedError: ``unsupported``, unless it begins at tiles of the buffer or is a row, column or element.
        """
        own = [int(size) for size in region.buffer.shape]
        return part_of(region, self.shapes.get(region.name, own), self.analyzer, self.scalar)

    def read(self, region: tile_ops.Region, broadcast: Broadcast = "", *, transposed: bool = False) -> BlockTile:
        """A region of an on-chip buffer as an expression."""
        part = self.part(region)
        if part is None:
            return BlockTile(region.name, broadcast, transposed)
        return BlockTile(region.name, broadcast, transposed, part.rectangle, part.picked)

    def write(
        self, region: tile_ops.Region, value: Callable[[Broadcast], TileExpr], location: SourceLocation | None
    ) -> Map:
        """The statement that sets a region of an on-chip buffer to ``value``, which is asked for as it is to lie."""
        part = self.part(region)
        if part is None:
            return Map(region.name, value(""), location)
        return Map(region.name, part.kept(region.name, value(part.lies)), location, part.rectangle)


def place_of(indices: Sequence[Any], shape: Sequence[Any]) -> tuple[Any, Any, Any]:
    """The page (hardware tile) of a tensor that an element lies in, and its row and column there."""
    zero, tile = tirx.IntImm("int32", 0), tirx.IntImm("int32", TILE)
    indices = [zero] * (2 - len(indices)) + list(indices)
    shape = [tile] * (2 - len(shape)) + list(shape)
    rows, cols = map(_tiles_along, shape[-2:])
    row, col = (tirx.floordiv(index, tile) for index in indices[-2:])
    page = (_matrix_number(indices, shape) * rows + row) * cols + col
    return page, *(tirx.floormod(index, tile) for index in indices[-2:])


def _matrix_number(indices: Sequence[Any], shape: Sequence[Any]) -> Any:
    """Which of the matrices that the leading dimensions count ``indices`` lie in."""
    number: Any = tirx.IntImm("int32", 0)
    for index, size in zip(indices[:-2], shape[:-2], strict=True):
        number = number * size + index
    return number


def _tiles_along(size: Any) -> Any:
    """The hardware tiles of ``size`` elements."""
    return tirx.floordiv(size + (TILE - 1), TILE)


def refused(
    message: str, subject: str, *, found: object = None, expected: object = None, hint: str | None = None
) -> UnsupportedError:
    """The error for a construct that has no lowering."""
    return UnsupportedError(Code.UNSUPPORTED, message, subject=subject, found=found, expected=expected, hint=hint)
