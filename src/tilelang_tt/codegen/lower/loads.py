"""Tensors in: the reader brings blocks of tensors into circular buffers, for the compute kernel or the writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...formats import BLOCK_BITS, ELEMENT_BYTES
from ..cexpr import times
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.parts_of_tiles import SPREAD_NAMES
from ..cpp.streams import Stream
from ..tile_program.edges import seen_edges
from ..tile_program.expressions import Picked, TensorBlock, TileExpr
from ..tile_program.statements import Load
from .context import Context
from .gathers import element_bytes, gather
from .shards import input_shard, part_of_shard, whole_shard
from .shifted import Landing, landing, move
from .uses import Uses, direct_names
from .values import Operand, Tiles, converted
from .vectors import needs_replication, replicated, turned


@dataclass(frozen=True)
class _Started:
    """A circular buffer that reads are under way to, of ``source``, whose tiles there are ``tiles``, at ``address``.

    ``sees_edges``: whether what is past the tensor's end must be zero; ``share``: the statement that brings the block
    to other cores.
    """

    buffer: CircularBuffer
    source: TensorBlock
    tiles: Tiles
    address: str
    read_to: Landing | None = None
    sees_edges: bool = False
    share: str | None = None


class Loads:
    """The reads of one kernel.

    Attributes:
        consumers: by on-chip buffer, the stream that waits for what is loaded into it.
    """

    def __init__(self, ctx: Context, uses: Uses) -> None:
        self.ctx = ctx
        self.uses = uses
        self.consumers: dict[str, Stream] = {}
        self._edges = seen_edges(ctx.program)
        self._direct: dict[TensorBlock, Tiles] = {}
        self._direct_names: dict[TensorBlock, str] = {}

    def begin_expression(self, value: TileExpr) -> None:
        """Blocks that expressions read without a copy are brought anew for every statement."""
        self._direct, self._direct_names = {}, direct_names(value)

    def load(self, group: Sequence[Load]) -> None:
        """Adjacent loads: all their reads are in flight before the one barrier."""
        started: list[_Started] = []
        for load in group:
            tiles = self._tensor_tiles(load.source, load.dst, started)
            self.ctx.values[load.dst] = Operand(tiles, load.dst)
        self._finish_reads(started)
        for load in group:
            self._prepare_vector(load.dst, load.source)
            self.ctx.values[load.dst] = converted(self.ctx.values[load.dst], self.ctx.holds_integers(load.dst))

    def _prepare_vector(self, name: str, source: TensorBlock) -> None:
        """A loaded vector takes the form that the engines compute with: all of it, or what is more than added to
        rows."""
        ctx = self.ctx
        if name not in ctx.orientation or self.uses.passes_through(name):
            return
        orientation = ctx.orientation[name]
        if source.picked is not None:
            value = ctx.values[name]
            assert isinstance(value, Operand)
            if source.picked.lies != orientation:
                ctx.values[name] = Operand(turned(ctx, name, value.tiles), name)
        elif name in ctx.liveness.crossing or needs_replication(ctx.program, name, orientation):
            value = ctx.values[name]
            assert isinstance(value, Operand)
            ctx.values[name] = Operand(replicated(ctx, name, value.tiles, orientation), name)

    def _finish_reads(self, started: list[_Started]) -> None:
        if started:
            self.ctx.reader.line("noc_async_read_barrier();")
        for read in started:
            self._finish_tiles(read)
            if read.share is not None:
                self.ctx.reader.line(read.share)
            if read.source.picked is not None:
                self._spread(read.buffer, read.source, read.source.picked)
            self.ctx.reader.line(read.buffer.call("push_back"))

    def _spread(self, buffer: CircularBuffer, source: TensorBlock, picked: Picked) -> None:
        """The reader makes whole tiles of what was picked of them."""
        reader, bytes_each = self.ctx.reader, element_bytes(self.ctx, source, buffer)
        address = reader.define(f"{buffer.name}_l1", f"get_write_ptr({buffer.name})")
        reader.open_loop("r", source.rows * source.cols)
        tile = f"{address} + {times('r', buffer.page_size)}"
        reader.line(f"{SPREAD_NAMES[picked.lies]}<{bytes_each}>({', '.join([tile, tile, *picked.places])});")
        reader.close_loop()

    def _tensor_tiles(self, source: TensorBlock, name: str, started: list[_Started]) -> Tiles:
        """The tiles of ``source`` for the compute kernel; a circular buffer that reads are under way to joins
        ``started``."""
        ctx = self.ctx
        # A tensor that is written in place is read through the network: one buffer has one producer. What the reader
        # spreads is no longer the tensor, and what could be seen past its end is cleared in a copy.
        lies_together = source.picked is None and source.gathered is None and source.shift is None
        in_place = source.tensor in ctx.shards and source.tensor not in self.uses.written and lies_together
        if in_place and not self._sees_edges(source, name):
            shard = whole_shard(ctx, source)
            return part_of_shard(source, shard, input_shard(ctx, shard))
        staging = ctx.staging[source.tensor]
        pages = source.rows * source.cols
        purpose = f"blocks of {source.tensor}"
        buffer = ctx.buffer(("load", name), name, staging.data_format, pages, staging.depth, purpose=purpose)
        ctx.pop_now(buffer)
        column_major = name in self.uses.read_transposed
        tiles = Tiles(
            source.rows,
            source.cols,
            buffer,
            row_stride=source.rows if column_major else source.cols,
            column_major=column_major,
            replicated=not source.is_vector,
        )
        consumer = self.consumers[name] = ctx.writer if self.uses.passes_through(name) else ctx.compute
        ctx.pop_at_end(consumer, tiles)
        started.append(self._start_reads(source, name, tiles, buffer))
        consumer.line(buffer.call("wait_front"))
        return tiles

    def _start_reads(self, source: TensorBlock, name: str, tiles: Tiles, buffer: CircularBuffer) -> _Started:
        reader, multicast = self.ctx.reader, self.ctx.multicasts.get(source.tensor)
        accessor = self.ctx.accessor("reader", source.tensor)
        reader.line(buffer.call("reserve_back"))
        address = reader.define(f"{buffer.name}_l1", f"get_write_ptr({buffer.name})")
        if source.gathered is not None:
            gather(self.ctx, source, source.gathered, tiles, address)
            return _Started(buffer, source, tiles, address)
        read_to = landing(self.ctx, name, source, tiles, buffer, address)
        if multicast is not None:
            multicast.begin_reads(reader)
        reader.open_loop("r", read_to.rows)
        reader.open_loop("c", read_to.cols)
        read = f"noc_async_read_page({source.page('r', 'c')}, {accessor}, {read_to.tile});"
        inside = source.inside("r", "c")
        if inside is None:
            reader.line(read)
        else:
            # As TileLang has it: what lies past a tensor's end reads as zero.
            zero = f"{metalium.ZERO_TILE_NAME}({read_to.tile}, {buffer.page_size});"
            reader.lines(f"if ({inside}) {read}", f"else {zero}")
        reader.close_loop()
        reader.close_loop()
        started = _Started(buffer, source, tiles, address, read_to, sees_edges=self._sees_edges(source, name))
        if multicast is None:
            return started
        multicast.end_reads(reader)
        return replace(started, share=multicast.share(address, buffer.block_pages * buffer.page_size))

    def _sees_edges(self, source: TensorBlock, name: str) -> bool:
        """Whether what the caller left past the tensor's end, in its last hardware tiles, could reach a result."""
        seen_rows, seen_cols = self._edges.get(source, (False, False))
        if source.is_vector and not self.uses.passes_through(name):
            # The engines take the rows of a vector's tiles below the first for zeros.
            seen_rows = seen_cols = True
        return (seen_rows and source.has_last_rows) or (seen_cols and source.has_last_cols)

    def _finish_tiles(self, read: _Started) -> None:
        """Makes the block of the tiles that it lies in, on the cores that read these themselves: without what is past
        the tensor's end, and moved to its own."""
        if read.read_to is None or (not read.sees_edges and read.read_to.shift is None):
            return
        multicast = self.ctx.multicasts.get(read.source.tensor)
        if multicast is not None:
            self.ctx.reader.open_branch(multicast.sends)
        if read.sees_edges:
            self._clear_edges(read, read.read_to)
        move(self.ctx, read.source, read.read_to, read.tiles, read.buffer, read.address)
        if multicast is not None:
            self.ctx.reader.close_branch()

    def _clear_edges(self, read: _Started, read_to: Landing) -> None:
        reader, buffer, source = self.ctx.reader, read.buffer, read.source
        reader.open_loop("r", read_to.rows)
        reader.open_loop("c", read_to.cols)
        zero_past = f"{metalium.ZERO_PAST_NAME}({read_to.tile}, {ELEMENT_BYTES.get(buffer.data_format)}"
        if buffer.data_format in BLOCK_BITS:
            zero_past = f"{metalium.ZERO_PAST_OF_BLOCKS_NAME}({read_to.tile}, {BLOCK_BITS[buffer.data_format]}"
        reader.line(f"{zero_past}, {source.rows_inside('r')}, {source.cols_inside('c')});")
        reader.close_loop()
        reader.close_loop()

    def direct_tiles(self, source: TensorBlock) -> Tiles:
        """A block of a tensor that an expression reads without a copy: brought once for all its readings."""
        if source not in self._direct:
            started: list[_Started] = []
            self._direct[source] = self._tensor_tiles(source, self._direct_names[source], started)
            self._finish_reads(started)
        return self._direct[source]
