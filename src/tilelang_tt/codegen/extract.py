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
from ..language.kernel import kernel_name, tensor_params
from ..language.plain import plain_attrs
from ..language.source import location_of, statement_location, store_location
from ..transform.grid_to_persistent_tt import LOOP_VAR, SHARD_LOOP_VAR
from .access import Access, access
from .cexpr import Names, cexpr
from .elements import element_expr
from .padding import neutralise
from .predicates import predicated
from .tile_program import (
    Block,
    BlockTile,
    Branch,
    Gemm,
    Let,
    Load,
    Loop,
    Map,
    Picked,
    Reduce,
    Statement,
    Store,
    TensorBlock,
    TensorInfo,
    TensorTile,
    TileProgram,
    operands,
    walk,
)

REDUCTIONS = ("sum", "max", "min", "abssum", "absmax")
_GRID_KEYS = {"blockIdx.x": attrs.GRID_X, "blockIdx.y": attrs.GRID_Y, "blockIdx.z": attrs.GRID_Z}


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

    def __post_init__(self) -> None:
        self.names = Names(self.analyzer)

    def run(self) -> TileProgram:
        self.plain = plain_attrs(self.func)
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
        shard_loop = self._shard_loop()
        self.names.name(loop.loop_var)
        statements = self._statements(loop.body)
        self._check_one_exponent()
        body = Loop(LOOP_VAR, cexpr(loop.extent, self.names), tuple(statements))
        program = TileProgram(
            kernel_name(self.func),
            self._tensors(body),
            tuple(self.blocks.values()),
            body,
            shard_loop,
            self.block_axes,
            frozenset(self.plain.get(attrs.RUNTIME_CONSTANTS, {})),
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
        variable, extent = self.names.name(loop.loop_var), cexpr(loop.extent, self.names)
        binds = [node for node in loop.body.seq if isinstance(node, tirx.Bind)]
        lets = tuple(Let(self.names.name(bind.var), cexpr(bind.value, self.names)) for bind in binds)
        return Loop(variable, extent, lets)

    def _bound_arguments(self) -> None:
        """Tell the analyzer the values of the runtime arguments that every core shares."""
        constants: Mapping[str, int] = self.plain.get(attrs.RUNTIME_CONSTANTS, {})
        for param in self.func.params:
            name = str(param.name)
            self.names.name(param)
            if name in constants:
                self.analyzer.bind(param, tirx.IntImm("int32", constants[name]))

    def _tensors(self, body: Loop) -> tuple[TensorInfo, ...]:
        statements = walk((body,))
        written = {s.target.tensor for s in statements if isinstance(s, Store)}
        read = _tensors_read(statements)
        infos = []
        for buffer in tensor_params(self.func):
            name = str(buffer.name)
            direction = "inout" if name in read & written else "out" if name in written else "in"
            infos.append(TensorInfo(name, tuple(int(dim) for dim in buffer.shape), str(buffer.dtype), direction))
        return tuple(infos)

    # ---- statements ------------------------------------------------------------------------------------------------

    def _statements(self, node: Any) -> list[Statement]:
        if isinstance(node, tirx.SeqStmt):
            return [statement for child in node.seq for statement in self._statements(child)]
        if isinstance(node, tirx.SBlockRealize):
            for buffer in node.block.alloc_buffers:
                self._allocate(buffer)
            return self._statements(node.block.body)
        if isinstance(node, tirx.Bind):
            return self._let(node)
        if _is_hint(node):
            return self._statements(node.body) if isinstance(node, tirx.AttrStmt) else []
        if isinstance(node, tirx.For):
            return self._loop(node)
        if isinstance(node, tirx.IfThenElse):
            return self._branch(node)
        if isinstance(node, tirx.Evaluate) and tile_ops.is_tile_op(node.value):
            return self._tile_op(node.value)
        if isinstance(node, tirx.BufferStore) and self._holds_one_element(node.buffer):
            return self._element_stores(node, [])
        raise self._unsupported(f"{_describe(node)} is not supported outside T.Parallel", subject=_describe(node))

    def _holds_one_element(self, buffer: tirx.Buffer) -> bool:
        return all(int(dim) == 1 for dim in buffer.shape)

    def _let(self, bind: tirx.Bind) -> list[Statement]:
        if str(getattr(getattr(bind.value, "op", None), "name", "")).endswith("launch_thread_idx"):
            raise self._unsupported(
                "thread indices are not supported: a Tensix core has no threads",
                subject=str(bind.var.name),
                hint="use T.Parallel and tile operations",
            )
        self._bound_block_index(bind)
        return [Let(self.names.name(bind.var), cexpr(bind.value, self.names))]

    def _bound_block_index(self, bind: tirx.Bind) -> None:
        tags = {name: tag for tag, name in self.plain.get(attrs.BLOCK_VARS, {}).items()}
        tag = None if self.blocks else tags.get(str(bind.var.name))
        if tag is None:
            self.analyzer.bind(bind.var, bind.value)
        else:
            self.analyzer.bind(bind.var, tvm.ir.Range(0, self.plain[_GRID_KEYS[tag]]))
            self.block_axes[self.names.name(bind.var)] = "N" if tag == "blockIdx.x" else "M"

    def _loop(self, loop: tirx.For) -> list[Statement]:
        if loop.kind == tirx.ForKind.PARALLEL:
            return self._parallel(loop)
        if loop.kind not in (tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED):
            raise self._unsupported(f"a loop of kind {loop.kind} is not supported", subject=str(loop.loop_var.name))
        body = loop.body
        variable = loop.loop_var
        if not isinstance(loop.min, tirx.IntImm) or int(loop.min) != 0:
            variable = tirx.Var(str(loop.loop_var.name), str(loop.loop_var.dtype))
            body = tirx.stmt_functor.substitute(body, {loop.loop_var: variable + loop.min})
        extent = self.analyzer.simplify(loop.extent)
        self.analyzer.bind(variable, tvm.ir.Range(0, extent))
        may_be_empty = not self.analyzer.can_prove(extent >= 1)
        counted = loop.extent if self.analyzer.can_prove(extent >= 0) else tirx.max(extent, 0)
        statements = tuple(self._statements(body))
        return [Loop(self.names.name(variable), cexpr(counted, self.names), statements, may_be_empty)]

    def _branch(self, branch: tirx.IfThenElse) -> list[Statement]:
        condition = self.analyzer.simplify(branch.condition)
        arms = (branch.then_case, branch.else_case)
        if isinstance(condition, tirx.IntImm):
            taken = arms[0] if int(condition) else arms[1]
            return [] if taken is None else self._statements(taken)
        text = cexpr(condition, self.names)
        bodies: list[tuple[Statement, ...]] = []
        for arm, known in zip(arms, (condition, tirx.Not(condition)), strict=True):
            with self.analyzer.constraint_scope(known):
                bodies.append(() if arm is None else tuple(self._statements(arm)))
        return [Branch(text, *bodies)]

    def _tile_op(self, call: tirx.Call) -> list[Statement]:
        name, buffers = tile_ops.op_name(call), tile_ops.buffers_of(call)
        location = statement_location(self.func, name, buffers)
        try:
            op = tile_ops.decode(call)
            if isinstance(op, tile_ops.CopyOp):
                return [self._copy(op, location)]
            if isinstance(op, tile_ops.FillOp):
                return [self._fill(op, location)]
            if isinstance(op, tile_ops.ReduceOp):
                return [self._reduce(op, location)]
            if isinstance(op, tile_ops.TransposeOp):
                return [self._transpose(op, location)]
            return [self._gemm(op, location)]
        except UnsupportedError as error:
            raise error.at(location) from None

    def _copy(self, op: tile_ops.CopyOp, location: SourceLocation | None) -> Statement:
        if op.src.is_global and op.dst.is_global:
            raise _refused(
                "a copy from tensor to tensor is not supported", op.src.name, hint="copy by way of a shared buffer"
            )
        _check_same_size(op.src, op.dst)
        if op.src.is_global:
            self._whole(op.dst)
            return Load(self.tensor_block(op.src), op.dst.name, location)
        self._whole(op.src)
        if op.dst.is_global:
            return Store(BlockTile(op.src.name), self._target(op.dst), location)
        self._whole(op.dst)
        return Map(op.dst.name, BlockTile(op.src.name), location)

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

    def _parallel(self, loop: tirx.For) -> list[Statement]:
        loops = [loop]
        while isinstance(loops[-1].body, tirx.For) and loops[-1].body.kind == tirx.ForKind.PARALLEL:
            loops.append(loops[-1].body)
        for each in loops:
            self.analyzer.bind(each.loop_var, tvm.ir.Range.from_min_extent(each.min, each.extent))
        first = {each.loop_var: each.min for each in loops if isinstance(each.extent, tirx.IntImm) and each.extent == 1}
        inner = tirx.stmt_functor.substitute(loops[-1].body, first)
        return self._element_stores(inner, [each for each in loops if each.loop_var not in first])

    def _element_stores(self, body: Any, loops: Sequence[tirx.For]) -> list[Statement]:
        try:
            stores = predicated(body)
        except UnsupportedError as error:
            raise error.at(store_location(self.func, error.subject or "")) from None
        return [self._element_store(store, loops) for store in stores]

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
        shape = [int(dim) for dim in region.buffer.shape]
        mins, extents = list(region.mins), list(region.extents)
        is_vector = len(shape) == 1 and extents[0] > 1
        if len(shape) == 1:
            shape, mins, extents = [1, *shape], [tirx.IntImm("int32", 0), *mins], [1, *extents]
        if any(extent != 1 for extent in extents[:-2]):
            raise _refused(
                f"a block of {region.name} spans several matrices",
                region.name,
                found=extents,
                expected="the last two dimensions",
            )
        tensor_tiles = [-(-size // TILE) for size in shape[-2:]]
        rows, cols = (self._tiles(axis, mins, extents, shape, region) for axis in (-2, -1))
        self._check_leading(region, mins[:-2], shape[:-2])
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
            tensor_rows=tensor_tiles[0],
            tensor_cols=tensor_tiles[1],
            is_vector=is_vector,
            past_rows=past[0],
            past_cols=past[1],
            picked=None if is_vector else self._picked(mins[-2:], extents[-2:], shape[-2:]),
        )

    def _may_reach_past(self, first: Any, extent: int, size: int) -> bool:
        """Whether a block may have tiles past those of a tensor of ``size`` elements."""
        covered = 1 if extent == 1 else -(-extent // TILE) * TILE
        return not self.analyzer.can_prove(first + covered <= -(-size // TILE) * TILE)

    def _picked(self, mins: Sequence[Any], extents: Sequence[int], shape: Sequence[int]) -> Picked | None:
        """The row, column or element that a block of extent 1 is."""
        if all(extent > 1 for extent in extents):
            return None
        tile = tirx.IntImm("int32", TILE)
        row, col = (
            cexpr(self.analyzer.simplify(tirx.floormod(first, tile)), self.names) if extent == 1 else None
            for first, extent in zip(mins, extents, strict=True)
        )
        return Picked(row, col, all(size == 1 for size, extent in zip(shape, extents, strict=True) if extent == 1))

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
                found=f"{list(region.extents)} of {[int(dim) for dim in region.buffer.shape]}",
                expected="whole tiles or whole rows of elements",
                hint="write a row, or a tensor that has nothing else",
            )
        return block

    def _check_leading(self, region: tile_ops.Region, mins: Sequence[Any], shape: Sequence[int]) -> None:
        for axis, (index, size) in enumerate(zip(mins, shape, strict=True)):
            if not self.analyzer.can_prove(index < size):
                raise _refused(
                    f"a block of {region.name} may lie past the end of dimension {axis}",
                    region.name,
                    found=f"index {index} of {size}",
                    expected="an index inside",
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
        self, axis: int, mins: Sequence[Any], extents: Sequence[int], shape: Sequence[int], region: tile_ops.Region
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
        dtype, length = str(buffer.dtype), max(shape)
        if len(shape) == 1 or 1 in shape:
            lies = "all" if is_one else "" if len(shape) == 1 else "col" if shape[1] == 1 else "row"
            self.blocks[name] = Block(name, 1, -(-length // TILE), dtype, 1, length, is_vector=True, lies=lies)
        else:
            rows, cols = (-(-size // TILE) for size in shape)
            self.blocks[name] = Block(name, rows, cols, dtype, shape[0], shape[1])

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


_HINTS = ("threadblock_swizzle_pattern", "tvm_storage_sync", "sync_threads")
"""What speaks of GPU threads and caches only: the order of blocks, and barriers between threads."""


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
