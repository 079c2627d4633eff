"""What a TileLang kernel does, read from its TIR: its launch grid, how it indexes each tensor, its reduction steps.

The role of a tensor's dimension comes from the variables in its index, never from names: a dimension indexed by
blockIdx.x runs along N, by blockIdx.y along M, by blockIdx.z along the batch B, by a reduction loop along K.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tilelang import tvm
from tvm import arith, tirx

from ..errors import Code, UnsupportedError
from ..sizes import Size, evaluate
from . import tile_ops
from .exits import exit_conditions
from .nodes import is_one_of, moves_as_block, nodes, uses
from .source import location_of
from .symbols import Symbols, check_constant, check_unknown_sizes, parallel_extent, symbols_of

BLOCK_ROLES = {"blockIdx.x": "N", "blockIdx.y": "M", "blockIdx.z": "B"}


@dataclass(frozen=True)
class LaunchGrid:
    """``T.Kernel(gx, gy, gz)``: extents, variables and extents as expressions of symbolic sizes, by thread tag.

    Extents are those at the representative sizes. Absent dimensions have extent 1 and no variable.
    """

    extents: Mapping[str, int]
    variables: Mapping[str, tirx.Var]
    exprs: Mapping[str, tirx.PrimExpr]

    def expr(self, tag: str) -> tirx.PrimExpr:
        """The extent of a dimension."""
        return self.exprs.get(tag, tirx.IntImm("int32", 1))

    @property
    def gx(self) -> int:
        """Blocks along blockIdx.x."""
        return self.extents.get("blockIdx.x", 1)

    @property
    def gy(self) -> int:
        """Blocks along blockIdx.y."""
        return self.extents.get("blockIdx.y", 1)

    @property
    def gz(self) -> int:
        """Blocks along blockIdx.z."""
        return self.extents.get("blockIdx.z", 1)


@dataclass(frozen=True)
class TensorAccess:
    """How the kernel uses one tensor parameter.

    Per dimension: ``roles`` ("M", "N", "K", "B", or "" where no block index or reduction loop moves along it) and
    ``block_elems``, the elements that one work tile (or reduction step) covers: the stride of its index, or the size of
    the region where nothing moves along it. ``shape`` is in elements, at the representative sizes of symbolic
    dimensions; ``dims`` are the dimensions as expressions of them.
    """

    buffer: tirx.Buffer
    shape: tuple[int, ...]
    dims: tuple[Size, ...]
    roles: tuple[str, ...]
    block_elems: tuple[int, ...]
    read: bool
    written: bool
    follows: Literal["M", "N", ""] | None = None
    """Where the kernel only reads it: the axis of the work plane ("M" or "N") that alone decides which blocks are read,
    and how often, "" where none does; None where both do, or it is not known."""

    @property
    def name(self) -> str:
        """The parameter's name."""
        return str(self.buffer.name)

    @property
    def dtype(self) -> str:
        """Element type, TVM's name."""
        return str(self.buffer.dtype)


@dataclass(frozen=True)
class KernelInfo:
    """The whole of what the passes ask of a kernel.

    ``tensors`` are in parameter order.
    """

    grid: LaunchGrid
    tensors: tuple[TensorAccess, ...]
    kt: int
    """Reduction steps: the product of the extents of the reduction loops around one another, 1 where there is none."""

    kt_expr: tirx.PrimExpr
    """The same as an expression of symbolic sizes; ``kt`` is its value at the representative ones."""

    symbols: Symbols
    reduction_loops: tuple[tirx.For, ...]
    pipeline_depth: Mapping[str, int]
    """Tensor name -> ``num_stages`` of the pipelined loop that loads it (1 where it has none)."""


@dataclass
class _Use:
    """One access to a tensor: the region, and the loops around it."""

    region: tile_ops.Region
    loops: tuple[tirx.For, ...]
    writes: bool
    into: str | None = None
    """The on-chip buffer that it is copied to."""
    guards: tuple[tirx.PrimExpr, ...] = ()
    """The conditions that it is under."""
    early: bool = False
    """Whether a loop around it may end early."""
    gathered: bool = False
    """Whether it picks elements by computed indices: ``region`` is only about where."""


