"""From a persistent function's TIR to a tile program; every construct that has no lowering is refused here, by its
line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from ... import attrs
from ...errors import Code, SourceLocation, UnsupportedError
from ...formats import BLOCK_FLOATS, data_format
from ...language import tile_ops
from ...language.exits import break_out, is_break, is_continue, leaves
from ...language.kernel import kernel_name, tensor_params
from ...language.nodes import is_one_of, loop_over
from ...language.plain import plain_attrs
from ...language.source import location_of, statement_location, store_location
from ...language.symbols import symbols_of
from ...partition.schedule import parse_user_schedule
from ...sizes import from_plain
from ...transform.common import grid_exprs
from ...transform.grid_to_persistent_tt import LOOP_VAR, SHARD_LOOP_VAR
from ..cexpr import Names, cexpr
from ..tile_program.expressions import Block, Broadcast, TensorTile, TileExpr, operands
from ..tile_program.padding import neutralise
from ..tile_program.statements import (
    Assign,
    Branch,
    Let,
    Load,
    Loop,
    Map,
    ReadScalar,
    Statement,
    Store,
    TensorInfo,
    TileProgram,
    Variable,
    walk,
)
from .access import Access
from .buffers import block_of, is_variable, reached
from .elements import ANY, element_expr
from .matrices import over_matrices
from .operations import Operations
from .predicates import predicated
from .regions import Regions, refused
from .scalars import UNBOUNDED, Body, Exit, body_for, is_scalar, known_reading, replace_scalars
from .windows import unconditional


def extract(func: tirx.PrimFunc) -> TileProgram:
    """The tile program of a function that GridToPersistentTT left.

    Raises:
        UnsupportedError: ``unsupported``, for a construct that has no lowering, with its line where that is known.
    """
    return _Extraction(func).run()


@dataclass
class _Extraction:
    func: tirx.PrimFunc
    blocks: dict[str, Block] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    """The sizes of on-chip buffers, in elements, that are larger than the kernel says."""

    analyzer: arith.Analyzer = field(default_factory=arith.Analyzer)
    names: Names = field(init=False)
    regions: Regions = field(init=False)
    operations: Operations = field(init=False)
    block_axes: dict[str, str] = field(default_factory=dict)
    bodies: list[Body] = field(default_factory=list)
    """The bodies under construction, from the work tile's inwards."""

    variables: list[tirx.Buffer] = field(default_factory=list)
    """The buffers that are integers of T.alloc_var."""

    exits: list[Exit] = field(default_factory=list)
    """How the loops around are left early, of those that may be."""

    def __post_init__(self) -> None:
        self.names = Names(self.analyzer)
        self.plain = plain_attrs(self.func)
        self.float16_as = parse_user_schedule(self.plain.get(attrs.USER_SCHEDULE)).float16_as
        self.reached = reached(self.func)
        self.regions = Regions(self.analyzer, self.names, self.float16_as, self.shapes)
        self.operations = Operations(self.regions, self.blocks)

    def run(self) -> TileProgram:
        self.block_tags = {name: tag for tag, name in self.plain.get(attrs.BLOCK_VARS, {}).items()}
        self.symbols = symbols_of(self.func)
        self.symbols.bind(self.analyzer)
        for buffer in tensor_params(self.func):
            self._check_tensor(buffer)
        loop = loop_over(self.func, LOOP_VAR)
        if loop is None:
            raise UnsupportedError(
                Code.METADATA_MISSING,
                "the function is not persistent",
                hint="run GridToPersistentTT before code generation",
            )
        self._bound_arguments()
        # A prefix: the user's names for sizes are any, those of the kernel's other constants among them.
        sizes = tuple(self.names.name(var, "size_") for var in self.symbols.variables.values())
        shard_loop = self._shard_loop()
        self.names.name(loop.loop_var)
        statements = self._body(loop.body, loop.loop_var)
        self._check_one_exponent()
        body = Loop(LOOP_VAR, cexpr(loop.extent, self.names), statements)
        program = TileProgram(
            kernel_name(self.func),
            self._tensors(body),
            tuple(self.blocks.values()),
            body,
            shard_loop,
            self.block_axes,
            frozenset(self.plain.get(attrs.RUNTIME_CONSTANTS, {})),
            sizes,
        )
        return neutralise(program)

    def _shard_loop(self) -> Loop | None:
        """The loop over a core's shards, with what it defines of each."""
        loop = loop_over(self.func, SHARD_LOOP_VAR)
        if loop is None:
            return None
        names = self.names.naturals()
        binds = [node for node in loop.body.seq if isinstance(node, tirx.Bind)]
        lets = tuple(Let(names.name(bind.var), cexpr(bind.value, names)) for bind in binds)
        return Loop(names.name(loop.loop_var), cexpr(loop.extent, names), lets)

    def _bound_arguments(self) -> None:
        """Tell the analyzer the values of the runtime arguments that every core shares."""
        known = self._known_arguments()
        for param in self.func.params:
            name = str(param.name)
            self.names.name(param)
            if name in known:
                self.analyzer.bind(param, known[name])

    def _known_arguments(self) -> dict[str, tirx.PrimExpr]:
        """Values that hold at every launch, by name."""
        constants: Mapping[str, int] = self.plain.get(attrs.RUNTIME_CONSTANTS, {})
        known: dict[str, tirx.PrimExpr] = {name: tirx.IntImm("int32", value) for name, value in constants.items()}
        if attrs.DYNAMIC not in self.plain:
            return known
        # What follows from the plane is another at every launch; shards stay as they are.
        known = {name: value for name, value in known.items() if name in attrs.LOCAL_SHARD_ARGS}
        grid, kt = grid_exprs(self.func, self.plain), from_plain(self.plain[attrs.DYNAMIC]["Kt"])
        rows = grid["blockIdx.y"] * grid["blockIdx.z"]
        return known | {"Mt": rows, "Nt": grid["blockIdx.x"], "Kt": self.symbols.expr(kt)}

    def _tensors(self, body: Loop) -> tuple[TensorInfo, ...]:
        statements = walk((body,))
        written = {s.target.tensor for s in statements if isinstance(s, Store)}
        read = _tensors_read(statements)
        infos = []
        for buffer in tensor_params(self.func):
            name = str(buffer.name)
            direction = "inout" if name in read & written else "out" if name in written else "in"
            shape = tuple(size for dim in buffer.shape if (size := self.symbols.value(dim)) is not None)
            infos.append(TensorInfo(name, shape, str(buffer.dtype), direction))
        return tuple(infos)

    # ---- statements ------------------------------------------------------------------------------------------------

    def _body(self, node: Any, *variables: tirx.Var) -> tuple[Statement, ...]:
        """The statements of a loop or an arm of a branch, which binds ``variables``."""
        self.bodies.append(Body(list(variables)))
        if node is not None:
            self._visit(node)
        return tuple(self.bodies.pop().statements)

    def _emit(self, *statements: Statement) -> None:
        self.bodies[-1].statements += statements

    def _visit(self, node: Any) -> None:
        if isinstance(node, tirx.SeqStmt):
            self._sequence(list(node.seq))
        elif isinstance(node, tirx.SBlockRealize):
            for buffer in node.block.alloc_buffers:
                self._allocate(buffer)
            self._visit(node.block.body)
        elif isinstance(node, tirx.Bind):
            self._let(node)
        elif _is_hint(node):
            if isinstance(node, tirx.AttrStmt):
                self._visit(node.body)
        elif isinstance(node, tirx.For):
            self._loop(node)
        elif isinstance(node, tirx.While):
            self._while(node)
        elif isinstance(node, tirx.IfThenElse):
            self._branch(node.condition, node.then_case, node.else_case)
        elif isinstance(node, tirx.BufferStore) and self._is_variable(node.buffer):
            value = cexpr(self._numbers(node.value), self.names)
            self._emit(Assign(self.names.name(node.buffer.data), value))
        elif isinstance(node, tirx.BufferStore):
            self._element_stores(node, [])
        elif isinstance(node, tirx.Evaluate) and tile_ops.is_tile_op(node.value):
            self._tile_op(self._numbers(node.value))
        elif self.exits and (is_break(node) or is_continue(node)):
            exit_ = self.exits[-1]
            self._emit(Assign(exit_.stay, "0"))
            if is_break(node) and exit_.go_on is not None:
                self._emit(Assign(exit_.go_on, "0"))
        else:
            raise self._unsupported(f"{_describe(node)} is not supported outside T.Parallel", subject=_describe(node))

    def _sequence(self, nodes: list[Any]) -> None:
        """Statements one after the other; what follows one that may leave the iteration is done only if it did not."""
        for place, node in enumerate(nodes):
            self._visit(node)
            if self.exits and leaves(node) and place + 1 < len(nodes):
                rest = tirx.SeqStmt(nodes[place + 1 :]) if place + 2 < len(nodes) else nodes[-1]
                self._emit(Branch(self.exits[-1].stay, self._body(rest)))
                return

    def _let(self, bind: tirx.Bind) -> None:
        if str(getattr(getattr(bind.value, "op", None), "name", "")).endswith("launch_thread_idx"):
            raise self._unsupported(
                "thread indices are not supported: a Tensix core has no threads",
                subject=str(bind.var.name),
                hint="use T.Parallel and tile operations",
            )
        value = self._numbers(bind.value)
        names = self.names
        if len(self.block_axes) < len(self.block_tags):
            # Up to the last block index, variables only recover these from a core's runtime arguments.
            names = names.naturals()
            self._bound_recovered(bind.var, value)
        else:
            self.analyzer.bind(bind.var, value)
        self._emit(Let(names.name(bind.var), cexpr(value, names)))
        self.bodies[-1].variables.append(bind.var)

    def _bound_recovered(self, var: tirx.Var, value: tirx.PrimExpr) -> None:
        tag = self.block_tags.get(str(var.name))
        if tag is None:
            self.analyzer.bind(var, value)
        else:
            self.analyzer.bind(var, tvm.ir.Range(0, grid_exprs(self.func, self.plain)[tag]))
            self.block_axes[self.names.name(var)] = "N" if tag == "blockIdx.x" else "M"

    def _loop(self, loop: tirx.For) -> None:
        if loop.kind == tirx.ForKind.PARALLEL:
            self._parallel(loop)
            return
        if loop.kind not in (tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED):
            raise self._unsupported(f"a loop of kind {loop.kind} is not supported", subject=str(loop.loop_var.name))
        body, first = loop.body, self.analyzer.simplify(self._numbers(loop.min))
        variable = loop.loop_var
        if not isinstance(first, tirx.IntImm) or int(first) != 0:
            variable = tirx.Var(str(loop.loop_var.name), str(loop.loop_var.dtype))
            body = tirx.stmt_functor.substitute(body, {loop.loop_var: variable + first})
        extent = self.analyzer.simplify(self._numbers(loop.extent))
        self.analyzer.bind(variable, tvm.ir.Range(0, extent))
        may_be_empty = not self.analyzer.can_prove(extent >= 1)
        counted = extent if self.analyzer.can_prove(extent >= 0) else tirx.max(extent, 0)
        self._repeat(variable, cexpr(counted, self.names), body, may_be_empty)

    def _repeat(self, variable: tirx.Var, extent: str, body: Any, may_be_empty: bool) -> None:
        name = self.names.name(variable)
        if not leaves(body):
            self._emit(Loop(name, extent, self._body(body, variable), may_be_empty))
            return
        stay = self._fresh("stay")
        go_on = self._fresh("go_on") if leaves(body, (is_break,)) else None
        if go_on is not None:
            self._emit(Variable(go_on, "1"))
        self.exits.append(Exit(stay, go_on))
        statements = (Variable(stay, "1"), *self._body(body, variable))
        self.exits.pop()
        self._emit(Loop(name, extent, statements, may_be_empty, go_on))

    def _while(self, loop: tirx.While) -> None:
        """A loop without a bound, that is left where the condition does not hold."""
        leave = tirx.IfThenElse(tirx.Not(loop.condition), break_out(), None)
        self._repeat(tirx.Var("round", "int32"), UNBOUNDED, tirx.SeqStmt([leave, loop.body]), may_be_empty=True)

    def _fresh(self, name: str) -> str:
        """A C++ name that nothing else has."""
        return self.names.name(tirx.Var(name, "int32"))

    def _branch(self, condition: tirx.PrimExpr, then: Any, otherwise: Any) -> None:
        condition = self.analyzer.simplify(self._numbers(condition))
        if isinstance(condition, tirx.IntImm):
            taken = then if int(condition) else otherwise
            if taken is not None:
                self._visit(taken)
            return
        text = cexpr(condition, self.names)
        bodies: list[tuple[Statement, ...]] = []
        for arm, known in ((then, condition), (otherwise, self.analyzer.simplify(tirx.Not(condition)))):
            with self.analyzer.constraint_scope(known):
                bodies.append(self._body(arm))
        self._emit(Branch(text, *bodies))

    # ---- numbers ---------------------------------------------------------------------------------------------------

    def _numbers(self, node: Any, moving: Sequence[tirx.Var] = ()) -> Any:
        """``node`` with variables in place of the integers that it reads from tensors and from T.alloc_var."""
        return replace_scalars(node, self._number, lambda load: self._is_number(load, moving))

    def _is_number(self, load: tirx.BufferLoad, moving: Sequence[tirx.Var]) -> bool:
        return self._is_variable(load.buffer) or is_scalar(load, moving)

    def _is_variable(self, buffer: tirx.Buffer) -> bool:
        return is_one_of(buffer, self.variables)

    def _number(self, load: tirx.BufferLoad) -> tirx.Var:
        if self._is_variable(load.buffer):
            return self._snapshot(load)
        known = known_reading(load, self.bodies)
        if known is not None:
            return known
        body = body_for(load, self.bodies)
        var = tirx.Var(f"{load.buffer.name}_element", "int32")
        body.statements.append(self.regions.read_scalar(load, self.names.name(var), location_of(self.func)))
        body.variables.append(var)
        body.readings.append((load, var))
        return var

    def _snapshot(self, load: tirx.BufferLoad) -> tirx.Var:
        """What a variable holds now: element-wise work may be done after it has changed."""
        var = tirx.Var(f"{load.buffer.name}_now", str(load.dtype))
        self._emit(Let(self.names.name(var), self.names.name(load.buffer.data)))
        self.bodies[-1].variables.append(var)
        return var

    def _tile_op(self, call: tirx.Call) -> None:
        name, buffers = tile_ops.op_name(call), tile_ops.buffers_of(call)
        location = statement_location(self.func, name, buffers)
        try:
            self._emit(*self.operations.statements(tile_ops.decode(call), location))
        except UnsupportedError as error:
            raise error.at(location) from None

    def _parallel(self, loop: tirx.For) -> None:
        loops = [loop]
        while isinstance(loops[-1].body, tirx.For) and loops[-1].body.kind == tirx.ForKind.PARALLEL:
            loops.append(loops[-1].body)
        first = {each.loop_var: each.min for each in loops if isinstance(each.extent, tirx.IntImm) and each.extent == 1}
        inner = tirx.stmt_functor.substitute(loops[-1].body, first)
        loops = [each for each in loops if each.loop_var not in first]
        outer = over_matrices(loops, inner)
        if outer is not None:
            self._loop(outer)
            return
        for each in loops:
            self.analyzer.bind(each.loop_var, tvm.ir.Range.from_min_extent(each.min, each.extent))
        self._element_stores(inner, loops)

    def _element_stores(self, body: Any, loops: Sequence[tirx.For]) -> None:
        moving = [loop.loop_var for loop in loops]
        for store in predicated(body, loops, self.operations.new_buffer):
            numbered = self._numbers(store, moving)
            self._emit(self._element_store(numbered, loops))

    def _element_store(self, store: Any, loops: Sequence[tirx.For]) -> Statement:
        if not isinstance(store, tirx.BufferStore):
            raise self._unsupported(f"{_describe(store)} in T.Parallel is not supported", subject="T.Parallel")
        location = store_location(self.func, str(store.buffer.name))
        try:
            found = self.regions.access(store.buffer, store.indices, loops)
            if len(found.order) != len(loops):
                raise refused(
                    f"{store.buffer.name} is written by an index that a loop does not move", str(store.buffer.name)
                )
            # In the order of the dimensions that are written, so that it is what is read that is transposed.
            ordered = [loops[number] for number in found.order]
            if tile_ops.is_global(store.buffer):
                return self._tensor_store(store, found, loops, ordered, location)
            # A row, a column or an element is written among others: in a loop over whole tiles.
            along = [ANY if number is None else loops[number] for number in found.loops]
            own = [loop for loop, size in zip(along, store.buffer.shape, strict=True) if int(size) != 1]

            def value_as(lies: Broadcast) -> TileExpr:
                return element_expr(store.value, own[-2:] if lies else ordered, self.regions)

            return _as_load(self.regions.write(found.region, value_as, location))
        except UnsupportedError as error:
            raise error.at(location) from None

    def _tensor_store(
        self,
        store: tirx.BufferStore,
        found: Access,
        loops: Sequence[tirx.For],
        ordered: Sequence[tirx.For],
        location: SourceLocation | None,
    ) -> Store:
        if self.regions.made_of_tiles(found.region):
            value = element_expr(store.value, ordered, self.regions)
            return Store(value, self.regions.tensor_block(found.region), location)
        # Other cores write to the same tiles: what is kept there must not be read and written back.
        written, conditions = unconditional(store)
        window = self.regions.window(found.region, conditions, loops, found.loops)
        value = element_expr(written, ordered, self.regions)
        return Store(value, self.regions.tensor_block(found.region, partly=True), location, window)

    # ---- declarations ----------------------------------------------------------------------------------------------

    def _allocate(self, buffer: tirx.Buffer) -> None:
        if is_variable(buffer):
            self.variables.append(buffer)
            self._emit(Variable(self.names.name(buffer.data)))
            return
        name, shape = str(buffer.name), [int(dim) for dim in buffer.shape]
        if len(shape) == 1 and self.reached.get(name, 0) > shape[0]:
            shape = self.shapes[name] = [self.reached[name]]
        self.blocks[name] = block_of(buffer, shape, self.float16_as)

    def _check_one_exponent(self) -> None:
        """The engines take 16-bit floats of one exponent width at a time."""
        stored = {str(self.plain[f"{attrs.BUFFER_PREFIX}{b.name}"]["dtype"]) for b in tensor_params(self.func)}
        dtypes = stored | {block.dtype for block in self.blocks.values()}
        if "float16" in dtypes and dtypes & {"bfloat16", *BLOCK_FLOATS}:
            raise self._unsupported(
                f"float16 and {'bfloat16' if 'bfloat16' in dtypes else 'block floats'} in one kernel are not supported",
                subject="dtype",
                found=", ".join(sorted(dtypes)),
                hint=f"use one of them, and float32 beside it, or the schedule's {attrs.FLOAT16_AS!r}",
            )

    def _check_tensor(self, buffer: tirx.Buffer) -> None:
        try:
            data_format(str(buffer.dtype))
        except UnsupportedError as error:
            raise error.at(location_of(buffer)) from None

    def _unsupported(
        self, message: str, *, subject: str, found: object = None, hint: str | None = None
    ) -> UnsupportedError:
        return refused(message, subject, found=found, hint=hint).at(location_of(self.func))  # type: ignore[return-value]


