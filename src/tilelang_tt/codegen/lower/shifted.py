"""Blocks of tensors that begin inside hardware tiles. Which does so may be known only when the kernel runs: one that
begins with a tile is read and written as any other.

The reader brings the tiles that a block lies in to memory of its own, and moves the block's elements from there to
whole tiles. The writer takes rows of elements straight to their places: other cores may write other rows of the tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...formats import TILE
from ..cexpr import plus, times
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.shifted_tiles import (
    COPY_ROWS_NAME,
    GATHER_TILE_NAME,
    IN_TILE_NAME,
    WRITE_ROWS_NAME,
    WRITE_SHIFTED_ROW_NAME,
)
from ..tile_program.expressions import Shift, TensorBlock
from ..tile_program.statements import Window
from .context import Context
from .gathers import element_bytes
from .values import Tiles


@dataclass(frozen=True)
class Landing:
    """Where the hardware tiles that a block lies in are read to.

    ``rows`` x ``cols`` of them, C++ expressions; tile (r, c) at the address ``tile``. ``begins_inside``: a condition
    for the block not to be these tiles, "" where it always is.
    """

    rows: str
    cols: str
    tile: str
    begins_inside: str = ""
    shift: Shift | None = None
    """Names of the numbers of rows and columns, "0" for none."""

    apart: int = 0
    """Bytes from a tile to the one below it."""


def landing(
    ctx: Context, name: str, source: TensorBlock, tiles: Tiles, buffer: CircularBuffer, address: str
) -> Landing:
    """Where ``source`` is read to that is loaded into ``tiles`` of ``buffer``, as ``name``."""
    in_place = f"{address} + ({tiles.index('r', 'c')}) * {buffer.page_size}"
    if source.shift is None:
        return Landing(str(source.rows), str(source.cols), in_place)
    element_bytes(ctx, source, buffer)
    rows, cols = (
        "0" if value == "0" else ctx.reader.define(f"{buffer.name}_{along}", value)
        for along, value in (("rows_in", source.shift.rows), ("cols_in", source.shift.cols))
    )
    across = source.cols + (cols != "0")
    pages = (source.rows + (rows != "0")) * across
    purpose = f"the hardware tiles that blocks of {source.tensor} lie in"
    memory = ctx.scratch(("shifted", name), f"{source.tensor}_shifted", pages * buffer.page_size, purpose)
    begins_inside = " || ".join(f"{value} > 0" for value in (rows, cols) if value != "0")
    own = f"{memory} + ({plus(times('r', across), 'c')}) * {buffer.page_size}"
    return Landing(
        rows=f"{source.rows}" if rows == "0" else f"{source.rows} + ({rows} > 0)",
        cols=f"{source.cols}" if cols == "0" else f"{source.cols} + ({cols} > 0)",
        tile=f"({begins_inside} ? {own} : {in_place})",
        begins_inside=begins_inside,
        shift=Shift(rows, cols),
        apart=across * buffer.page_size,
    )


def move(
    ctx: Context, source: TensorBlock, read_to: Landing, tiles: Tiles, buffer: CircularBuffer, address: str
) -> None:
    """The block's elements from the tiles it lies in to its own."""
    reader, shift, page = ctx.reader, read_to.shift, buffer.page_size
    if shift is None:
        return
    size = element_bytes(ctx, source, buffer)
    reader.open_branch(read_to.begins_inside)
    reader.open_loop("r", source.rows)
    reader.open_loop("c", source.cols)
    start = reader.define("from", read_to.tile)
    to = f"{address} + ({tiles.index('r', 'c')}) * {page}"
    if shift.cols == "0":
        reader.line(f"{COPY_ROWS_NAME}<{size}>({start}, {to}, -int32_t({shift.rows}));")
        reader.line(f"{COPY_ROWS_NAME}<{size}>({start} + {read_to.apart}, {to}, {TILE} - int32_t({shift.rows}));")
    else:
        first, end = ("0", "1") if source.is_vector else ("0", str(TILE))
        if source.picked is not None and source.picked.row is not None:
            first, end = source.picked.row, f"{source.picked.row} + 1"
        places = f"{start}, {read_to.apart}, {page}, {to}, {shift.rows}, {shift.cols}, {first}, {end}"
        reader.line(f"{GATHER_TILE_NAME}<{size}>({places});")
        if source.is_vector:
            reader.line(f"{metalium.ZERO_PAST_NAME}({to}, {size}, 1, {TILE});")
    reader.close_loop()
    reader.close_loop()
    if shift.cols == "0":
        reader.line("noc_async_read_barrier();")
    reader.close_branch()