@dataclass
class _Walk:
    uses: list[_Use] = field(default_factory=list)
    gemm_loops: list[tuple[tirx.For, ...]] = field(default_factory=list)
    lets: dict[tirx.Var, tirx.PrimExpr] = field(default_factory=dict)
    block_vars: tuple[tirx.Var, ...] = ()
    """Variables that are block indices whatever they are bound to."""
    guards: list[tirx.PrimExpr] = field(default_factory=list)
    early: bool = False

    def visit(self, node: Any, loops: tuple[tirx.For, ...]) -> None:
        """Collect every access to a tensor below ``node``; ``loops`` are the serial and parallel loops around it."""
        if isinstance(node, tirx.SeqStmt):
            for statement in node.seq:
                self.visit(statement, loops)
        elif isinstance(node, tirx.For):
            self._loads(node.min, loops)
            self._loads(node.extent, loops)
            exits = list(exit_conditions(node.body))
            self._guarded(node.body, loops if is_block_loop(node) else (*loops, node), exits, early=bool(exits))
        elif isinstance(node, tirx.While):
            self._loads(node.condition, loops)
            self._guarded(node.body, loops, (node.condition, *exit_conditions(node.body)), early=True)
        elif isinstance(node, tirx.SBlockRealize):
            for buffer in node.block.alloc_buffers:
                check_constant(buffer)
            self.visit(node.block.body, loops)
        elif isinstance(node, tirx.AttrStmt):
            self.visit(node.body, loops)
        elif isinstance(node, tirx.Bind):
            self._loads(node.value, loops)
            if not is_one_of(node.var, self.block_vars):
                self.lets[node.var] = self.inlined(node.value)
        elif isinstance(node, tirx.IfThenElse):
            self._loads(node.condition, loops)
            for arm in (node.then_case, node.else_case):
                if arm is not None:
                    self._guarded(arm, loops, (node.condition,))
        elif isinstance(node, tirx.Evaluate) and tile_ops.is_tile_op(node.value):
            self._tile_op(node.value, loops)
        elif isinstance(node, tirx.BufferStore):
            self._element(node.buffer, node.indices, loops, writes=True)
            for expr in (*node.indices, node.value):
                self._loads(expr, loops)

    def _guarded(
        self, body: Any, loops: tuple[tirx.For, ...], conditions: Iterable[tirx.PrimExpr], early: bool = False
    ) -> None:
        """Visit ``body``, which is reached only as ``conditions`` decide; ``early``: of a loop that may end early."""
        guards, before = list(self.guards), self.early
        self.early = before or early
        self.guards += [self.inlined(condition) for condition in conditions]
        self.visit(body, loops)
        self.guards, self.early = guards, before

    def inlined(self, expr: tirx.PrimExpr) -> tirx.PrimExpr:
        """``expr`` with the kernel's let-bound variables replaced by their values."""
        return tirx.stmt_functor.substitute(expr, self.lets) if self.lets else expr

    def _tile_op(self, call: tirx.Call, loops: tuple[tirx.For, ...]) -> None:
        regions = [
            (tile_ops.region_of(argument), int(argument.args[1].value))
            for argument in call.args
            if isinstance(argument, tirx.Call) and str(argument.op.name) == "tl.region"
        ]
        for argument in call.args:
            if isinstance(argument, tirx.Call) and str(argument.op.name) == "tl.region":
                for index in argument.args[0].indices:
                    self._loads(index, loops)
        into = next((region.name for region, _ in regions[1:] if not region.is_global), None)
        for region, access in regions:
            if region.is_global:
                self._add(region, loops, reads=bool(access & 1), writes=bool(access & 2), into=into)
        if tile_ops.op_name(call) == "gemm":
            self.gemm_loops.append(loops)

    def _element(self, buffer: tirx.Buffer, indices: Any, loops: tuple[tirx.For, ...], writes: bool) -> None:
        if not tile_ops.is_global(buffer):
            return
        parallel = {loop.loop_var: tirx.IntImm("int32", 0) for loop in loops if loop.kind == tirx.ForKind.PARALLEL}
        extents = {loop.loop_var: parallel_extent(loop) for loop in loops if loop.loop_var in parallel}
        indices = [self.inlined(index) for index in indices]
        sizes = [_extent_of(index, extents) for index in indices]
        origin = [tirx.stmt_functor.substitute(index, parallel) for index in indices]
        region = tile_ops.Region(buffer, tuple(origin), tuple(sizes))
        picks = not writes and not moves_as_block(indices, list(parallel), arith.Analyzer())
        self._add(region, loops, reads=not writes, writes=writes, gathered=picks)

    def _loads(self, expr: tirx.PrimExpr, loops: tuple[tirx.For, ...]) -> None:
        for load in nodes(expr, tirx.BufferLoad):
            self._element(load.buffer, load.indices, loops, writes=False)

    def _add(
        self,
        region: tile_ops.Region,
        loops: tuple[tirx.For, ...],
        reads: bool,
        writes: bool,
        into: str | None = None,
        gathered: bool = False,
    ) -> None:
        mins = tuple(self.inlined(expr) for expr in region.mins)
        region = tile_ops.Region(region.buffer, mins, region.extents)
        kinds = [kind for kind, wanted in ((False, reads), (True, writes)) if wanted]
        self.uses += [_Use(region, loops, kind, into, tuple(self.guards), self.early, gathered) for kind in kinds]


