"""Reductions of a matrix to a vector, which comes out the same in every column (or row) of its tiles.

A sum is a product with a tile of ones. A maximum is the matrix engine's own reduction, whose one column (or row) a
product with a tile of ones then spreads.
"""

from __future__ import annotations

from collections.abc import Callable

from . import metalium
from .context import DST_TILES, Apply, Context, Operand, Tiles, Value, largest_divisor, plus
from .elementwise import materialise, stage_value
from .tile_program import Constant, Reduce

_NEUTRAL = {"sum": 0.0, "max": float("-inf"), "min": float("inf"), "abssum": 0.0, "absmax": float("-inf")}
_COMBINE = {"sum": "add", "max": "max", "min": "min", "abssum": "add", "absmax": "max"}


def reduce_statement(ctx: Context, reduce: Reduce) -> None:
    """One T.reduce_*."""
    value = ctx.values.get(reduce.src)
    if value is None:
        raise ctx.unsupported(f"{reduce.src} is reduced where it holds nothing", subject=reduce.src)
    source = _prepared(ctx, reduce, value)
    ctx.free_dst()
    total: Value = Operand(
        _sum(ctx, reduce, source) if "sum" in reduce.op else _maximum(ctx, reduce, source), reduce.dst
    )
    if reduce.op == "min":
        total = Apply("neg", total)
    before = ctx.values.get(reduce.dst)
    if not reduce.clear and before is not None and before != Constant(_NEUTRAL[reduce.op]):
        total = Apply(_COMBINE[reduce.op], before, total)
    ctx.values[reduce.dst] = total


def _prepared(ctx: Context, reduce: Reduce, value: Value) -> Tiles:
    """The tiles to reduce: of their absolute values, or negated where the least is wanted."""
    if reduce.op in ("abssum", "absmax", "min"):
        tiles = stage_value(ctx, reduce.src, Apply("neg" if reduce.op == "min" else "abs", value))
    else:
        tiles = materialise(ctx, reduce.src, value)
    ctx.await_operands(Operand(tiles, reduce.src))
    return tiles


def _sum(ctx: Context, reduce: Reduce, source: Tiles) -> Tiles:
    cb = source.cb
    assert cb is not None

    def fill(target: Tiles) -> None:
        ones = ctx.ones(cb)
        first, second = (cb, ones) if reduce.axis == 1 else (ones, cb)
        count, steps = (source.rows, source.cols) if reduce.axis == 1 else (source.cols, source.rows)
        batch = largest_divisor(count, DST_TILES)
        compute = ctx.compute
        compute.open_loop("i", count, batch)
        compute.line("tile_regs_acquire();")
        ctx.matmul(first, second, 0, 1, 1, 1)
        compute.open_loop("k", steps)
        for tile in range(batch):
            at = plus("i", tile)
            index = source.index(at, "k") if reduce.axis == 1 else source.index("k", at)
            a, b = (index, "0") if reduce.axis == 1 else ("0", index)
            compute.line(f"matmul_block({first.name}, {second.name}, {a}, {b}, {tile}, 0, 1, 1, 1);")
        compute.close_loop()
        _pack_vector(ctx, target, batch)
        compute.close_loop()

    return _vector(ctx, reduce, fill)


def _maximum(ctx: Context, reduce: Reduce, source: Tiles) -> Tiles:
    cb = source.cb
    assert cb is not None
    count, steps = (source.rows, source.cols) if reduce.axis == 1 else (source.cols, source.rows)
    ones = ctx.ones(cb)
    kind = f"PoolType::MAX, ReduceDim::{'REDUCE_ROW' if reduce.axis == 1 else 'REDUCE_COL'}"
    ctx.headers.add(metalium.REDUCE_HEADER)
    cb.feeds_matrix_engine = ones.feeds_matrix_engine = True
    purpose = f"maxima of {reduce.src}, not yet spread"
    narrow_cb = ctx.spare_buffer("maxima", f"{reduce.dst}_maxima", "Float32", count, purpose=purpose)

    def fill_narrow(target: Tiles) -> None:
        assert target.cb is not None
        compute = ctx.compute
        batch = largest_divisor(count, DST_TILES)
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
            index = source.index(at, "k") if reduce.axis == 1 else source.index("k", at)
            compute.line(f"reduce_tile<{kind}>({cb.name}, {ones.name}, {index}, 0, {tile});")
            compute.close_loop()
        _pack_vector(ctx, target, batch)
        compute.close_loop()
        compute.line(f"reduce_uninit({cb.name});")

    shape = (count, 1) if reduce.axis == 1 else (1, count)
    narrow = ctx.stage(narrow_cb, *shape, fill_narrow)
    ctx.await_operands(Operand(narrow, reduce.dst))

    def fill(target: Tiles) -> None:
        spread = ctx.ones(narrow_cb)
        first, second = (narrow_cb, spread) if reduce.axis == 1 else (spread, narrow_cb)
        batch = largest_divisor(count, DST_TILES)
        compute = ctx.compute
        compute.open_loop("i", count, batch)
        compute.line("tile_regs_acquire();")
        ctx.matmul(first, second, 0, 1, 1, 1)
        for tile in range(batch):
            a, b = (plus("i", tile), "0") if reduce.axis == 1 else ("0", plus("i", tile))
            compute.line(f"matmul_block({first.name}, {second.name}, {a}, {b}, {tile}, 0, 1, 1, 1);")
        _pack_vector(ctx, target, batch)
        compute.close_loop()

    return _vector(ctx, reduce, fill)


def _vector(ctx: Context, reduce: Reduce, fill: Callable[[Tiles], None]) -> Tiles:
    rows, cols = ctx.shape(reduce.dst)
    purpose = f"{reduce.op} of {reduce.src}"
    buffer = ctx.spare_buffer("reduced", reduce.dst, "Float32", rows * cols, purpose=purpose)
    return ctx.stage(buffer, rows, cols, fill)


def _pack_vector(ctx: Context, target: Tiles, batch: int) -> None:
    assert target.cb is not None
    ctx.hand_to_packer(target.cb, [(tile, plus("i", tile)) for tile in range(batch)])
