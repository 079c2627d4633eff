"""Reductions of a matrix to a vector, which comes out the same in every column (or row) of its tiles.

A sum is a product with a tile of ones. A maximum is the matrix engine's own reduction, whose one column (or row) is
then spread.
"""

from __future__ import annotations

from collections.abc import Callable

from ..cexpr import plus
from ..cpp import metalium
from ..tile_program.expressions import Constant
from ..tile_program.statements import Reduce
from .context import Context, largest_divisor
from .elementwise import evaluate, materialise, rounded, stage_value
from .fixed import set_fixed
from .products import sum_along
from .values import Apply, Operand, Tiles, Value
from .vectors import turned

_NEUTRAL = {"sum": 0.0, "max": float("-inf"), "min": float("inf"), "abssum": 0.0, "absmax": float("-inf")}
_COMBINE = {"sum": "add", "max": "max", "min": "min", "abssum": "add", "absmax": "max"}


def reduce_statement(ctx: Context, reduce: Reduce) -> None:
    """One T.reduce_*. The vector is computed where it is used."""
    value = ctx.values.get(reduce.src)
    if value is None:
        raise ctx.unsupported(f"{reduce.src} is reduced where it holds nothing", subject=reduce.src)
    source = _prepared(ctx, reduce, value)
    axis = reduce.axis
    if axis is None:
        axis = 1 if ctx.orientation[reduce.src] == "row" else 0
    total: Value = (
        sum_along(ctx, source, reduce.src, axis) if "sum" in reduce.op else _maximum(ctx, reduce, source, axis)
    )
    if reduce.axis is not None and ctx.orientation[reduce.dst] != ("row" if axis == 0 else "col"):
        total = Operand(turned(ctx, reduce.dst, _staged(ctx, reduce, total, source, axis)), reduce.dst)
    if reduce.op == "min":
        total = Apply("neg", total)
    before = ctx.values.get(reduce.dst)
    if not reduce.clear and before is not None and before != Constant(_NEUTRAL[reduce.op]):
        total = Apply(_COMBINE[reduce.op], before, total)
    ctx.values[reduce.dst] = rounded(ctx, reduce.dst, total)
    if reduce.dst in ctx.fixed:
        set_fixed(ctx, reduce.dst, ctx.values[reduce.dst])


def _prepared(ctx: Context, reduce: Reduce, value: Value) -> Tiles:
    """The tiles to reduce: of their absolute values, or negated where the least is wanted."""
    if reduce.op in ("abssum", "absmax", "min"):
        tiles = stage_value(ctx, reduce.src, Apply("neg" if reduce.op == "min" else "abs", value))
    else:
        tiles = materialise(ctx, reduce.src, value)
    ctx.await_operands(Operand(tiles, reduce.src))
    return tiles


def _maximum(ctx: Context, reduce: Reduce, source: Tiles, axis: int) -> Value:
    cb = source.cb
    assert cb is not None
    ctx.free_dst()
    count, steps = (source.rows, source.cols) if axis == 1 else (source.cols, source.rows)
    ones = ctx.ones(cb)
    kind = f"PoolType::MAX, ReduceDim::{'REDUCE_ROW' if axis == 1 else 'REDUCE_COL'}"
    ctx.headers.add(metalium.REDUCE_HEADER)
    cb.feeds_matrix_engine = ones.feeds_matrix_engine = True
    purpose = f"maxima of {reduce.src}, not yet spread"
    narrow_cb = ctx.spare_buffer("maxima", f"{reduce.dst}_maxima", ctx.widest, count, purpose=purpose)

    def fill_narrow(target: Tiles) -> None:
        assert target.cb is not None
        compute = ctx.compute
        batch = largest_divisor(count, ctx.dst_tiles)
        compute.open_loop("i", count, batch)
        compute.line("tile_regs_acquire();")
        ctx.math(
            "reduce",
            (cb, ones),
            f"reconfig_data_format({cb.name}, {ones.name});",
            f"reduce_init<{kind}>({cb.name}, {ones.name}, {narrow_cb.name});",
        )
        for tile in range(batch):
            compute.open_loop("k", steps)
            at = plus("i", tile)
            index = source.index(at, "k") if axis == 1 else source.index("k", at)
            compute.line(f"reduce_tile<{kind}>({cb.name}, {ones.name}, {index}, 0, {tile});")
            compute.close_loop()
        _pack_vector(ctx, target, batch)
        compute.close_loop()
        compute.line(f"reduce_uninit({cb.name});")

    shape = (count, 1) if axis == 1 else (1, count)
    narrow = ctx.stage(narrow_cb, *shape, fill_narrow)
    ctx.await_operands(Operand(narrow, reduce.dst))
    return (
        sum_along(ctx, narrow, reduce.dst, 1) if axis == 1 else Operand(_spread_rows(ctx, reduce, narrow), reduce.dst)
    )


def _spread_rows(ctx: Context, reduce: Reduce, narrow: Tiles) -> Tiles:
    """First rows in all rows: as a product with ones, as columns are, they would lose a bit of TF32 as the second
    operand."""
    cb = narrow.cb
    assert cb is not None
    name = cb.name

    def fill(target: Tiles) -> None:
        batch = largest_divisor(narrow.cols, ctx.dst_tiles)
        compute = ctx.compute
        compute.open_loop("i", narrow.cols, batch)
        compute.line("tile_regs_acquire();")
        ctx.headers.add(metalium.BROADCAST_HEADER)
        lines = (f"reconfig_data_format({name}, {name});", f"unary_bcast_init<BroadcastType::ROW>({name});")
        ctx.math("rows", (cb, cb), *lines)
        for tile in range(batch):
            compute.line(f"unary_bcast<BroadcastType::ROW>({name}, {plus('i', tile)}, {tile});")
        compute.line(f"unary_bcast_uninit<BroadcastType::ROW>({name});")
        _pack_vector(ctx, target, batch)
        compute.close_loop()

    return _vector(ctx, reduce, (1, narrow.cols), fill)


def _staged(ctx: Context, reduce: Reduce, vector: Value, source: Tiles, axis: int) -> Tiles:
    """``vector``, the same along ``axis``, as tiles in a circular buffer."""
    if isinstance(vector, Operand):
        return vector.tiles
    shape = (source.rows, 1) if axis == 1 else (1, source.cols)
    return _vector(ctx, reduce, shape, lambda target: evaluate(ctx, vector, target))


def _vector(ctx: Context, reduce: Reduce, shape: tuple[int, int], fill: Callable[[Tiles], None]) -> Tiles:
    rows, cols = shape
    purpose = f"{reduce.op} of {reduce.src}"
    buffer = ctx.spare_buffer("reduced", reduce.dst, ctx.widest, rows * cols, purpose=purpose)
    return ctx.stage(buffer, rows, cols, fill)


def _pack_vector(ctx: Context, target: Tiles, batch: int) -> None:
    assert target.cb is not None
    ctx.hand_to_packer(target.cb, [(tile, plus("i", tile)) for tile in range(batch)])