def launch_grid(func: tirx.PrimFunc) -> LaunchGrid:
    """The launch grid of ``func``.

    Raises:
        UnsupportedError: ``unsupported``, when the function launches no grid, or one that cannot be computed at launch.
    """
    symbols = symbols_of(func)
    extents: dict[str, int] = {}
    variables: dict[str, tirx.Var] = {}
    exprs: dict[str, tirx.PrimExpr] = {}

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For) and is_block_loop(node):
            tag = str(node.thread_binding.thread_tag)
            if tag in extents:
                raise UnsupportedError(
                    Code.UNSUPPORTED,
                    "the function launches several grids",
                    subject=str((func.attrs or {}).get("global_symbol", "")),
                    found=f"{tag} twice",
                    expected="one T.Kernel",
                    hint="run SplitGridsTT before this pass",
                    location=location_of(func),
                )
            exprs[tag] = arith.Analyzer().simplify(node.extent)
            extents[tag], variables[tag] = _grid_extent(func, symbols, tag, exprs[tag]), node.loop_var

    tirx.stmt_functor.post_order_visit(func.body, visit)
    if not extents:
        raise UnsupportedError(
            Code.UNSUPPORTED,
            "the function launches no grid",
            subject=str((func.attrs or {}).get("global_symbol", "")),
            expected="a kernel that launches its blocks with T.Kernel, before GridToPersistentTT",
            location=location_of(func),
        )
    return LaunchGrid(extents, variables, exprs)


def _grid_extent(func: tirx.PrimFunc, symbols: Symbols, tag: str, expr: tirx.PrimExpr) -> int:
    """The extent at the representative sizes."""
    try:
        symbols.size(expr, f"the launch grid's {tag}")
    except UnsupportedError as error:
        raise error.at(location_of(func)) from None
    extent = symbols.value(expr)
    assert extent is not None
    return extent


def tensor_params(func: tirx.PrimFunc) -> list[tirx.Buffer]:
    """The buffers of the function's tensor parameters, in parameter order."""
    return [func.buffer_map[param] for param in func.params if param in func.buffer_map]


def tensor_uses(func: tirx.PrimFunc, buffer: tirx.Buffer) -> tuple[list[tile_ops.Region], bool]:
    """What ``func`` reads and writes of ``buffer`` by blocks: every access over all iterations of its parallel loops;
    and whether it picks elements of it by computed indices."""
    own = [use for use in _walked(func).uses if use.region.buffer.same_as(buffer)]
    return [use.region for use in own if not use.gathered], any(use.gathered for use in own)


def _walked(func: tirx.PrimFunc) -> _Walk:
    walk = _Walk()
    try:
        walk.visit(func.body, ())
    except UnsupportedError as error:
        raise error.at(location_of(func)) from None
    params = tensor_params(func)
    for use in walk.uses:
        buffer = use.region.buffer
        if not is_one_of(buffer, params):
            is_view = any(buffer.data.same_as(param.data) for param in params)
            what = "another view of a tensor's memory" if is_view else "device memory that the function allocates"
            raise UnsupportedError(
                Code.UNSUPPORTED,
                f"{use.region.name} is {what}",
                subject=use.region.name,
                found=f"shape {list(buffer.shape)}",
                expected="a parameter",
                hint="make the parameter of this shape" if is_view else "run SplitGridsTT before this pass",
                location=location_of(func),
            )
    return walk


