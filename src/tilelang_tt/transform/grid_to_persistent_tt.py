"""GridToPersistentTT: from a grid of blocks to one persistent loop per core.

The loops over blockIdx become a loop over the core's own work tiles, and the block indices are recovered from the
tile's number by the canonical runtime arguments, which end the function's parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from .. import attrs
from ..errors import Code, PartitionError
from ..language.kernel import KernelInfo, LaunchGrid, read_kernel
from ..language.nodes import is_one_of, nodes
from ..language.plain import plain_attrs
from ..partition.traversal import Arithmetic, shard_at, shard_visits, tile_at, visited_number
from .common import function_pass

LOOP_VAR = "tt_tile"
SHARD_LOOP_VAR = "tt_shard"
SHARD_COORD_VARS = ("tt_shard_y", "tt_shard_x")
"""In the loop over a core's shards: the coordinates of the shard that it works on."""
INDEX_DTYPE = "int32"
_SHARD_ORIGIN = ((attrs.SHARD_COORD_Y, "Sm"), (attrs.SHARD_COORD_X, "Sn"))

Let = Callable[[str, tirx.PrimExpr], tirx.PrimExpr]
"""Names an intermediate result, and gives what to use for it."""


def _inline(_name: str, value: tirx.PrimExpr) -> tirx.PrimExpr:
    return value


def GridToPersistentTT() -> tvm.transform.Pass:
    """The pass. Needs LayoutAwareWorkPartitionTT's attributes; the function it leaves has no blockIdx.

    Raises, when run:
        PartitionError: ``metadata-missing`` without the partition's attributes.
    """
    return function_pass("GridToPersistentTT", to_persistent)