_HINTS = ("threadblock_swizzle_pattern", "tvm_storage_sync", "sync_threads", "no_set_max_nreg", "set_max_nreg")
"""What speaks of GPU threads and caches only: the order of blocks, barriers between threads, registers of warps."""


def _is_hint(node: Any) -> bool:
    if isinstance(node, tirx.AttrStmt):
        return str(node.attr_key) in _HINTS
    name = str(getattr(getattr(getattr(node, "value", None), "op", None), "name", ""))
    return isinstance(node, tirx.Evaluate) and name.split(".")[-1] in _HINTS


def _tensors_read(statements: list[Statement]) -> set[str]:
    read = {name for s in statements if isinstance(s, Load) for name in s.source.tensors}
    read |= {s.tensor for s in statements if isinstance(s, ReadScalar)}
    for statement in statements:
        if isinstance(statement, (Map, Store)):
            leaves = (leaf for leaf in operands(statement.value) if isinstance(leaf, TensorTile))
            read |= {name for leaf in leaves for name in leaf.source.tensors}
    return read


def _as_load(statement: Map) -> Map | Load:
    """What only takes a block of a tensor as it is needs no compute kernel."""
    value = statement.value
    if statement.part is None and isinstance(value, TensorTile) and value == TensorTile(value.source):
        return Load(value.source, statement.dst, statement.location)
    return statement


def _describe(node: Any) -> str:
    if isinstance(node, tirx.Evaluate):
        return str(getattr(getattr(node.value, "op", None), "name", type(node.value).__name__))
    return {"IfThenElse": "if", "While": "while"}.get(type(node).__name__, type(node).__name__)