def read_kernel(func: tirx.PrimFunc) -> KernelInfo:
    """Everything the passes ask of ``func``.

    Raises:
        UnsupportedError: ``unsupported``, for shapes and grids that the tensors at launch do not tell, and for what has
            no place in a tile kernel.
    """
    for param in func.params:
        if param not in func.buffer_map:
            raise UnsupportedError(
                Code.UNSUPPORTED,
                f"parameter {param.name} is not a tensor",
                subject=str(param.name),
                found=f"{param.name}: {param.dtype}",
                expected="tensors only",
                hint="make it a constant of the function that makes the kernel",
                location=location_of(func),
            )
    check_unknown_sizes(func, symbols_of(func))
    return read_block(func, func.body, launch_grid(func))


def read_block(func: tirx.PrimFunc, body: tirx.Stmt, grid: LaunchGrid) -> KernelInfo:
    """The same of what ``body`` of ``func`` does in one block of ``grid``, whose variables may be bound in it."""
    symbols = symbols_of(func)
    walk = _Walk(block_vars=tuple(grid.variables.values()))
    try:
        walk.visit(body, ())
    except UnsupportedError as error:
        raise error.at(location_of(func)) from None
    reductions = _reduction_loops(walk)
    steps = [_steps([loop for loop in nest if loop in reductions], symbols) for nest in _nests(walk)]
    kt_expr = _most(steps, symbols)
    kt = symbols.value(kt_expr)
    assert kt is not None
    return KernelInfo(
        grid=grid,
        tensors=tuple(_access(buffer, walk, grid, reductions, symbols) for buffer in tensor_params(func)),
        kt=kt,
        kt_expr=kt_expr,
        symbols=symbols,
        reduction_loops=tuple(reductions),
        pipeline_depth=_pipeline_depth(walk.uses),
    )


def is_block_loop(loop: tirx.For) -> bool:
    """Whether ``loop`` goes over the blocks of a launch grid."""
    binding = loop.thread_binding
    return binding is not None and str(binding.thread_tag) in BLOCK_ROLES


def _extent_of(index: tirx.PrimExpr, extents: Mapping[tirx.Var, int]) -> int:
    used = [size for var, size in extents.items() if uses(index, var)]
    return used[0] if len(used) == 1 else 1


def _nests(walk: _Walk) -> list[tuple[tirx.For, ...]]:
    return [use.loops for use in walk.uses] + walk.gemm_loops


def _reduction_loops(walk: _Walk) -> list[tirx.For]:
    """Serial loops around a gemm, or that move along a read tensor, and that move along no written one."""
    moved_by_writes = [(use, loop) for use in walk.uses if use.writes for loop in use.loops]
    kept: list[tirx.For] = []
    for nest in _nests(walk):
        for loop in nest:
            writes = any(
                loop.same_as(other) and any(uses(expr, loop.loop_var) for expr in use.region.mins)
                for use, other in moved_by_writes
            )
            is_serial = loop.kind in (tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED)
            if is_serial and not writes and not is_one_of(loop, kept):
                kept.append(loop)
    return kept


def _steps(nest: list[tirx.For], symbols: Symbols) -> tirx.PrimExpr:
    """The product of the loops' extents, of those that depend on symbolic sizes only."""
    steps: tirx.PrimExpr = tirx.IntImm("int32", 1)
    for loop in nest:
        if symbols.value(loop.extent) is not None:
            steps = steps * loop.extent
    return arith.Analyzer().simplify(steps)


def _most(steps: list[tirx.PrimExpr], symbols: Symbols) -> tirx.PrimExpr:
    """The largest of several numbers of steps, at least 1."""
    analyzer = arith.Analyzer()
    symbols.bind(analyzer)
    most: tirx.PrimExpr = tirx.IntImm("int32", 1)
    for expr in steps:
        if analyzer.can_prove(expr >= most):
            most = expr
        elif not analyzer.can_prove(most >= expr):
            most = tirx.max(most, expr)
    return most


def _pipeline_depth(uses: list[_Use]) -> dict[str, int]:
    depth: dict[str, int] = {}
    for use in uses:
        for loop in use.loops:
            stages = loop.annotations.get("num_stages") if loop.annotations else None
            if stages is not None and not use.writes:
                depth[use.region.name] = max(depth.get(use.region.name, 1), int(stages), 1)
    return depth


