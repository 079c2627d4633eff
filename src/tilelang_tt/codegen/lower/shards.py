"""Tensors that are used where they lie: a core's own shard as a circular buffer."""

from __future__ import annotations

from ..cexpr import plus, times
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.streams import Line
from ..tile_program.expressions import TensorBlock
from .context import Context, Shard
from .values import Tiles


def whole_shard(ctx: Context, block: TensorBlock) -> Shard:
    """The shard that ``block`` is part of, which must not reach past the tensor, nor be a part of tiles."""
    if block.picked is not None and not block.picked.alone:
        raise ctx.unsupported(
            f"a row of {block.tensor} is written, which is used where it lies in L1",
            subject=block.tensor,
            hint="write whole tiles, or keep it in DRAM",
        )
    if block.inside("r", "c") is not None:
        raise ctx.unsupported(
            f"a block of {block.tensor} may reach past its end, and the tensor is used where it lies in L1",
            subject=block.tensor,
            hint="choose blocks that divide the tensor, or keep it in DRAM",
        )
    return ctx.shards[block.tensor]


def input_shard(ctx: Context, shard: Shard) -> CircularBuffer:
    """The circular buffer on the core's own shard of a tensor that it reads: full from the start."""
    key = ("input shard", shard.tensor)
    fresh = ctx.made(key) is None
    buffer = _shard_buffer(ctx, key, f"{shard.tensor}_shard", shard)
    if fresh:
        ctx.reader.insert_first(
            [Line(f"cb_{verb}({buffer.name}, {buffer.num_pages});") for verb in ("reserve_back", "push_back")]
        )
        ctx.prologue.append(Line(f"cb_wait_front({buffer.name}, {buffer.num_pages});"))
        ctx.epilogue.append((ctx.compute, f"cb_pop_front({buffer.name}, {buffer.num_pages});"))
    return buffer


def output_shard(ctx: Context, shard: Shard) -> CircularBuffer:
    """The circular buffer on the core's own shard of a tensor that it writes: handed over when all work is done."""
    key = ("output shard", shard.tensor)
    fresh = ctx.made(key) is None
    buffer = _shard_buffer(ctx, key, f"{shard.tensor}_shard_out", shard)
    if fresh:
        ctx.prologue.append(Line(f"cb_reserve_back({buffer.name}, {buffer.num_pages});"))
        ctx.epilogue.append((ctx.compute, f"cb_push_back({buffer.name}, {buffer.num_pages});"))
        ctx.epilogue += [
            (ctx.writer, f"cb_{verb}({buffer.name}, {buffer.num_pages});") for verb in ("wait_front", "pop_front")
        ]
    return buffer


def _shard_buffer(ctx: Context, key: tuple[str, ...], name: str, shard: Shard) -> CircularBuffer:
    return ctx.buffer(
        key,
        name,
        ctx.staging[shard.tensor].data_format,
        shard.count * shard.rows * shard.cols,
        purpose=f"the core's own shard of {shard.tensor}, in place",
        tensor=shard.tensor,
    )


def part_of_shard(block: TensorBlock, shard: Shard, buffer: CircularBuffer) -> Tiles:
    """The tiles of ``block`` where they lie in the core's own shard."""
    row, col = f"({block.matrix_row} - {shard.row0})", f"({block.col} - {shard.col0})"
    first = times(shard.number, shard.rows * shard.cols)
    base = plus(first, plus(f"{row} * {shard.cols}", col))
    return Tiles(block.rows, block.cols, buffer, base=base, row_stride=shard.cols)