def to_persistent(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` as a persistent kernel (see GridToPersistentTT)."""
    names = plain_attrs(func).get(attrs.RUNTIME_ARG_NAMES)
    if not names:
        raise PartitionError(
            Code.METADATA_MISSING,
            f"the function has no {attrs.RUNTIME_ARG_NAMES}",
            subject=attrs.RUNTIME_ARG_NAMES,
            hint="run LayoutAwareWorkPartitionTT before GridToPersistentTT",
        )
    scalars = {name: tirx.Var(name, INDEX_DTYPE) for name in names}
    kernel = read_kernel(func)
    body = _persistent_body(func, kernel, scalars)
    params = [*func.params, *scalars.values()]
    persistent = tirx.PrimFunc(params, body, func.ret_type, func.buffer_map, func.attrs, func.span)
    block_vars = {tag: str(var.name) for tag, var in kernel.grid.variables.items()}
    return persistent.with_attr({attrs.BLOCK_VARS: block_vars, attrs.REDUCTION_STEPS: kernel.kt})


def shard_loop_extent(scalars: Mapping[str, tirx.Var]) -> tirx.PrimExpr:
    """How many shards a core has, where cores hold several."""
    first = scalars[attrs.SHARD_COORD_Y] * scalars["Gx"] + scalars[attrs.SHARD_COORD_X]
    per_core, step = (scalars[name] for name in attrs.SHARD_STEP_ARGS)
    return shard_visits(first, per_core, step, scalars["Gy"] * scalars["Gx"], _arithmetic(_inline))


def shard_recovery(
    scalars: Mapping[str, tirx.Var], visit: tirx.PrimExpr, let: Let = _inline
) -> dict[str, tirx.PrimExpr]:
    """The runtime arguments of a core with several shards as they are for the one that it works on at ``visit``."""
    first = scalars[attrs.SHARD_COORD_Y] * scalars["Gx"] + scalars[attrs.SHARD_COORD_X]
    sy, sx = shard_at(visit, first, scalars[attrs.SHARD_STEP], scalars["Gx"], _arithmetic(let))
    coords = (let(name, coord) for name, coord in zip(SHARD_COORD_VARS, (sy, sx), strict=True))
    own = {**scalars, **dict(zip((attrs.SHARD_COORD_Y, attrs.SHARD_COORD_X), coords, strict=True))}
    # Of a shard past the plane's end nothing is left; no index is ever negative.
    rows, columns = (
        let(name, tirx.min(own[size], own[extent] - tirx.min(own[coord] * own[size], own[extent])))
        for name, (coord, size), extent in zip(
            ("tt_shard_rows", "tt_shard_columns"), _SHARD_ORIGIN, ("Mt", "Nt"), strict=True
        )
    )
    return {**own, attrs.TILE_COUNT: let("tt_shard_tiles", rows * columns)}


def _arithmetic(let: Let) -> Arithmetic:
    return Arithmetic(tirx.floordiv, tirx.floormod, tirx.min, let)


def _shard_area(scalars: Mapping[str, tirx.PrimExpr]) -> tuple[Any, Any, Any, Any]:
    """First m, first n, rows and columns of a core's shard, cut off at the plane's end."""
    m0, n0 = (scalars[coord] * scalars[size] for coord, size in _SHARD_ORIGIN)
    return m0, n0, tirx.min(scalars["Sm"], scalars["Mt"] - m0), tirx.min(scalars["Sn"], scalars["Nt"] - n0)


def index_recovery(
    grid: LaunchGrid, scalars: Mapping[str, tirx.PrimExpr], step: tirx.PrimExpr, let: Let = _inline
) -> list[tuple[str, tirx.PrimExpr]]:
    """(thread tag, block index) of the tile that a core visits at ``step``, for the kernel's grid dimensions.

    Global: tile = tt_start_tile + step, m = tile // Nt, n = tile % Nt. Local shard: the same inside the shard, whose
    width is cut off at Nt. Further arguments of a policy or order change how the step becomes a tile number and that
    becomes (m, n), see :mod:`tilelang_tt.partition.traversal`; ``let`` names their intermediate results.
    """
    on = _arithmetic(let)
    tile = scalars[attrs.START_TILE] + step
    if attrs.RUN_TILES in scalars:
        run, stride = scalars[attrs.RUN_TILES], scalars[attrs.RUN_STRIDE]
        tile = let("tt_number", visited_number(step, scalars[attrs.START_TILE], run, stride, on))
    m0, n0, rows, columns = None, None, scalars["Mt"], scalars["Nt"]
    if attrs.SHARD_COORD_X in scalars:
        m0, n0, rows, columns = _shard_area(scalars)
    if attrs.BLOCK_ARGS[0] in scalars:
        block = (scalars[attrs.BLOCK_ARGS[0]], scalars[attrs.BLOCK_ARGS[1]])
        m, n = tile_at(tile, rows, columns, block, on)
    else:
        m, n = tirx.floordiv(tile, columns), tirx.floormod(tile, columns)
    if m0 is not None and n0 is not None:
        m, n = m0 + m, n0 + n
    gy = grid.expr("blockIdx.y")
    index = {
        "blockIdx.x": n,
        "blockIdx.y": m if is_one(grid.expr("blockIdx.z")) else tirx.floormod(m, gy),
        "blockIdx.z": tirx.floordiv(m, gy),
    }
    return [(tag, index[tag]) for tag in index if tag in grid.variables]


def is_one(expr: tirx.PrimExpr) -> bool:
    """Whether ``expr`` is 1 whatever the symbolic sizes are."""
    return isinstance(expr, tirx.IntImm) and int(expr.value) == 1


def _persistent_body(func: tirx.PrimFunc, kernel: KernelInfo, scalars: Mapping[str, tirx.Var]) -> tirx.Stmt:
    block_vars = list(kernel.grid.variables.values())
    loops = kernel.reduction_loops
    is_counted = len(loops) == 1 and arith.Analyzer().can_prove_equal(loops[0].extent, kernel.kt_expr)
    counted = loops[0].loop_var if is_counted else None
    used = nodes(func.body, tirx.Var)
    outermost = _outermost_block_loop(func, block_vars)

    def rewrite(node: Any) -> Any:
        if isinstance(node, tirx.For):
            if node.loop_var.same_as(outermost):
                return _core_loop(node.body, kernel.grid, scalars)
            if is_one_of(node.loop_var, block_vars):
                return node.body
            if counted is not None and node.loop_var.same_as(counted):
                return _with_extent(node, scalars["Kt"])
        elif isinstance(node, tirx.SeqStmt):
            kept = [statement for statement in node.seq if not _is_dead_thread_index(statement, used)]
            return kept[0] if len(kept) == 1 else tirx.SeqStmt(kept)
        return None

    return tirx.stmt_functor.ir_transform(func.body, None, rewrite, ["tirx.For", "tirx.SeqStmt"])


def _core_loop(body: tirx.Stmt, grid: LaunchGrid, scalars: Mapping[str, tirx.Var]) -> tirx.Stmt:
    """The loop over a core's work tiles, within one over its shards where it holds several."""
    if attrs.SHARD_STEP not in scalars:
        return _tile_loop(body, grid, scalars)
    visit = tirx.Var(SHARD_LOOP_VAR, INDEX_DTYPE)
    binds: list[tirx.Bind] = []

    def let(name: str, value: tirx.PrimExpr) -> tirx.PrimExpr:
        binds.append(tirx.Bind(tirx.Var(name, INDEX_DTYPE), value))
        return binds[-1].var

    own = shard_recovery(scalars, visit, let)
    inside = tirx.SeqStmt([*binds, _tile_loop(body, grid, own)])
    zero = tirx.IntImm(INDEX_DTYPE, 0)
    return tirx.For(visit, zero, shard_loop_extent(scalars), tirx.ForKind.SERIAL, inside)


def _tile_loop(body: tirx.Stmt, grid: LaunchGrid, scalars: Mapping[str, tirx.PrimExpr]) -> tirx.Stmt:
    step = tirx.Var(LOOP_VAR, INDEX_DTYPE)
    binds: list[tirx.Bind] = []

    def let(name: str, value: tirx.PrimExpr) -> tirx.PrimExpr:
        binds.append(tirx.Bind(tirx.Var(name, INDEX_DTYPE), value))
        return binds[-1].var

    recovered = index_recovery(grid, scalars, step, let)
    binds += [tirx.Bind(grid.variables[tag], index) for tag, index in recovered]
    zero = tirx.IntImm(INDEX_DTYPE, 0)
    return tirx.For(step, zero, scalars[attrs.TILE_COUNT], tirx.ForKind.SERIAL, tirx.SeqStmt([*binds, body]))


def _with_extent(loop: tirx.For, extent: tirx.PrimExpr) -> tirx.For:
    return tirx.For(loop.loop_var, loop.min, extent, loop.kind, loop.body, loop.thread_binding, loop.annotations)


def _outermost_block_loop(func: tirx.PrimFunc, block_vars: Sequence[tirx.Var]) -> tirx.Var:
    return [loop.loop_var for loop in nodes(func.body, tirx.For) if is_one_of(loop.loop_var, block_vars)][-1]


def _is_dead_thread_index(statement: Any, used: Sequence[tirx.Var]) -> bool:
    """Tensix cores have no threads: ``tx = launch_thread_idx(0)`` goes where nothing reads it."""
    if not (isinstance(statement, tirx.Bind) and isinstance(statement.value, tirx.Call)):
        return False
    is_thread = str(getattr(statement.value.op, "name", "")).endswith("launch_thread_idx")
    return is_thread and not is_one_of(statement.var, used)