def _access(
    buffer: tirx.Buffer, walk: _Walk, grid: LaunchGrid, reductions: list[tirx.For], symbols: Symbols
) -> TensorAccess:
    own = [use for use in walk.uses if use.region.buffer.same_as(buffer)]
    dims, shape = _shape(buffer, symbols)
    role_of = [(var, BLOCK_ROLES[tag]) for tag, var in grid.variables.items()]
    role_of += [(loop.loop_var, "K") for loop in reductions]
    moved = [_dimension(axis, shape, own, role_of) for axis in range(len(shape))]
    return TensorAccess(
        buffer=buffer,
        shape=shape,
        dims=dims,
        roles=tuple(role for role, _ in moved),
        block_elems=tuple(elems for _, elems in moved),
        read=any(not use.writes for use in own),
        written=any(use.writes for use in own),
        follows=_follows(own, walk, grid),
    )


def _follows(own: list[_Use], walk: _Walk, grid: LaunchGrid) -> Literal["M", "N", ""] | None:
    """See :attr:`TensorAccess.follows`."""
    into = {use.into for use in own} - {None}
    mixed = any(use.into in into and not any(use is mine for mine in own) for use in walk.uses)
    if any(use.early or use.gathered or set(use.region.extents) == {1} for use in own):
        return None
    deciding = [expr for use in own for expr in (*use.region.mins, *use.guards)]
    deciding += [walk.inlined(expr) for use in own for loop in use.loops for expr in (loop.min, loop.extent)]
    if not own or mixed or any(use.writes for use in own) or any(_reads_memory(expr) for expr in deciding):
        return None
    moving = {tag for tag, var in grid.variables.items() if any(uses(expr, var) for expr in deciding)}
    axes = {"N" if BLOCK_ROLES[tag] == "N" else "M" for tag in moving}
    if len(axes) == 2:
        return None
    return "M" if "M" in axes else "N" if axes else ""


def _reads_memory(expr: tirx.PrimExpr) -> bool:
    return bool(nodes(expr, tirx.BufferLoad))


def _shape(buffer: tirx.Buffer, symbols: Symbols) -> tuple[tuple[Size, ...], tuple[int, ...]]:
    """The dimensions as expressions of symbolic sizes, and at the representative ones."""
    simplified = [arith.Analyzer().simplify(dim) for dim in buffer.shape]
    try:
        dims = tuple(symbols.size(dim, f"dimension {axis} of {buffer.name}") for axis, dim in enumerate(simplified))
    except UnsupportedError as error:
        raise error.at(location_of(buffer)) from None
    return dims, tuple(evaluate(dim, symbols.sizes) for dim in dims)


def _dimension(
    axis: int, shape: tuple[int, ...], uses: list[_Use], role_of: list[tuple[tirx.Var, str]]
) -> tuple[str, int]:
    """Role and elements per block of one dimension; no role where accesses disagree or the index is not affine."""
    seen = {_index_role(use.region.mins[axis], use.region.extents[axis], role_of) for use in uses}
    if len(seen) == 1 and not any(use.gathered for use in uses):
        return seen.pop()
    return "", shape[axis]


def _index_role(index: tirx.PrimExpr, extent: int, role_of: list[tuple[tirx.Var, str]]) -> tuple[str, int]:
    moving = [(var, role) for var, role in role_of if uses(index, var)]
    if len(moving) != 1:
        return "", extent
    var, role = moving[0]
    linear = arith.detect_linear_equation(index, [var])
    stride: Any = arith.Analyzer().simplify(linear[0]) if len(linear) else None
    return (role, int(stride.value)) if isinstance(stride, tirx.IntImm) else ("", extent)


def kernel_name(func: tirx.PrimFunc) -> str:
    """The function's global symbol."""
    return str((func.attrs or {}).get("global_symbol", "main"))


def only_function(mod: tvm.IRModule) -> tuple[tvm.ir.GlobalVar, tirx.PrimFunc]:
    """The one PrimFunc of ``mod``.

    Raises:
        UnsupportedError: ``unsupported``, when there is not exactly one.
    """
    funcs = [(var, func) for var, func in mod.functions_items() if isinstance(func, tirx.PrimFunc)]
    if len(funcs) != 1:
        raise UnsupportedError(
            Code.UNSUPPORTED, "a program is made of one kernel", found=f"{len(funcs)} functions", expected="1"
        )
    return funcs[0]
