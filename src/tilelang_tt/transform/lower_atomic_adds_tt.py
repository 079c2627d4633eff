"""LowerAtomicAddsTT: T.atomic_add becomes an update in place, by the one core that adds to an element.

A dimension of the launch grid along which several blocks add to the same elements, as split-K has it, becomes a serial
loop of each block. What loops add to the same elements is summed on chip and added to the tensor after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from ..errors import Code, UnsupportedError
from ..language import tile_ops
from ..language.kernel import is_block_loop
from ..language.nodes import uses
from ..language.source import statement_location
from .common import function_pass

_ELEMENT_OP = "tl.atomic_add_elem_op"
_TILE_OP = "atomicadd"
_SUM_DTYPE = "float32"


def LowerAtomicAddsTT() -> tvm.transform.Pass:
    """The pass.

    Raises, when run:
        UnsupportedError: ``unsupported``, where several cores, or iterations that come back to an element, would add.
    """
    return function_pass("LowerAtomicAddsTT", _rewrite)


@dataclass(frozen=True)
class _Add:
    """One T.atomic_add: elements ``indices(variables)`` of ``target`` get ``value(variables)``, over ``extents``."""

    node: Any
    target: tirx.Buffer
    mins: tuple[tirx.PrimExpr, ...]
    sizes: tuple[int, ...]
    extents: tuple[int, ...]
    indices: Callable[[Sequence[tirx.Var]], list[tirx.PrimExpr]]
    value: Callable[[Sequence[tirx.Var]], tirx.PrimExpr]
    loops: tuple[tirx.For, ...] = ()
    """The serial loops around it, outermost first."""

    def moves_with(self, variable: tirx.Var) -> bool:
        """Whether other values of ``variable`` make it add to other elements."""
        return any(uses(first, variable) for first in self.mins)


def _rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
    found = _adds(func.body)
    if not found:
        return func
    analyzer, block_loops = _bounds(func.body)
    shared = [
        loop
        for loop in block_loops
        if not _is_one(loop.extent) and not all(_tells_apart(add, loop.loop_var, analyzer) for add in found)
    ]
    for loop in shared:
        for add in found:
            if add.moves_with(loop.loop_var):
                raise _refused(func, add, f"blocks of different {loop.loop_var.name} may add to the same elements")
    body = _with_serial_loops(func.body, shared)
    work = _Lowering(func, _adds(body))
    return tirx.PrimFunc(func.params, work.statement(body), func.ret_type, func.buffer_map, func.attrs, func.span)


@dataclass
class _Lowering:
    func: tirx.PrimFunc
    adds: list[_Add]
    sums: dict[int, tirx.Buffer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.around: dict[int, tirx.For] = {}
        for number, add in enumerate(self.adds):
            still = [not add.moves_with(loop.loop_var) for loop in add.loops]
            if True not in still:
                continue
            first = still.index(True)
            if not all(still[first:]):
                raise _refused(self.func, add, "a loop comes back to elements that another one inside it moves along")
            self.around[number] = add.loops[first]
            name = f"{add.target.name}_sum" + (f"_{number}" if number else "")
            self.sums[number] = tirx.decl_buffer(add.extents, _SUM_DTYPE, name, scope="local.fragment")

    def statement(self, node: Any) -> Any:
        """``node`` with every T.atomic_add in it lowered."""
        for number, add in enumerate(self.adds):
            if node.same_as(add.node):
                return self._added(number, add)
        if isinstance(node, tirx.SeqStmt):
            return tirx.SeqStmt([self.statement(child) for child in node.seq])
        if isinstance(node, tirx.For):
            return self._loop(node)
        if isinstance(node, tirx.AttrStmt):
            return tirx.AttrStmt(node.node, node.attr_key, node.value, self.statement(node.body))
        if isinstance(node, tirx.IfThenElse):
            otherwise = None if node.else_case is None else self.statement(node.else_case)
            return tirx.IfThenElse(node.condition, self.statement(node.then_case), otherwise)
        if isinstance(node, tirx.SBlockRealize):
            block = node.block
            inside = self.statement(block.body)
            buffers = [*block.alloc_buffers, *self.sums.values()]
            self.sums = {}
            parts = (block.iter_vars, block.reads, block.writes, block.name_hint, inside, block.init)
            made = tirx.SBlock(*parts, buffers, block.match_buffers, block.annotations)
            return tirx.SBlockRealize(node.iter_values, node.predicate, made)
        return node

    def _loop(self, loop: tirx.For) -> Any:
        body = self.statement(loop.body)
        made = _with_body(loop, body)
        mine = [number for number, around in self.around.items() if around.same_as(loop)]
        if not mine:
            return made
        cleared = [
            _parallel(self.adds[n].extents, lambda at, n=n: tirx.BufferStore(self._sum(n), _zero(), at)) for n in mine
        ]
        updates = [self._updated(self.adds[n], lambda at, n=n: tirx.BufferLoad(self._sum(n), at)) for n in mine]
        return tirx.SeqStmt([*cleared, made, *updates])

    def _added(self, number: int, add: _Add) -> Any:
        if number not in self.around:
            return self._updated(add, add.value)
        total = self._sum(number)

        def store(at: Sequence[tirx.Var]) -> tirx.Stmt:
            value = tirx.BufferLoad(total, at) + _cast(_SUM_DTYPE, add.value(at))
            return tirx.BufferStore(total, value, at)

        return _parallel(add.extents, store)

    def _sum(self, number: int) -> tirx.Buffer:
        return self.sums[number]

    def _updated(self, add: _Add, value: Callable[[Sequence[tirx.Var]], tirx.PrimExpr]) -> tirx.Stmt:
        dtype = str(add.target.dtype)

        def store(at: Sequence[tirx.Var]) -> tirx.Stmt:
            indices = add.indices(at)
            total = _cast(_SUM_DTYPE, tirx.BufferLoad(add.target, indices)) + _cast(_SUM_DTYPE, value(at))
            return tirx.BufferStore(add.target, _cast(dtype, total), indices)

        return _parallel(add.extents, store)


# ---- finding them --------------------------------------------------------------------------------------------------


def _adds(body: tirx.Stmt) -> list[_Add]:
    found: list[_Add] = []
    lets: dict[tirx.Var, tirx.PrimExpr] = {}

    def inlined(expr: Any) -> Any:
        return tirx.stmt_functor.substitute(expr, lets) if lets else expr

    def visit(node: Any, loops: tuple[tirx.For, ...]) -> None:
        if isinstance(node, tirx.SeqStmt):
            for child in node.seq:
                visit(child, loops)
        elif isinstance(node, tirx.For):
            add = _element_add(node, loops, inlined)
            if add is not None:
                found.append(add)
                return
            is_serial = node.thread_binding is None and node.kind != tirx.ForKind.PARALLEL
            visit(node.body, (*loops, node) if is_serial else loops)
        elif isinstance(node, tirx.SBlockRealize):
            visit(node.block.body, loops)
        elif isinstance(node, tirx.AttrStmt):
            visit(node.body, loops)
        elif isinstance(node, tirx.IfThenElse):
            visit(node.then_case, loops)
            if node.else_case is not None:
                visit(node.else_case, loops)
        elif isinstance(node, tirx.Bind):
            lets[node.var] = inlined(node.value)
        elif _is_tile_add(node):
            found.append(_tile_add(node, loops, inlined))

    visit(body, ())
    return found


def _is_tile_add(node: Any) -> bool:
    is_op = isinstance(node, tirx.Evaluate) and tile_ops.is_tile_op(node.value)
    return is_op and tile_ops.op_name(node.value) == _TILE_OP


def _tile_add(node: tirx.Evaluate, loops: tuple[tirx.For, ...], inlined: Callable[[Any], Any]) -> _Add:
    """``T.atomic_add`` of a region to a region of the same size."""
    source, target = (tile_ops.region_of(argument) for argument in node.value.args[:2])
    extents = tuple(size for size in target.extents if size != 1)

    def at(region: tile_ops.Region) -> Callable[[Sequence[tirx.Var]], list[tirx.PrimExpr]]:
        def indices(variables: Sequence[tirx.Var]) -> list[tirx.PrimExpr]:
            rest = iter(variables)
            return [
                first if size == 1 else first + next(rest)
                for first, size in zip(region.mins, region.extents, strict=True)
            ]

        return indices

    return _Add(
        node=node,
        target=target.buffer,
        mins=tuple(inlined(first) for first in target.mins),
        sizes=target.extents,
        extents=extents,
        indices=at(target),
        value=lambda variables: tirx.BufferLoad(source.buffer, at(source)(variables)),
        loops=loops,
    )


def _element_add(loop: tirx.For, loops: tuple[tirx.For, ...], inlined: Callable[[Any], Any]) -> _Add | None:
    """``T.atomic_add`` of an element, the only statement of its T.Parallel."""
    parallel = [loop]
    while isinstance(parallel[-1].body, tirx.For) and parallel[-1].body.kind == tirx.ForKind.PARALLEL:
        parallel.append(parallel[-1].body)
    inner = parallel[-1].body
    if loop.kind != tirx.ForKind.PARALLEL or not isinstance(inner, tirx.Evaluate):
        return None
    call = inner.value
    if not isinstance(call, tirx.Call) or str(getattr(call.op, "name", "")) != _ELEMENT_OP:
        return None
    load, value = call.args[0].args[0], call.args[1]
    variables = [each.loop_var for each in parallel]
    zeros = {variable: tirx.IntImm("int32", 0) for variable in variables}
    sizes = [
        next((int(each.extent) for each in parallel if uses(inlined(index), each.loop_var)), 1)
        for index in load.indices
    ]

    def put(expr: Any, at: Sequence[tirx.Var]) -> Any:
        return tirx.stmt_functor.substitute(expr, dict(zip(variables, at, strict=True)))

    return _Add(
        node=loop,
        target=load.buffer,
        mins=tuple(tirx.stmt_functor.substitute(inlined(index), zeros) for index in load.indices),
        sizes=tuple(sizes),
        extents=tuple(int(each.extent) for each in parallel),
        indices=lambda at: [put(index, at) for index in load.indices],
        value=lambda at: put(value, at),
        loops=loops,
    )


# ---- the launch grid -----------------------------------------------------------------------------------------------


def _bounds(body: tirx.Stmt) -> tuple[arith.Analyzer, list[tirx.For]]:
    """An analyzer that knows the loops' variables, and the loops over block indices."""
    analyzer, block_loops = arith.Analyzer(), []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For):
            analyzer.bind(node.loop_var, tvm.ir.Range.from_min_extent(node.min, node.extent))
            if is_block_loop(node):
                block_loops.append(node)

    tirx.stmt_functor.post_order_visit(body, visit)
    return analyzer, block_loops


