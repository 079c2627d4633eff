"""On-chip buffers that are written in parts: each has its place in L1, where some of its tiles are packed anew.

It is a circular buffer of one block, which the compute kernel fills and reads. To change a part it pops the block,
reserves it again, which is the same place, packs the part, and hands the block over: the other tiles stay. Such a
buffer is memory, as TileLang has it: loops and branches have nothing to carry.
"""

from __future__ import annotations

from collections.abc import Collection

from ...formats import DataFormat
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.streams import Stream
from ..tile_program.expressions import Rectangle
from .context import Context
from .elementwise import evaluate, stage_value
from .values import Operand, Tiles, Value, converted, leaves


def begin_fixed(ctx: Context) -> None:
    """Make the circular buffers of these; they hold zeros."""
    for name in sorted(ctx.liveness.fixed):
        rows, cols = ctx.shape(name)
        purpose = f"{name}, which is written in parts"
        buffer = ctx.buffer(("fixed", name), name, ctx.format_of(name), rows * cols, purpose=purpose)
        buffer.kept = True
        making, fill = Stream(), metalium.FILL_INT32 if ctx.holds_integers(name) else metalium.FILL
        making.line(buffer.call("reserve_back"))
        ctx.sfpu(fill, making)
        making.open_loop("i", rows * cols)
        making.lines("tile_regs_acquire();", f"{fill.call.format(a=0, bits='0')};")
        making.lines("tile_regs_commit();", "tile_regs_wait();")
        ctx.pack_to(buffer, making)
        making.lines(f"pack_tile<true>(0, {buffer.name}, i);", "tile_regs_release();")
        making.close_loop()
        making.lines(buffer.call("push_back"), buffer.call("wait_front"))
        ctx.prologue += making.nodes
        ctx.epilogue.append((ctx.compute, buffer.call("pop_front")))
        _hold(ctx, name, Tiles(rows, cols, buffer, row_stride=cols))


def set_fixed(ctx: Context, name: str, value: Value, part: Rectangle | None = None) -> None:
    """``name``, or ``part`` of it, becomes ``value``, now: no value that is still to be read may be made of the tiles
    that it has held (see :func:`rescue`)."""
    before = ctx.fixed[name]
    buffer = before.cb
    assert buffer is not None
    rows, cols = (before.rows, before.cols) if part is None else _shape(ctx, name, part)
    value = converted(value, ctx.holds_integers(name))
    reads_itself = any(leaf.tiles.cb is buffer for leaf in leaves(value))
    if reads_itself:
        ctx.free_dst()
        ctx.scopes.append([])
        value = Operand(_beforehand(ctx, value, rows, cols, buffer.data_format), name)
    ctx.await_operands(value)
    after = Tiles(before.rows, before.cols, buffer, row_stride=before.row_stride)
    ctx.compute.line(buffer.call("pop_front"))
    ctx.reserve(buffer)
    evaluate(ctx, value, after if part is None else part_of(ctx, name, after, part))
    ctx.push(buffer)
    ctx.compute.line(buffer.call("wait_front"))
    if reads_itself:
        ctx.end_scope()
    before.stale = True
    _hold(ctx, name, after)


def _beforehand(ctx: Context, value: Value, rows: int, cols: int, data_format: DataFormat) -> Tiles:
    """``value``, computed before the tiles go that it reads."""
    called, purpose = f"{data_format}_{rows * cols}", "what parts of buffers are about to become"
    buffer = ctx.spare_buffer("beforehand", called, data_format, rows * cols, purpose=purpose)
    ctx.await_operands(value)
    return ctx.stage(buffer, rows, cols, lambda target: evaluate(ctx, value, target))


def restore_fixed(ctx: Context) -> None:
    """After a loop or a branch: what they hold is where it always is."""
    for name, tiles in ctx.fixed.items():
        ctx.values[name] = Operand(tiles, name)


def rescue(ctx: Context, going: Collection[CircularBuffer], live: Collection[str]) -> None:
    """The ``live`` buffers whose value is made of tiles in circular buffers that are about to be overwritten get tiles
    of their own."""
    for name, value in list(ctx.values.items()):
        made_of = [leaf.tiles for leaf in leaves(value) if leaf.tiles.cb in going and not leaf.tiles.popped]
        if name in live and name not in ctx.fixed and made_of:
            ctx.values[name] = Operand(stage_value(ctx, name, value), name)


def part_of(ctx: Context, name: str, tiles: Tiles, part: Rectangle) -> Tiles:
    """``part`` of what the on-chip buffer ``name`` holds."""
    turned = ctx.orientation.get(name) == "col"
    return tiles.part(*((part.col, part.row) if turned else (part.row, part.col)), *_shape(ctx, name, part))


def _shape(ctx: Context, name: str, part: Rectangle) -> tuple[int, int]:
    return (part.cols, part.rows) if ctx.orientation.get(name) == "col" else (part.rows, part.cols)


def _hold(ctx: Context, name: str, tiles: Tiles) -> None:
    ctx.fixed[name] = tiles
    ctx.values[name] = Operand(tiles, name)
