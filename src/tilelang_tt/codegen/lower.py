"""From a tile program to the three instruction streams of a core.

One walk over the statements fills all three streams, so their loops and the order of pushes and pops agree by
construction. Element-wise work is lazy: a buffer that is computed tile by tile is remembered as an expression and
evaluated where it is stored, so chains stay in DST. An accumulator stays in DST over its K loop where it fits, and is
accumulated in L1 by the packer where it does not. A tensor whose shard lies in the core's L1 is used there, without a
transfer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..formats import ELEMENT_BYTES
from . import metalium
from .circular_buffers import CircularBuffer, direct_name
from .context import (
    Access,
    Apply,
    Context,
    Indices,
    Operand,
    Orientation,
    Select,
    Shard,
    Staging,
    Tiles,
    Value,
    converted,
    leaves,
    plus,
    times,
)
from .drain import drain
from .edges import seen_edges
from .elementwise import evaluate, materialise, rounded, rounded_by_packer, stage_value
from .liveness import Liveness, set_in, stays_in_its_scope
from .matmul import carried_accumulators, close_accumulator, gemm_statement, open_accumulator
from .multicast import MulticastTensor
from .parts_of_tiles import SPREAD_NAMES, WRITE_ROW_NAME
from .receive import read_scalar
from .reduce import reduce_statement
from .state import (
    begin_merged,
    begin_states,
    end_merged,
    end_states,
    enter_states,
    leave_arm,
    leave_states,
)
from .streams import Change, Define, Line, Stream, received, without_sends
from .tile_program import (
    Assign,
    Binary,
    BlockTile,
    Branch,
    Broadcast,
    Choose,
    Constant,
    Gemm,
    IndexTile,
    Integer,
    Let,
    Load,
    Loop,
    Map,
    Picked,
    ReadScalar,
    Reduce,
    Statement,
    Store,
    TensorBlock,
    TensorTile,
    TileExpr,
    TileProgram,
    Unary,
    Variable,
    operands,
    reads,
    sets,
    walk,
)
from .vectors import (
    laid_otherwise,
    needs_replication,
    orientations,
    replicated,
    target_orientation,
    turned,
    vector_orientation,
)


def lower(
    program: TileProgram,
    staging: Mapping[str, Staging],
    shards: Mapping[str, Shard],
    multicasts: Mapping[str, MulticastTensor],
) -> Context:
    """The streams of ``program``.

    ``staging``: of every tensor; ``shards``: the tensors used where they lie; ``multicasts``: those that one core of a
    group reads for all.
    Raises:
        UnsupportedError: ``unsupported``, for what the engines of a core cannot do as written.
        CapacityError: ``l1-capacity``, when circular buffers run out.
    """
    ctx = Context(program, staging, shards, orientations(program), Liveness(program), multicasts)
    lowering = _Lowering(ctx)
    loops = [loop for loop in (program.shard_loop, program.tile_loop) if loop is not None]
    for stream in ctx.streams:
        for loop in loops:
            stream.open_loop(loop.var, loop.extent)
            if loop is program.shard_loop:
                for let in loop.body:
                    assert isinstance(let, Let)
                    stream.add(Define(let.var, let.value))
    lowering.scope(program.tile_loop.body)
    for stream in ctx.streams:
        for _ in loops:
            stream.close_loop()
    drain(ctx, lowering.consumers)
    for stream, text in ctx.epilogue:
        stream.line(text)
    if multicasts:
        ctx.reader.lines("noc_async_write_barrier();", "noc_async_atomic_barrier();")
    ctx.compute.insert_first(list(ctx.prologue))
    wanted = {(name, role) for role in ("compute", "writer") for name in received(getattr(ctx, role).nodes)}
    ctx.reader.nodes = without_sends(ctx.reader.nodes, wanted)
    return ctx


@dataclass(frozen=True)
class _Started:
    """A circular buffer that reads are under way to.

    ``past_end``: the block, where it goes, and the address there, where its elements past the tensor's end must be
    zeroed then; ``share``: the statement that brings the block to other cores.
    """

    buffer: CircularBuffer
    source: TensorBlock
    share: str | None = None
    past_end: tuple[TensorBlock, Tiles, str] | None = None


class _Lowering:
    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.read_transposed = {s.b for s in walk((ctx.program.tile_loop,)) if isinstance(s, Gemm) and s.transpose_b}
        self.only_stored = _only_stored(ctx.program)
        self.reads_of = _reads_of_maps(ctx.program)
        self.written = {s.target.tensor for s in walk((ctx.program.tile_loop,)) if isinstance(s, Store)}
        self.direct: dict[TensorBlock, Tiles] = {}
        self.consumers: dict[str, Stream] = {}
        self.edges = seen_edges(ctx.program)

    # ---- control ---------------------------------------------------------------------------------------------------

    def scope(self, body: Sequence[Statement]) -> None:
        """The statements of a loop body; what they leave in circular buffers is popped at its end."""
        self.ctx.scopes.append([])
        self._statements(body)
        self.ctx.end_scope()

    def _statements(self, body: Sequence[Statement]) -> None:
        for group in _grouped(body):
            self.ctx.location = getattr(group[0], "location", None) or self.ctx.location
            self._group(group)

    def _group(self, group: list[Statement]) -> None:
        first = group[0]
        self.direct = {}
        if isinstance(first, (Map, Store)):
            self._rescue(_loaded_in(first), self.ctx.liveness.before(first))
        if isinstance(first, Load):
            self._loads([load for load in group if isinstance(load, Load)])
        elif isinstance(first, Loop):
            self._loop(first)
        elif isinstance(first, Branch):
            self._branch(first)
        elif isinstance(first, Let):
            for stream in self.ctx.streams:
                stream.add(Define(first.var, first.value))
        elif isinstance(first, Variable):
            for stream in self.ctx.streams:
                stream.add(Define(first.var, first.value, "uint32_t"))
        elif isinstance(first, Assign):
            for stream in self.ctx.streams:
                stream.add(Change(first.var, first.value))
        elif isinstance(first, ReadScalar):
            read_scalar(self.ctx, first)
        elif isinstance(first, Map):
            self._map(first)
        elif isinstance(first, Gemm):
            gemm_statement(self.ctx, first)
        elif isinstance(first, Reduce):
            reduce_statement(self.ctx, first)
        else:
            self._store(first)

    def _map(self, statement: Map) -> None:
        value = self._bind(statement.value, self.ctx.orientation.get(statement.dst))
        value = converted(value, self._holds_integers(statement.dst))
        value = rounded(self.ctx, statement.dst, value)
        self.ctx.values[statement.dst] = value
        # What several statements read is computed once; what one reads is computed where that stores it.
        if isinstance(value, (Apply, Select)) and self.reads_of[id(statement)] > 1:
            materialise(self.ctx, statement.dst, value)

    def _loop(self, loop: Loop) -> None:
        ctx = self.ctx
        if ctx.held is not None and ctx.held.name not in ctx.open_accumulators:
            ctx.free_dst()
        accumulators = [gemm for gemm in carried_accumulators(loop) if gemm.c not in ctx.open_accumulators]
        states = begin_states(ctx, loop, {gemm.c for gemm in accumulators} | set(ctx.open_accumulators))
        self._release_loaded(loop)
        self._compute_invariants(loop)
        for gemm in accumulators:
            open_accumulator(ctx, gemm, (loop,))
        before = dict(ctx.values)
        for stream in ctx.streams:
            stream.open_loop(loop.var, loop.extent, condition=loop.condition)
        ctx.scopes.append([])
        enter_states(ctx, states)
        self._statements(loop.body)
        leave_states(ctx, states)
        ctx.end_scope()
        for stream in ctx.streams:
            stream.close_loop()
        self._restore(before, set_in(loop.body))
        end_states(ctx, states)
        for gemm in accumulators:
            close_accumulator(ctx, gemm.c)

    def _branch(self, branch: Branch) -> None:
        ctx = self.ctx
        if ctx.held is not None and ctx.held.name not in ctx.open_accumulators:
            ctx.free_dst()
        self._release_loaded(branch)
        merged = begin_merged(ctx, branch)
        self._await_before(branch)
        before = dict(ctx.values)
        for begin, arm in ((Stream.open_branch, branch.then), (Stream.open_otherwise, branch.otherwise)):
            for stream in ctx.streams:
                begin(stream, branch.condition)
            ctx.scopes.append([])
            self._statements(arm)
            leave_arm(ctx, merged)
            ctx.end_scope()
            self._restore(before)
        for stream in ctx.streams:
            stream.close_branch()
        self._restore(before, set_in((*branch.then, *branch.otherwise)))
        end_merged(ctx, merged)

    def _release_loaded(self, statement: Loop | Branch) -> None:
        """Empty the circular buffers that the bodies of ``statement`` load into."""
        names = _loaded_in(statement)
        self._rescue(names, self.ctx.liveness.before(statement) | self.ctx.liveness.after(statement))
        for name in names:
            buffer = self.ctx.made(("load", name))
            if buffer is not None:
                self.ctx.pop_everywhere(buffer)

    def _rescue(self, loads: Collection[str], live: Collection[str]) -> None:
        """The ``live`` buffers whose value is made of tiles that were loaded as one of ``loads``, and are about to be
        overwritten, get tiles of their own."""
        ctx = self.ctx
        going = [buffer for name in loads if (buffer := ctx.made(("load", name))) is not None]
        for name, value in list(ctx.values.items()):
            if name in live and any(leaf.tiles.cb in going and not leaf.tiles.stale for leaf in leaves(value)):
                ctx.values[name] = Operand(stage_value(ctx, name, value), name)

    def _compute_invariants(self, loop: Loop) -> None:
        """What the body only reads is computed once, before it."""
        changed = set_in(loop.body)
        for name in dict.fromkeys(name for statement in walk(loop.body) for name in reads(statement)):
            value = self.ctx.values.get(name)
            if name not in changed and isinstance(value, (Apply, Select)):
                materialise(self.ctx, name, value)
        self._await_before(loop)

    def _await_before(self, statement: Loop | Branch) -> None:
        """Wait for the tiles that the bodies of ``statement`` read: they may run not at all, and what comes after them
        counts on the tiles being there."""
        needed = self.ctx.liveness.before(statement)
        for name, value in self.ctx.values.items():
            if name in needed:
                self.ctx.await_operands(value)

    def _restore(self, before: dict[str, Value], unknown: Collection[str] = ()) -> None:
        """Buffers hold what they held ``before`` or, where ``unknown``, nothing that is known."""
        self.ctx.values.clear()
        self.ctx.values.update({name: value for name, value in before.items() if name not in unknown})

    # ---- tensors in ------------------------------------------------------------------------------------------------

    def _loads(self, group: list[Load]) -> None:
        """Adjacent loads: all their reads are in flight before the one barrier."""
        started: list[_Started] = []
        names = {load.dst for load in group}
        self._rescue(names, self.ctx.liveness.before(group[0]) - names)
        for load in group:
            tiles = self._tensor_tiles(load.source, load.dst, started)
            self.ctx.values[load.dst] = Operand(tiles, load.dst)
        self._finish_reads(started)
        for load in group:
            self._prepare_vector(load.dst, load.source)
            self.ctx.values[load.dst] = converted(self.ctx.values[load.dst], self._holds_integers(load.dst))

    def _holds_integers(self, name: str) -> bool:
        return self.ctx.format_of(name) == "Int32"

    def _prepare_vector(self, name: str, source: TensorBlock) -> None:
        """A loaded vector takes the form that the engines compute with: all of it, or what is more than added to
        rows."""
        ctx = self.ctx
        if name not in ctx.orientation or self._passes_through(name):
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
            if read.past_end is not None:
                self._clear_edges(read)
            if read.share is not None:
                self.ctx.reader.line(read.share)
            if read.source.picked is not None:
                self._spread(read.buffer, read.source, read.source.picked)
            self.ctx.reader.line(f"cb_push_back({read.buffer.name}, {read.buffer.block_pages});")

    def _spread(self, buffer: CircularBuffer, source: TensorBlock, picked: Picked) -> None:
        """The reader makes whole tiles of what was picked of them."""
        reader, bytes_each = self.ctx.reader, ELEMENT_BYTES[buffer.data_format]
        address = reader.define(f"{buffer.name}_l1", f"get_write_ptr({buffer.name})")
        places = [place for place in (picked.row, picked.col) if place is not None]
        reader.open_loop("r", source.rows * source.cols)
        arguments = ", ".join([f"{address} + {times('r', buffer.page_size)}", *places])
        reader.line(f"{SPREAD_NAMES[picked.lies]}<{bytes_each}>({arguments});")
        reader.close_loop()

    def _tensor_tiles(self, source: TensorBlock, name: str, started: list[_Started]) -> Tiles:
        """The tiles of ``source`` for the compute kernel; a circular buffer that reads are under way to joins
        ``started``."""
        ctx = self.ctx
        # A tensor that is written in place is read through the network: one buffer has one producer. What the reader
        # spreads is no longer the tensor, and what could be seen past its end is cleared in a copy.
        in_place = source.tensor in ctx.shards and source.tensor not in self.written and source.picked is None
        if in_place and not self._sees_edges(source, name):
            shard = self._whole_shard(source)
            return _part_of_shard(source, shard, self._input_shard(shard))
        staging = ctx.staging[source.tensor]
        pages = source.rows * source.cols
        purpose = f"blocks of {source.tensor}"
        buffer = ctx.buffer(("load", name), name, staging.data_format, pages, staging.depth, purpose=purpose)
        ctx.pop_now(buffer)
        tiles = Tiles(
            source.rows,
            source.cols,
            buffer,
            row_stride=source.cols,
            column_major=name in self.read_transposed,
            replicated=not source.is_vector,
        )
        consumer = self.consumers[name] = ctx.writer if self._passes_through(name) else ctx.compute
        ctx.pop_at_end(consumer, tiles)
        started.append(self._start_reads(source, name, tiles, buffer))
        consumer.line(f"cb_wait_front({buffer.name}, {buffer.block_pages});")
        return tiles

    def _start_reads(self, source: TensorBlock, name: str, tiles: Tiles, buffer: CircularBuffer) -> _Started:
        reader, multicast = self.ctx.reader, self.ctx.multicasts.get(source.tensor)
        accessor = self.ctx.accessor("reader", source.tensor)
        reader.line(f"cb_reserve_back({buffer.name}, {buffer.block_pages});")
        address = reader.define(f"{buffer.name}_l1", f"get_write_ptr({buffer.name})")
        if multicast is not None:
            multicast.begin_reads(reader)
        reader.open_loop("r", source.rows)
        reader.open_loop("c", source.cols)
        offset = f"({tiles.index('r', 'c')}) * {buffer.page_size}"
        read = f"noc_async_read_page({source.page('r', 'c')}, {accessor}, {address} + {offset});"
        inside = source.inside("r", "c")
        if inside is None:
            reader.line(read)
        else:
            # As TileLang has it: what lies past a tensor's end reads as zero.
            zero = f"{metalium.ZERO_TILE_NAME}({address} + {offset}, {buffer.page_size});"
            reader.lines(f"if ({inside}) {read}", f"else {zero}")
        reader.close_loop()
        reader.close_loop()
        past_end = (source, tiles, address) if self._sees_edges(source, name) else None
        if multicast is None:
            return _Started(buffer, source, past_end=past_end)
        multicast.end_reads(reader)
        share = multicast.share(address, buffer.block_pages * buffer.page_size)
        return _Started(buffer, source, share, past_end)

    def _sees_edges(self, source: TensorBlock, name: str) -> bool:
        """Whether what the caller left past the tensor's end, in its last hardware tiles, could reach a result."""
        seen_rows, seen_cols = self.edges.get(source, (False, False))
        if source.is_vector and not self._passes_through(name):
            # The engines take the rows of a vector's tiles below the first for zeros.
            seen_rows = seen_cols = True
        return (seen_rows and source.has_last_rows) or (seen_cols and source.has_last_cols)

    def _clear_edges(self, read: _Started) -> None:
        """Zeroes past the end of the tensor, on the cores that read it themselves."""
        assert read.past_end is not None
        reader, buffer, (source, tiles, address) = self.ctx.reader, read.buffer, read.past_end
        multicast = self.ctx.multicasts.get(source.tensor)
        if multicast is not None:
            reader.open_branch(multicast.sends)
        reader.open_loop("r", source.rows)
        reader.open_loop("c", source.cols)
        tile = f"{address} + ({tiles.index('r', 'c')}) * {buffer.page_size}"
        element_bytes = ELEMENT_BYTES[buffer.data_format]
        inside = f"{source.rows_inside('r')}, {source.cols_inside('c')}"
        reader.line(f"{metalium.ZERO_PAST_NAME}({tile}, {element_bytes}, {inside});")
        reader.close_loop()
        reader.close_loop()
        if multicast is not None:
            reader.close_branch()

    def _whole_shard(self, block: TensorBlock) -> Shard:
        """The shard that ``block`` is part of, which must not reach past the tensor, nor be a part of tiles."""
        if block.picked is not None and not block.picked.alone:
            raise self.ctx.unsupported(
                f"a row of {block.tensor} is written, which is used where it lies in L1",
                subject=block.tensor,
                hint="write whole tiles, or keep it in DRAM",
            )
        if block.inside("r", "c") is not None:
            raise self.ctx.unsupported(
                f"a block of {block.tensor} may reach past its end, and the tensor is used where it lies in L1",
                subject=block.tensor,
                hint="choose blocks that divide the tensor, or keep it in DRAM",
            )
        return self.ctx.shards[block.tensor]

    def _input_shard(self, shard: Shard) -> CircularBuffer:
        """The circular buffer on the core's own shard of a tensor that it reads: full from the start."""
        ctx, key = self.ctx, ("input shard", shard.tensor)
        fresh = ctx.made(key) is None
        buffer = self._shard_buffer(key, f"{shard.tensor}_shard", shard)
        if fresh:
            ctx.reader.insert_first(
                [Line(f"cb_{verb}({buffer.name}, {buffer.num_pages});") for verb in ("reserve_back", "push_back")]
            )
            ctx.prologue.append(Line(f"cb_wait_front({buffer.name}, {buffer.num_pages});"))
            ctx.epilogue.append((ctx.compute, f"cb_pop_front({buffer.name}, {buffer.num_pages});"))
        return buffer

    def _output_shard(self, shard: Shard) -> CircularBuffer:
        """The circular buffer on the core's own shard of a tensor that it writes: handed over when all work is done."""
        ctx, key = self.ctx, ("output shard", shard.tensor)
        fresh = ctx.made(key) is None
        buffer = self._shard_buffer(key, f"{shard.tensor}_shard_out", shard)
        if fresh:
            ctx.prologue.append(Line(f"cb_reserve_back({buffer.name}, {buffer.num_pages});"))
            ctx.epilogue.append((ctx.compute, f"cb_push_back({buffer.name}, {buffer.num_pages});"))
            ctx.epilogue += [
                (ctx.writer, f"cb_{verb}({buffer.name}, {buffer.num_pages});") for verb in ("wait_front", "pop_front")
            ]
        return buffer

    def _shard_buffer(self, key: tuple[str, ...], name: str, shard: Shard) -> CircularBuffer:
        return self.ctx.buffer(
            key,
            name,
            self.ctx.staging[shard.tensor].data_format,
            shard.count * shard.rows * shard.cols,
            purpose=f"the core's own shard of {shard.tensor}, in place",
            tensor=shard.tensor,
        )

    # ---- tensors out -----------------------------------------------------------------------------------------------

    def _store(self, store: Store) -> None:
        ctx, target = self.ctx, store.target
        is_vector = target.is_vector or (target.picked is not None and target.picked.lies != "all")
        orientation = vector_orientation(ctx, store) if is_vector else None
        value = self._bind(store.value, orientation)
        if orientation is not None and orientation != target_orientation(store):
            data_format = ctx.staging[target.tensor].data_format
            length = target.rows * target.cols
            value = Operand(laid_otherwise(ctx, target.tensor, value, orientation, length, data_format), "")
        if target.tensor in ctx.shards:
            # What lies past the tensor's end is padding of the core's own shard, which nobody reads.
            shard = ctx.shards[target.tensor]
            evaluate(ctx, value, _part_of_shard(target, shard, self._output_shard(shard)))
            return
        finished = self._finished_tiles(value, target)
        if finished is not None:
            self._write_pages(target, finished)
            return
        staging = ctx.staging[target.tensor]
        key = ("store", target.tensor, f"{target.rows}x{target.cols}")
        buffer = ctx.buffer(
            key,
            f"{target.tensor}_out",
            staging.data_format,
            target.rows * target.cols,
            staging.depth,
            purpose=f"finished blocks of {target.tensor}",
        )
        tiles = Tiles(target.rows, target.cols, buffer, row_stride=target.cols)
        ctx.compute.line(f"cb_reserve_back({buffer.name}, {buffer.block_pages});")
        evaluate(ctx, value, tiles)
        ctx.compute.line(f"cb_push_back({buffer.name}, {buffer.block_pages});")
        ctx.writer.line(f"cb_wait_front({buffer.name}, {buffer.block_pages});")
        self._write_pages(target, tiles)
        ctx.writer.line(f"cb_pop_front({buffer.name}, {buffer.block_pages});")

    def _passes_through(self, name: str) -> bool:
        """Whether what is loaded into ``name`` goes to a tensor as it is: the compute kernel has no part in it."""
        store = self.only_stored.get(name)
        if store is None or store.target.tensor in self.ctx.shards:
            return False
        setting = [s for s in walk((self.ctx.program.tile_loop,)) if sets(s) == name]
        loads = [s for s in setting if isinstance(s, Load)]
        if len(loads) != 1 or len(setting) != 1 or not stays_in_its_scope(self.ctx.program, loads[0], store):
            return False
        if store.target.picked or loads[0].source.picked:
            return False
        formats = {self.ctx.staging[tensor].data_format for tensor in (loads[0].source.tensor, store.target.tensor)}
        if self._holds_integers(name) != (formats == {"Int32"}):
            return False
        return len(formats) == 1 and loads[0].source.tensor not in self.ctx.shards

    def _finished_tiles(self, value: Value, target: TensorBlock) -> Tiles | None:
        """The tiles of ``value`` when the writer can take them from the circular buffer that they are in already."""
        ctx = self.ctx
        value = rounded_by_packer(value, ctx.staging[target.tensor].data_format)
        if not isinstance(value, Operand) or value.name not in self.only_stored or value.tiles.cb is None:
            return None
        if self._passes_through(value.name):
            return value.tiles
        mine = [popping for popping in ctx.scopes[-1] if popping.tiles is value.tiles and not value.tiles.awaited]
        if not mine or value.tiles.cb.data_format != ctx.staging[target.tensor].data_format:
            return None
        mine[0].stream = ctx.writer
        ctx.writer.line(f"cb_wait_front({value.tiles.cb.name}, {value.tiles.cb.block_pages});")
        return value.tiles

    def _write_pages(self, target: TensorBlock, tiles: Tiles) -> None:
        writer, buffer = self.ctx.writer, tiles.cb
        assert buffer is not None
        accessor = self.ctx.accessor("writer", target.tensor)
        address = writer.define(f"{buffer.name}_l1", f"get_read_ptr({buffer.name})")
        writer.open_loop("r", target.rows)
        writer.open_loop("c", target.cols)
        offset = f"({tiles.index('r', 'c')}) * {buffer.page_size}"
        inside = target.inside("r", "c")
        place = f"{target.page('r', 'c')}, {accessor}, {address} + {offset}"
        write = f"noc_async_write_page({place});"
        if target.picked is not None and not target.picked.alone:
            write = f"{WRITE_ROW_NAME}({place}, {target.picked.row}, {ELEMENT_BYTES[buffer.data_format]});"
        writer.line(write if inside is None else f"if ({inside}) {write}")
        writer.close_loop()
        writer.close_loop()
        writer.line("noc_async_write_barrier();")

    # ---- expressions -----------------------------------------------------------------------------------------------

    def _bind(self, expr: TileExpr, vector: Orientation | None = None) -> Value:
        """``expr``, its leaves bound to what the buffers hold now; ``vector``: how the vector lies that it makes."""
        if isinstance(expr, (Constant, Integer)):
            return expr
        if isinstance(expr, Unary):
            return Apply(expr.op, self._bind(expr.arg, vector))
        if isinstance(expr, Binary):
            return Apply(expr.op, self._bind(expr.a, vector), self._bind(expr.b, vector))
        if isinstance(expr, Choose):
            return Select(*(self._bind(part, vector) for part in (expr.condition, expr.a, expr.b)))
        if isinstance(expr, IndexTile):
            along_rows = vector == "col"
            return Indices(*((expr.cols, 0) if along_rows else (expr.rows, expr.cols)), expr.offset, expr.integer)
        if isinstance(expr, TensorTile):
            return self._bind_tensor(expr, vector)
        return self._bind_block(expr, vector)

    def _bind_tensor(self, expr: TensorTile, vector: Orientation | None) -> Value:
        name, picked, tiles = expr.source.tensor, expr.source.picked, self._direct_tiles(expr.source)
        if picked is None and not expr.source.is_vector:
            return Operand(turned(self.ctx, name, tiles) if expr.transposed else tiles, name)
        if picked is None:
            if expr.broadcast == "col" or (vector is not None and not expr.broadcast):
                tiles = replicated(self.ctx, name, tiles, vector or "col")
        elif picked.lies not in ("all", expr.broadcast or vector or picked.lies):
            tiles = turned(self.ctx, name, tiles)
        return Operand(tiles, name, _access(expr.broadcast, tiles))

    def _direct_tiles(self, source: TensorBlock) -> Tiles:
        """A block of a tensor that an expression reads without a copy: brought once for all its readings."""
        if source not in self.direct:
            base = direct_name(source, 0)
            name = direct_name(source, sum(direct_name(other, 0) == base for other in self.direct))
            started: list[_Started] = []
            self.direct[source] = self._tensor_tiles(source, name, started)
            self._finish_reads(started)
        return self.direct[source]

    def _bind_block(self, expr: BlockTile, vector: Orientation | None) -> Value:
        ctx, name = self.ctx, expr.block
        value = ctx.values.get(name)
        if value is None:
            raise ctx.unsupported(
                f"{name} is read where it holds nothing",
                subject=name,
                hint="fill or copy it first; what a loop computes element-wise does not leave the loop",
            )
        orientation = ctx.orientation.get(name)
        turns = expr.transposed or (
            orientation is not None and (expr.broadcast or vector or orientation) != orientation
        )
        if isinstance(value, (Constant, Integer)) or not (turns or expr.broadcast):
            return value
        tiles = materialise(ctx, name, value)
        return Operand(turned(ctx, name, tiles) if turns else tiles, name, _access(expr.broadcast, tiles))