def write_window(ctx: Context, target: TensorBlock, window: Window, tiles: Tiles, address: str, accessor: str) -> None:
    """The elements in ``window`` of finished ``tiles``, at ``address``, to their places in the tensor; no others."""
    writer, buffer = ctx.writer, tiles.cb
    assert buffer is not None
    bounds = {
        each: writer.define(f"{buffer.name}_{each}", getattr(window, each), "const int32_t")
        for each in ("first_row", "end_row", "first_col", "end_col")
    }
    shift = target.shift or Shift()
    rows, cols = (
        "0" if value == "0" else writer.define(f"{buffer.name}_{along}", value, "const int32_t")
        for along, value in (("rows_in", shift.rows), ("cols_in", shift.cols))
    )
    if cols == "0":
        _write_rows(ctx, target, tiles, buffer, address, accessor, rows, bounds)
    else:
        _write_shifted(ctx, target, tiles, buffer, address, accessor, Shift(rows, cols), bounds)


def _write_rows(
    ctx: Context,
    target: TensorBlock,
    tiles: Tiles,
    buffer: CircularBuffer,
    address: str,
    accessor: str,
    shift: str,
    bounds: dict[str, str],
) -> None:
    """Rows of tiles, several at a time, to the one or two tiles that they lie in."""
    writer, size = ctx.writer, element_bytes(ctx, target, buffer)
    writer.open_loop("r", target.rows)
    writer.open_loop("c", target.cols)
    first, end = (f"{IN_TILE_NAME}({bounds[each]}, r)" for each in ("first_row", "end_row"))
    left, right = (f"{IN_TILE_NAME}({bounds[each]}, c)" for each in ("first_col", "end_col"))
    tile = f"{address} + ({tiles.index('r', 'c')}) * {buffer.page_size}"
    for row, down, also in (("r", shift, []), ("r + 1", f"{shift} - {TILE}", [f"{shift} > 0"])):
        if shift == "0" and also:
            continue
        inside = target.inside(row, "c")
        condition = " && ".join([*also, *([inside] if inside else [])])
        call = f"{target.page(row, 'c')}, {accessor}, {tile}, {first}, {end}, {down}, {left}, {right}"
        call = f"{WRITE_ROWS_NAME}<{size}>({call});"
        writer.line(f"if ({condition}) {call}" if condition else call)
    writer.close_loop()
    writer.close_loop()


def _write_shifted(
    ctx: Context,
    target: TensorBlock,
    tiles: Tiles,
    buffer: CircularBuffer,
    address: str,
    accessor: str,
    shift: Shift,
    bounds: dict[str, str],
) -> None:
    """Row by row, elements by way of memory where they are aligned as in the tensor."""
    writer, size = ctx.writer, element_bytes(ctx, target, buffer)
    slots, slot = target.cols + 1, TILE * size
    key, purpose = ("shifted out", buffer.name), f"rows of {target.tensor} on their way"
    memory = ctx.scratch(key, f"{target.tensor}_shifted", slots * slot, purpose, writer)
    picked = None if target.picked is None else target.picked.row
    if picked is None:
        count = writer.define(f"{buffer.name}_rows", f"{bounds['end_row']} - {bounds['first_row']}", "const int32_t")
        writer.open_loop("n", f"uint32_t({count} > 0 ? {count} : 0)")
        row = writer.define("row", f"{bounds['first_row']} + n")
        below = writer.define("row_there", row if shift.rows == "0" else f"{row} + {shift.rows}")
        tile, there = f"{below} / {TILE}", f"{below} % {TILE}"
    else:
        # A row of a matrix is the same in all rows of its tiles.
        row, tile, there = picked, "0", picked
    writer.open_loop("c", slots)
    index = tiles.index(f"{row} / {TILE}" if picked is None else "0", "0")
    inside = target.inside(tile, "c")
    apart = (tiles.row_stride if tiles.column_major else 1) * buffer.page_size
    arguments = [
        target.page(tile, "c"),
        accessor,
        f"{address} + ({index}) * {buffer.page_size}",
        str(apart),
        f"{row} % {TILE}",
        there,
        f"int32_t(c * {TILE}) - {shift.cols}",
        bounds["first_col"],
        bounds["end_col"],
        f"{memory} + c * {slot}",
    ]
    call = f"{WRITE_SHIFTED_ROW_NAME}<{size}>({', '.join(arguments)});"
    writer.line(f"if ({inside}) {call}" if inside else call)
    writer.close_loop()
    if picked is None:
        writer.line("noc_async_writes_flushed();")
        writer.close_loop()