def _tells_apart(add: _Add, variable: tirx.Var, analyzer: arith.Analyzer) -> bool:
    """Whether blocks of different ``variable`` surely add to different elements."""
    halves: dict[type, list[tirx.PrimExpr]] = {tirx.FloorDiv: [], tirx.FloorMod: []}
    for first, size in zip(add.mins, add.sizes, strict=True):
        index = analyzer.simplify(first)
        if isinstance(index, (tirx.FloorDiv, tirx.FloorMod)) and index.a.same_as(variable) and size == 1:
            halves[type(index)].append(index.b)
        linear = arith.detect_linear_equation(index, [variable])
        if len(linear) == 2 and isinstance(linear[0], tirx.IntImm):
            rest = analyzer.const_int_bound(linear[1])
            if int(linear[0]) >= int(rest.max_value) - int(rest.min_value) + size:
                return True
    return any(analyzer.can_prove_equal(a, b) for a in halves[tirx.FloorDiv] for b in halves[tirx.FloorMod])


def _with_serial_loops(body: tirx.Stmt, shared: Sequence[tirx.For]) -> tirx.Stmt:
    """``body`` with these loops over block indices as serial loops around what a block does."""

    def statement(node: Any) -> Any:
        if isinstance(node, tirx.For) and is_block_loop(node):
            inside = statement(node.body)
            if not any(node.same_as(loop) for loop in shared):
                return _with_body(node, inside)
            # One block is left of this dimension.
            unused, one = tirx.Var(f"{node.loop_var.name}_one", "int32"), tirx.IntImm("int32", 1)
            return tirx.For(unused, node.min, one, node.kind, inside, node.thread_binding, node.annotations)
        if isinstance(node, tirx.SeqStmt):
            # The kernel's own statements hold no loop over block indices.
            children = [statement(child) for child in node.seq]
            changed = any(not new.same_as(old) for new, old in zip(children, node.seq, strict=True))
            return tirx.SeqStmt(children) if changed else node
        if isinstance(node, tirx.SBlockRealize):
            inside = statement(node.block.body)
            for loop in shared if inside.same_as(node.block.body) else ():
                inside = tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, inside)
            block = node.block
            parts = (block.iter_vars, block.reads, block.writes, block.name_hint, inside, block.init)
            made = tirx.SBlock(*parts, block.alloc_buffers, block.match_buffers, block.annotations)
            return tirx.SBlockRealize(node.iter_values, node.predicate, made)
        return node

    return statement(body) if shared else body