def _loaded_in(outer: Statement) -> list[str]:
    """The names of the circular buffers that ``outer``, or the bodies of it, bring blocks of tensors to."""
    names: list[str] = []
    for statement in walk((outer,)):
        if isinstance(statement, Load):
            names.append(statement.dst)
        elif isinstance(statement, (Map, Store)):
            sources = [leaf.source for leaf in operands(statement.value) if isinstance(leaf, TensorTile)]
            names += [direct_name(source, number) for source in sources for number in range(len(sources))]
    return list(dict.fromkeys(names))


def _access(broadcast: Broadcast, tiles: Tiles) -> Access:
    if broadcast == "all":
        return "single"
    return "first_row" if broadcast == "row" and not tiles.replicated else broadcast


def _grouped(body: Sequence[Statement]) -> list[list[Statement]]:
    """Runs of adjacent loads into different buffers, and every other statement by itself."""
    groups: list[list[Statement]] = []
    for statement in body:
        run = groups[-1] if groups and isinstance(groups[-1][0], Load) else None
        if (
            isinstance(statement, Load)
            and run is not None
            and all(statement.dst != s.dst for s in run if isinstance(s, Load))
        ):
            run.append(statement)
        else:
            groups.append([statement])
    return groups


def _reads_of_maps(program: TileProgram) -> dict[int, int]:
    """How many times what each element-wise statement computes is read before its buffer is set again."""
    statements = walk((program.tile_loop,))
    counts: dict[int, int] = {}
    for place, statement in enumerate(statements):
        if isinstance(statement, Map):
            count = 0
            for later in statements[place + 1 :]:
                count += reads(later).count(statement.dst)
                if sets(later) == statement.dst:
                    break
            counts[id(statement)] = count
    return counts


def _only_stored(program: TileProgram) -> dict[str, Store]:
    """Buffers that are read once in the whole kernel, by a store of them as they are: name -> that store."""
    statements = walk((program.tile_loop,))
    read = [name for s in statements for name in reads(s) if not (isinstance(s, Gemm) and name == s.c)]
    stores = [s for s in statements if isinstance(s, Store) and isinstance(s.value, BlockTile)]
    return {s.value.block: s for s in stores if isinstance(s.value, BlockTile) and read.count(s.value.block) == 1}


def _part_of_shard(block: TensorBlock, shard: Shard, buffer: CircularBuffer) -> Tiles:
    """The tiles of ``block`` where they lie in the core's own shard."""
    row, col = f"({block.matrix_row} - {shard.row0})", f"({block.col} - {shard.col0})"
    first = times(shard.number, shard.rows * shard.cols)
    base = plus(first, plus(f"{row} * {shard.cols}", col))
    return Tiles(block.rows, block.cols, buffer, base=base, row_stride=shard.cols)
