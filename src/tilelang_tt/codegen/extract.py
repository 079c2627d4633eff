"""From a persistent function's TIR to a tile program; every construct that has no lowering is refused here, by its
line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from .. import attrs
from ..errors import Code, SourceLocation, UnsupportedError
from ..formats import TILE, data_format
from ..language import tile_ops
from ..language.exits import break_out, is_break, is_continue, leaves
from ..language.kernel import kernel_name, tensor_params
from ..language.plain import plain_attrs
from ..language.source import location_of, statement_location, store_location
from ..language.symbols import symbols_of
from ..sizes import from_plain
from ..transform.common import grid_exprs
from ..transform.grid_to_persistent_tt import LOOP_VAR, SHARD_LOOP_VAR, is_one
from .access import Access, access
from .cexpr import Names, cexpr
from .elements import element_expr
from .padding import neutralise
from .predicates import predicated
from .scalars import UNBOUNDED, Body, Exit, body_for, is_scalar, known_reading, replace_scalars
from .tile_program import (
    Assign,
    Block,
    BlockTile,
    Branch,
    Gemm,
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
    TensorInfo,
    TensorTile,
    TileProgram,
    Variable,
    operands,
    walk,
)

REDUCTIONS = ("sum", "max", "min", "abssum", "absmax")


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
    analyzer: arith.Analyzer = field(default_factory=arith.Analyzer)
    names: Names = field(init=False)
    block_axes: dict[str, str] = field(default_factory=dict)
    bodies: list[Body] = field(default_factory=list)
    """The bodies under construction, from the work tile's inwards."""

    variables: list[tirx.Buffer] = field(default_factory=list)
    """The buffers that are integers of T.alloc_var."""

    exits: list[Exit] = field(default_factory=list)
    """How the loops around are left early, of those that may be."""

    def __post_init__(self) -> None:
        self.names = Names(self.analyzer)

    def run(self) -> TileProgram:
        self.plain = plain_attrs(self.func)
        self.block_tags = {name: tag for tag, name in self.plain.get(attrs.BLOCK_VARS, {}).items()}
        self.symbols = symbols_of(self.func)
        self.symbols.bind(self.analyzer)
        for buffer in tensor_params(self.func):
            self._check_tensor(buffer)
        loop = self._loop_over(LOOP_VAR)
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

    def _loop_over(self, name: str) -> tirx.For | None:
        found: list[tirx.For] = []

        def visit(node: Any) -> None:
            if isinstance(node, tirx.For) and str(node.loop_var.name) == name:
                found.append(node)

        tirx.stmt_functor.post_order_visit(self.func.body, visit)
        return found[0] if found else None

    def _shard_loop(self) -> Loop | None:
        """The loop over a core's shards, with what it defines of each."""
        loop = self._loop_over(SHARD_LOOP_VAR)
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
        elif isinstance(node, tirx.BufferStore) and self._holds_one_element(node.buffer):
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

    def _holds_one_element(self, buffer: tirx.Buffer) -> bool:
        return all(int(dim) == 1 for dim in buffer.shape)

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
        return any(buffer.same_as(variable) for variable in self.variables)

    def _number(self, load: tirx.BufferLoad) -> tirx.Var:
        if self._is_variable(load.buffer):
            return self._snapshot(load)
        known = known_reading(load, self.bodies)
        if known is not None:
            return known
        body = body_for(load, self.bodies)
        var = tirx.Var(f"{load.buffer.name}_element", "int32")
        body.statements.append(self.read_scalar(load, self.names.name(var)))
        body.variables.append(var)
        body.readings.append((load, var))
        return var

    def _snapshot(self, load: tirx.BufferLoad) -> tirx.Var:
        """What a variable holds now: element-wise work may be done after it has changed."""
        var = tirx.Var(f"{load.buffer.name}_now", str(load.dtype))
        self._emit(Let(self.names.name(var), self.names.name(load.buffer.data)))
        self.bodies[-1].variables.append(var)
        return var

    def read_scalar(self, load: tirx.BufferLoad, var: str) -> ReadScalar:
        """The statement that reads an element of a tensor."""
        zero, tile = tirx.IntImm("int32", 0), tirx.IntImm("int32", TILE)
        indices = [zero] * (2 - len(load.indices)) + [self.analyzer.simplify(index) for index in load.indices]
        shape = [tile] * (2 - len(load.indices)) + list(load.buffer.shape)
        inside = self._inside(indices, shape)
        leading: Any = zero
        for index, size in zip(indices[:-2], shape[:-2], strict=True):
            leading = leading * size + index
        rows, cols = (tirx.floordiv(size + (TILE - 1), TILE) for size in shape[-2:])
        row, col = (tirx.floordiv(index, tile) for index in indices[-2:])
        return ReadScalar(
            var,
            str(load.buffer.name),
            page=self.scalar((leading * rows + row) * cols + col),
            row=self.scalar(tirx.floormod(indices[-2], tile)),
            col=self.scalar(tirx.floormod(indices[-1], tile)),
            inside=inside or None,
            location=location_of(self.func),
        )

    def _tile_op(self, call: tirx.Call) -> None:
        name, buffers = tile_ops.op_name(call), tile_ops.buffers_of(call)
        location = statement_location(self.func, name, buffers)
        try:
            op = tile_ops.decode(call)
            if isinstance(op, tile_ops.CopyOp):
                if op.src.is_global and op.dst.is_global:
                    self._copy_through_l1(op, location)
                else:
                    self._emit(self._copy(op, location))
            elif isinstance(op, tile_ops.FillOp):
                self._emit(self._fill(op, location))
            elif isinstance(op, tile_ops.ReduceOp):
                self._emit(self._reduce(op, location))
            elif isinstance(op, tile_ops.TransposeOp):
                self._emit(self._transpose(op, location))
            else:
                self._emit(self._gemm(op, location))
        except UnsupportedError as error:
            raise error.at(location) from None

    def _copy(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> Statement:
        _check_same_size(op.src, op.dst)
        if op.src.is_global:
            self._whole(op.dst)
            return Load(self.tensor_block(op.src), op.dst.name, location)
        self._whole(op.src)
        if op.dst.is_global:
            return Store(BlockTile(op.src.name), self._target(op.dst), location)
        self._whole(op.dst)
        return Map(op.dst.name, BlockTile(op.src.name), location)

    def _copy_through_l1(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> None:
        """From tensor to tensor, by way of an on-chip buffer of the region's size."""
        _check_same_size(op.src, op.dst)
        sizes = [extent for extent in op.src.extents if extent != 1]
        if len(sizes) not in (1, 2):
            raise _refused("a copy from tensor to tensor is not of a vector or matrix", op.src.name, found=sizes)
        name = f"{op.src.name}_to_{op.dst.name}"
        while name in self.blocks:
            name += "_"
        dtype = str(op.src.buffer.dtype)
        self.blocks[name] = Block.of_shape(name, sizes, dtype)
        self._emit(Load(self.tensor_block(op.src), name, location))
        self._emit(Store(BlockTile(name), self._target(op.dst), location))

    def _fill(self, op: tile_ops.FillOp, location: SourceLocation | None) -> Statement:
        self._whole(op.dst)
        return Map(op.dst.name, element_expr(op.value, [], self), location)

    def _reduce(self, op: tile_ops.ReduceOp, location: SourceLocation | None) -> Statement:
        if op.kind not in REDUCTIONS:
            raise _refused(f"T.reduce_{op.kind} is not supported", op.kind, expected=", ".join(REDUCTIONS))
        for region in (op.src, op.dst):
            self._whole(region)
        src, dst = self.blocks[op.src.name], self.blocks[op.dst.name]
        moving = [axis for axis, size in enumerate(op.src.extents) if size > 1]
        to_vector = not src.is_vector and dst.is_vector and dst.lies != "all"
        to_element = src.is_vector and dst.lies == "all" and moving == [op.dim % len(op.src.extents)]
        if not to_vector and not to_element:
            found = f"{list(op.src.extents)} to {list(op.dst.extents)}"
            raise _refused(
                "a reduction takes a matrix to a vector, or a vector to one element", op.src.name, found=found
            )
        _check_floats(f"T.reduce_{op.kind}", op.src, op.dst)
        return Reduce(op.src.name, op.dst.name, op.kind, op.dim if to_vector else None, op.clear, location)

    def _transpose(self, op: tile_ops.TransposeOp, location: SourceLocation | None) -> Statement:
        for region in (op.src, op.dst):
            if region.is_global:
                raise _refused("T.transpose of a tensor is not supported", region.name, hint="copy it first")
            self._whole(region)
        return Map(op.dst.name, BlockTile(op.src.name, transposed=not self.blocks[op.src.name].is_vector), location)

    def _gemm(self, op: tile_ops.GemmOp, location: SourceLocation | None) -> Statement:
        for region in (op.a, op.b, op.c):
            if region.is_global:
                raise _refused(
                    "T.gemm on a tensor is not supported", region.name, hint="copy it to a shared buffer first"
                )
            self._whole(region)
        _check_floats("T.gemm", op.a, op.b, op.c)
        return Gemm(op.a.name, op.b.name, op.c.name, op.transpose_a, op.transpose_b, op.clear_accum, location)

    def _parallel(self, loop: tirx.For) -> None:
        loops = [loop]
        while isinstance(loops[-1].body, tirx.For) and loops[-1].body.kind == tirx.ForKind.PARALLEL:
            loops.append(loops[-1].body)
        for each in loops:
            self.analyzer.bind(each.loop_var, tvm.ir.Range.from_min_extent(each.min, each.extent))
        first = {each.loop_var: each.min for each in loops if isinstance(each.extent, tirx.IntImm) and each.extent == 1}
        inner = tirx.stmt_functor.substitute(loops[-1].body, first)
        self._element_stores(inner, [each for each in loops if each.loop_var not in first])

    def _element_stores(self, body: Any, loops: Sequence[tirx.For]) -> None:
        try:
            stores = predicated(body)
        except UnsupportedError as error:
            raise error.at(store_location(self.func, error.subject or "")) from None
        moving = [loop.loop_var for loop in loops]
        for store in stores:
            numbered = self._numbers(store, moving)
            self._emit(self._element_store(numbered, loops))

    def _element_store(self, store: Any, loops: Sequence[tirx.For]) -> Statement:
        if not isinstance(store, tirx.BufferStore):
            raise self._unsupported(f"{_describe(store)} in T.Parallel is not supported", subject="T.Parallel")
        location = store_location(self.func, str(store.buffer.name))
        try:
            found = self.access(store.buffer, store.indices, loops)
            if len(found.order) != len(loops):
                raise _refused(
                    f"{store.buffer.name} is written by an index that a loop does not move", str(store.buffer.name)
                )
            # In the order of the dimensions that are written, so that it is what is read that is transposed.
            value = element_expr(store.value, [loops[number] for number in found.order], self)
            if tile_ops.is_global(store.buffer):
                return Store(value, self._target(found.region), location)
            self._whole(found.region)
            return Map(str(store.buffer.name), value, location)
        except UnsupportedError as error:
            raise error.at(location) from None

    # ---- regions ---------------------------------------------------------------------------------------------------

    def access(self, buffer: tirx.Buffer, indices: Sequence[Any], loops: Sequence[tirx.For]) -> Access:
        """How ``buffer[indices]`` moves with the parallel loops."""
        return access(buffer, indices, loops, self.analyzer)

    def scalar(self, expr: Any) -> str:
        """An integer that is the same for all elements, as a C++ expression."""
        return cexpr(self.analyzer.simplify(expr), self.names)

    def tensor_block(self, region: tile_ops.Region) -> TensorBlock:
        """A region of a tensor in hardware tiles, or one row, one column or one element of it.

        Raises:
            UnsupportedError: ``unsupported``, unless it is whole tiles of one matrix along the rest.
        """
        shape: list[Any] = list(region.buffer.shape)
        mins, extents = list(region.mins), list(region.extents)
        is_vector = len(shape) == 1 and extents[0] > 1
        if len(shape) == 1:
            shape = [tirx.IntImm("int32", 1), *shape]
            mins, extents = [tirx.IntImm("int32", 0), *mins], [1, *extents]
        if any(extent != 1 for extent in extents[:-2]):
            raise _refused(
                f"a block of {region.name} spans several matrices",
                region.name,
                found=extents,
                expected="the last two dimensions",
            )
        tensor_tiles = [self.analyzer.simplify(tirx.floordiv(size + (TILE - 1), TILE)) for size in shape[-2:]]
        rows, cols = (self._tiles(axis, mins, extents, shape, region) for axis in (-2, -1))
        leading: Any = tirx.IntImm("int32", 0)
        for index, size in zip(mins[:-2], shape[:-2], strict=True):
            leading = leading * size + index
        past = [self._may_reach_past(*axis) for axis in zip(mins[-2:], extents[-2:], shape[-2:], strict=True)]
        return TensorBlock(
            tensor=region.name,
            leading=cexpr(self.analyzer.simplify(leading), self.names),
            row=self._tile_index(mins[-2], extents[-2], region),
            col=self._tile_index(mins[-1], extents[-1], region),
            rows=rows,
            cols=cols,
            tensor_rows=cexpr(tensor_tiles[0], self.names),
            tensor_cols=cexpr(tensor_tiles[1], self.names),
            is_vector=is_vector,
            past_rows=past[0],
            past_cols=past[1],
            leading_inside=self._inside(mins[:-2], shape[:-2]),
            picked=None if is_vector else self._picked(mins[-2:], extents[-2:], shape[-2:]),
            last_rows=self._in_last_tile(shape[-2]),
            last_cols=self._in_last_tile(shape[-1]),
        )

    def _in_last_tile(self, size: Any) -> str:
        """How many of ``size`` elements lie in the last hardware tile, as a C++ expression."""
        return cexpr(self.analyzer.simplify(tirx.floormod(size + (TILE - 1), TILE) + 1), self.names)

    def _may_reach_past(self, first: Any, extent: int, size: Any) -> bool:
        """Whether a block may have tiles past those of a tensor of ``size`` elements."""
        covered = 1 if extent == 1 else -(-extent // TILE) * TILE
        end = tirx.floordiv(size + (TILE - 1), TILE) * TILE
        return not (self.analyzer.can_prove(first >= 0) and self.analyzer.can_prove(first + covered <= end))

    def _picked(self, mins: Sequence[Any], extents: Sequence[int], shape: Sequence[Any]) -> Picked | None:
        """The row, column or element that a block of extent 1 is."""
        if all(extent > 1 for extent in extents):
            return None
        tile = tirx.IntImm("int32", TILE)
        row, col = (
            cexpr(self.analyzer.simplify(tirx.floormod(first, tile)), self.names) if extent == 1 else None
            for first, extent in zip(mins, extents, strict=True)
        )
        return Picked(row, col, all(is_one(size) for size, extent in zip(shape, extents, strict=True) if extent == 1))

    def _target(self, region: tile_ops.Region) -> TensorBlock:
        """A region of a tensor that is written.

        Raises:
            UnsupportedError: ``unsupported``, for a column or an element of others in their tiles.
        """
        block = self.tensor_block(region)
        if block.picked is not None and not block.picked.alone and block.picked.lies != "row":
            what = "one element" if block.picked.lies == "all" else "one column"
            raise _refused(
                f"{what} of {region.name} is written, among others in a hardware tile",
                region.name,
                found=f"{list(region.extents)} of {list(region.buffer.shape)}",
                expected="whole tiles or whole rows of elements",
                hint="write a row, or a tensor that has nothing else",
            )
        return block

    def _inside(self, indices: Sequence[Any], shape: Sequence[Any]) -> str:
        """Which of ``indices`` have to be below ``shape`` when the kernel runs, as a C++ condition; "" where all are
        known to be."""
        return " && ".join(
            f"uint32_t({self.scalar(index)}) < {self.scalar(size)}"
            for index, size in zip(indices, shape, strict=True)
            if not (self.analyzer.can_prove(index >= 0) and self.analyzer.can_prove(index < size))
        )

    def _tile_index(self, index: tirx.PrimExpr, extent: int, region: tile_ops.Region) -> str:
        tile = tirx.IntImm("int32", TILE)
        if extent > 1 and not self.analyzer.can_prove_equal(tirx.floormod(index, tile), tirx.IntImm("int32", 0)):
            raise _refused(
                f"a block of {region.name} does not begin at a hardware tile",
                region.name,
                found=f"index {index}",
                expected=f"a multiple of {TILE}",
            )
        return cexpr(self.analyzer.simplify(tirx.floordiv(index, tile)), self.names)

    def _tiles(
        self, axis: int, mins: Sequence[Any], extents: Sequence[int], shape: Sequence[Any], region: tile_ops.Region
    ) -> int:
        """The hardware tiles of a block along ``axis``: whole ones, up to the tensor's end, or part of one."""
        extent = extents[axis]
        if extent > 1 and extent % TILE and not self.analyzer.can_prove(mins[axis] + extent >= shape[axis]):
            raise _refused(
                f"a block of {region.name} is not whole hardware tiles",
                region.name,
                found=f"{extent} elements",
                expected=f"a multiple of {TILE}",
            )
        return -(-extent // TILE)

    def _whole(self, region: tile_ops.Region) -> None:
        """On-chip buffers are used as wholes."""
        shape = tuple(int(dim) for dim in region.buffer.shape)
        whole = all(isinstance(first, tirx.IntImm) and int(first) == 0 for first in region.mins)
        if not whole or region.extents != shape:
            raise _refused(
                f"a part of on-chip buffer {region.name} is not supported",
                region.name,
                found=f"{list(region.extents)} at {[str(first) for first in region.mins]}",
                expected=f"the whole buffer, {list(shape)}",
            )

    # ---- declarations ----------------------------------------------------------------------------------------------

    def _allocate(self, buffer: tirx.Buffer) -> None:
        name, shape = str(buffer.name), [int(dim) for dim in buffer.shape]
        location = location_of(buffer)
        scope = str(buffer.scope())
        if scope in ("local.var", "local") and shape == [1] and str(buffer.dtype).startswith(("int", "bool")):
            self.variables.append(buffer)
            self._emit(Variable(self.names.name(buffer.data)))
            return
        is_one = all(dim == 1 for dim in shape)
        if not scope.startswith(("shared", "local.fragment")) and not (is_one and scope.startswith("local")):
            raise _refused(
                f"buffer {name} of scope {scope} is not supported", name, expected="T.alloc_shared or T.alloc_fragment"
            ).at(location)
        if len(shape) not in (1, 2):
            raise _refused(
                f"on-chip buffer {name} has {len(shape)} dimensions", name, found=shape, expected="one or two"
            ).at(location)
        try:
            data_format(str(buffer.dtype))
        except UnsupportedError as error:
            raise error.at(location) from None
        self.blocks[name] = Block.of_shape(name, shape, str(buffer.dtype), is_one=is_one)

    def _check_one_exponent(self) -> None:
        """The engines take 16-bit floats of one exponent width at a time."""
        dtypes = {str(buffer.dtype) for buffer in tensor_params(self.func)} | {b.dtype for b in self.blocks.values()}
        if {"float16", "bfloat16"} <= dtypes:
            raise self._unsupported(
                "float16 and bfloat16 in one kernel are not supported",
                subject="dtype",
                found=", ".join(sorted(dtypes)),
                hint="use one of them, and float32 beside it",
            )

    def _check_tensor(self, buffer: tirx.Buffer) -> None:
        try:
            data_format(str(buffer.dtype))
        except UnsupportedError as error:
            raise error.at(location_of(buffer)) from None

    def _unsupported(
        self, message: str, *, subject: str, found: object = None, hint: str | None = None
    ) -> UnsupportedError:
        return _refused(message, subject, found=found, hint=hint).at(location_of(self.func))  # type: ignore[return-value]


_HINTS = ("threadblock_swizzle_pattern", "tvm_storage_sync", "sync_threads", "no_set_max_nreg", "set_max_nreg")
"""What speaks of GPU threads and caches only: the order of blocks, barriers between threads, registers of warps."""


def _is_hint(node: Any) -> bool:
    if isinstance(node, tirx.AttrStmt):
        return str(node.attr_key) in _HINTS
    name = str(getattr(getattr(getattr(node, "value", None), "op", None), "name", ""))
    return isinstance(node, tirx.Evaluate) and name.split(".")[-1] in _HINTS


def _refused(
    message: str, subject: str, *, found: object = None, expected: object = None, hint: str | None = None
) -> UnsupportedError:
    return UnsupportedError(Code.UNSUPPORTED, message, subject=subject, found=found, expected=expected, hint=hint)


def _check_same_size(src: tile_ops.Region, dst: tile_ops.Region) -> None:
    sizes = [[extent for extent in region.extents if extent != 1] for region in (src, dst)]
    if sizes[0] != sizes[1]:
        raise _refused(
            f"T.copy from {src.name} to {dst.name}: the regions differ in size",
            src.name,
            found=f"{list(src.extents)} to {list(dst.extents)}",
            expected="regions of one size",
        )


def _check_floats(construct: str, *regions: tile_ops.Region) -> None:
    """The matrix engine computes with floats."""
    for region in regions:
        if str(region.buffer.dtype) == "int32":
            raise _refused(
                f"{construct} of int32 is not supported", region.name, found="dtype int32", expected="floats"
            )


def _tensors_read(statements: list[Statement]) -> set[str]:
    read = {s.source.tensor for s in statements if isinstance(s, Load)}
    read |= {s.tensor for s in statements if isinstance(s, ReadScalar)}
    for statement in statements:
        if isinstance(statement, (Map, Store)):
            read |= {leaf.source.tensor for leaf in operands(statement.value) if isinstance(leaf, TensorTile)}
    return read


def _describe(node: Any) -> str:
    if isinstance(node, tirx.Evaluate):
        return str(getattr(getattr(node.value, "op", None), "name", type(node.value).__name__))
    return {"IfThenElse": "if", "While": "while", "BufferStore": "an element assignment"}.get(
        type(node).__name__, type(node).__name__
    )