# ---- small things --------------------------------------------------------------------------------------------------


def _is_one(extent: tirx.PrimExpr) -> bool:
    return isinstance(extent, tirx.IntImm) and int(extent) == 1


def _with_body(loop: tirx.For, body: tirx.Stmt) -> tirx.For:
    return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, loop.thread_binding, loop.annotations)


def _parallel(extents: Sequence[int], store: Callable[[Sequence[tirx.Var]], tirx.Stmt]) -> tirx.Stmt:
    """``for i, j in T.Parallel(*extents): store([i, j])``."""
    variables = [tirx.Var(name, "int32") for name, _ in zip("ijkl", extents, strict=False)]
    body = store(variables)
    for variable, extent in reversed(list(zip(variables, extents, strict=True))):
        zero, size = tirx.IntImm("int32", 0), tirx.IntImm("int32", extent)
        body = tirx.For(variable, zero, size, tirx.ForKind.PARALLEL, body)
    return body


def _zero() -> tirx.PrimExpr:
    return tirx.FloatImm(_SUM_DTYPE, 0.0)


def _cast(dtype: str, value: tirx.PrimExpr) -> tirx.PrimExpr:
    return value if str(value.dtype) == dtype else tirx.Cast(dtype, value)


def _refused(func: tirx.PrimFunc, add: _Add, why: str) -> UnsupportedError:
    name = str(add.target.name)
    return UnsupportedError(
        Code.UNSUPPORTED,
        f"T.atomic_add onto {name}: {why}",
        subject=name,
        found=f"{name}[{', '.join(str(first) for first in add.mins)}]",
        expected="elements that one block adds to, and no loop comes back to",
        hint="sum in a fragment, or over blocks of a dimension of the grid that the elements do not depend on",
        location=statement_location(func, "atomic_add", [name]),
    )
