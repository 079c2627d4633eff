"""From a tile program to the three instruction streams of a core.

One walk over the statements fills all three streams, so their loops and the order of pushes and pops agree by
construction. Element-wise work is lazy: a buffer that is computed tile by tile is remembered as an expression and
evaluated where it is stored, so chains stay in DST. An accumulator stays in DST over its K loop where it fits, and is
accumulated in L1 by the packer where it does not. A tensor whose shard lies in the core's L1 is used there, without a
transfer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ...program.spec import ComputeConfig
from ..cpp.sharing import pop_early, share
from ..cpp.streams import Change, Define, Stream, received, without_sends
from ..tile_program.liveness import Liveness, set_in
from ..tile_program.statements import (
    Assign,
    Branch,
    Gemm,
    Let,
    Load,
    Loop,
    Map,
    ReadScalar,
    Reduce,
    Statement,
    Store,
    TileProgram,
    Variable,
    reads,
    sets,
    walk,
)
from .binding import Binding
from .context import Context, Shard, Staging
from .drain import drain
from .elementwise import materialise, rounded
from .fixed import begin_fixed, rescue, restore_fixed, set_fixed
from .loads import Loads
from .matmul import carried_accumulators, close_accumulator, gemm_statement, open_accumulator
from .multicast import MulticastTensor
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
from .stores import Stores
from .uses import Uses, loaded_in
from .values import Value, converted, is_computed
from .vectors import orientations


def lower(
    program: TileProgram,
    staging: Mapping[str, Staging],
    shards: Mapping[str, Shard],
    multicasts: Mapping[str, MulticastTensor],
    config: ComputeConfig,
) -> Context:
    """The streams of ``program``.

    ``staging``: of every tensor; ``shards``: the tensors used where they lie; ``multicasts``: those that one core of a
    group reads for all; ``config``: what the engines are set to.

    Raises:
        UnsupportedError: ``unsupported``, for what the engines of a core cannot do as written.
        CapacityError: ``l1-capacity``, when circular buffers run out.
    """
    ctx = Context(program, staging, shards, orientations(program), Liveness(program), multicasts, config)
    lowering = _Lowering(ctx)
    loops = [loop for loop in (program.shard_loop, program.tile_loop) if loop is not None]
    for stream in ctx.streams:
        for loop in loops:
            stream.open_loop(loop.var, loop.extent)
            if loop is program.shard_loop:
                for let in loop.body:
                    assert isinstance(let, Let)
                    stream.add(Define(let.var, let.value))
    begin_fixed(ctx)
    lowering.scope(program.tile_loop.body)
    for stream in ctx.streams:
        for _ in loops:
            stream.close_loop()
    drain(ctx, lowering.loads.consumers)
    for stream, text in ctx.epilogue:
        stream.line(text)
    if multicasts:
        ctx.reader.lines("noc_async_write_barrier();", "noc_async_atomic_barrier();")
    ctx.compute.insert_first(list(ctx.prologue))
    ctx.buffers.make_swapped_alike()
    ctx.compute.nodes = pop_early(ctx.compute.nodes, ctx.buffers)
    share(list(ctx.buffers), ctx.compute.nodes)
    ctx.buffers.number()
    wanted = {(name, role) for role in ("compute", "writer") for name in received(getattr(ctx, role).nodes)}
    ctx.reader.nodes = without_sends(ctx.reader.nodes, wanted)
    return ctx


class _Lowering:
    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.uses = Uses(ctx)
        self.loads = Loads(ctx, self.uses)
        self.binding = Binding(ctx, self.loads)
        self.stores = Stores(ctx, self.uses, self.binding)

    def scope(self, body: Sequence[Statement]) -> None:
        """The statements of a loop body; what they leave in circular buffers is popped at its end."""
        self.ctx.scopes.append([])
        self._statements(body)
        self.ctx.end_scope()

    def _statements(self, body: Sequence[Statement]) -> None:
        for group in _grouped(body):
            self.ctx.location = getattr(group[0], "location", None) or self.ctx.location
            self.ctx.pop_unused(self.ctx.picks)
            self._keep_apart(group)
            self._group(group)

    def _group(self, group: list[Statement]) -> None:
        first = group[0]
        if isinstance(first, (Map, Store)):
            self.loads.begin_expression(first.value)
            self._rescue(loaded_in(first), self.ctx.liveness.before(first))
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
        elif isinstance(first, Store):
            self.stores.store(first)
        else:
            self._computation(first)

    def _loads(self, group: Sequence[Load]) -> None:
        names = {load.dst for load in group}
        self._rescue(names, self.ctx.liveness.before(group[0]) - names)
        self.loads.load(group)
        for load in group:
            if load.dst in self.ctx.fixed:
                set_fixed(self.ctx, load.dst, self.ctx.values[load.dst])

    def _computation(self, statement: Map | Gemm | Reduce) -> None:
        if isinstance(statement, Map):
            self._map(statement)
        elif isinstance(statement, Gemm):
            gemm_statement(self.ctx, statement)
        else:
            reduce_statement(self.ctx, statement)
        self._compute_if_shared(statement)

    def _map(self, statement: Map) -> None:
        value = self.binding.bind(statement.value, self.ctx.orientation.get(statement.dst))
        value = converted(value, self.ctx.holds_integers(statement.dst))
        value = rounded(self.ctx, statement.dst, value)
        if statement.dst in self.ctx.fixed:
            set_fixed(self.ctx, statement.dst, value, statement.part)
            return
        self.ctx.values[statement.dst] = value

    def _compute_if_shared(self, statement: Map | Gemm | Reduce) -> None:
        """What several statements read is computed once; what one reads is computed where that stores it."""
        name = sets(statement)
        assert name is not None
        value = self.ctx.values.get(name)
        if name in self.ctx.open_accumulators or value is None:
            return
        if is_computed(value) and self.uses.reads_of[id(statement)] > 1:
            materialise(self.ctx, name, value)

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
        names = loaded_in(statement)
        self._rescue(names, self.ctx.liveness.before(statement) | self.ctx.liveness.after(statement))
        for name in names:
            buffer = self.ctx.made(("load", name))
            if buffer is not None:
                self.ctx.pop_everywhere(buffer)

    def _rescue(self, loads: Collection[str], live: Collection[str]) -> None:
        """Keep the ``live`` buffers that are made of tiles which were loaded as one of ``loads``."""
        going = [buffer for name in loads if (buffer := self.ctx.made(("load", name))) is not None]
        rescue(self.ctx, going, live)

    def _keep_apart(self, group: Sequence[Statement]) -> None:
        """Keep the buffers that are made of tiles of one that the statements change where it lies."""
        going = [buffer for name in set_in(group) if (buffer := self.ctx.made(("fixed", name))) is not None]
        if going:
            liveness, last = self.ctx.liveness, group[-1]
            inside = liveness.before(last) if isinstance(last, (Loop, Branch)) else frozenset[str]()
            rescue(self.ctx, going, inside | liveness.after(last))

    def _compute_invariants(self, loop: Loop) -> None:
        """What the body only reads is computed once, before it."""
        changed = set_in(loop.body)
        for name in dict.fromkeys(name for statement in walk(loop.body) for name in reads(statement)):
            value = self.ctx.values.get(name)
            if name not in changed and value is not None and is_computed(value):
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
        restore_fixed(self.ctx)


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
