"""Matrix products: where the accumulator lives, and the calls that multiply blocks of tiles."""

from __future__ import annotations

from collections.abc import Sequence

from ...formats import DataFormat, working_format
from ..cexpr import plus
from ..cpp import metalium
from ..tile_program.expressions import Block, BlockTile, Constant
from ..tile_program.statements import Branch, Gemm, Load, Loop, Map, Reduce, Statement, Store, reads, sets, walk
from .context import Accumulator, Context, largest_divisor
from .elementwise import materialise, rounded, stage_value
from .fixed import set_fixed
from .products import Part, multiply, subblock
from .values import Apply, Operand, Product, Tiles, Value


def carried_accumulators(loop: Loop) -> list[Gemm]:
    """The products that accumulate across ``loop``: one for each target that its body never sets anew, nor looks at."""
    inside = walk(loop.body)
    set_anew = {s.dst for s in inside if isinstance(s, (Load, Map, Reduce))} | {
        s.c for s in inside if isinstance(s, Gemm) and s.clear
    }
    looked_at = {name for s in inside for name in reads(s) if not (isinstance(s, Gemm) and name == s.c)}
    carried: dict[str, Gemm] = {}
    for gemm in _surely_run(loop):
        if gemm.c not in set_anew | looked_at:
            carried.setdefault(gemm.c, gemm)
    maybe = {s.c for s in inside if isinstance(s, Gemm)} - {gemm.c for gemm in _surely_run(loop)}
    return [gemm for name, gemm in carried.items() if name not in maybe]


def _surely_run(loop: Loop) -> list[Gemm]:
    """The products in ``loop`` outside of branches, and of loops that may run not at all."""
    if loop.may_be_empty:
        return []
    found: list[Gemm] = []
    for statement in loop.body:
        if isinstance(statement, Gemm):
            found.append(statement)
        elif isinstance(statement, Loop):
            found += _surely_run(statement)
    return found


def open_accumulator(ctx: Context, gemm: Gemm, region: tuple[Statement, ...]) -> None:
    """Get ready to accumulate onto ``gemm.c`` by the products in ``region``."""
    block = ctx.program.block(gemm.c)
    initial = _initial(ctx, gemm)
    ctx.free_dst()
    accumulator = Accumulator(gemm.c, Tiles(block.rows, block.cols), initial)
    ctx.open_accumulators[gemm.c] = accumulator
    if _stays_in_dst(ctx, gemm, block, region):
        ctx.compute.line("tile_regs_acquire();")
        ctx.held = accumulator
    else:
        buffer = ctx.accumulator_buffer(accumulator)
        accumulator.started = f"{buffer.name}_started"
        ctx.reserve(buffer)
        ctx.compute.line(f"uint32_t {accumulator.started} = 0;")


def _initial(ctx: Context, gemm: Gemm) -> Value:
    """What the target of ``gemm`` holds before it."""
    initial: Value | None = Constant(0.0) if gemm.clear else ctx.values.get(gemm.c)
    if initial is None:
        raise ctx.unsupported(
            f"T.gemm accumulates onto {gemm.c}, which holds nothing",
            subject=gemm.c,
            hint=f"T.clear({gemm.c}) before it, or pass clear_accum=True",
        )
    return initial


def close_accumulator(ctx: Context, name: str) -> None:
    """The accumulation is over: ``name`` holds its total."""
    accumulator = ctx.open_accumulators.pop(name)
    if accumulator.started is not None:
        ctx.publish(accumulator, ctx.accumulator_buffer(accumulator))
    ctx.values[name] = rounded(ctx, name, accumulator.total)
    if name in ctx.fixed:
        set_fixed(ctx, name, ctx.values[name])


def gemm_statement(ctx: Context, gemm: Gemm) -> None:
    """One T.gemm. What it adds up by itself is computed where it is used."""
    if gemm.c in ctx.open_accumulators:
        _accumulate(ctx, gemm)
        return
    initial, product = _initial(ctx, gemm), _product(ctx, gemm)
    total = product if initial == Constant(0.0) else Apply("add", product, initial)
    ctx.values[gemm.c] = rounded(ctx, gemm.c, total)
    if gemm.c in ctx.fixed:
        set_fixed(ctx, gemm.c, ctx.values[gemm.c])


def _stays_in_dst(ctx: Context, gemm: Gemm, block: Block, region: tuple[Statement, ...]) -> bool:
    """Only an accumulator that fits DST, and that nothing else in ``region`` takes DST from."""
    inside = walk(region)
    viewed = {s.dst: name for s in inside if isinstance(s, Map) and (name := _viewed(ctx, s)) is not None}
    computing = [s for s in inside if _computes(ctx, s) and sets(s) not in viewed]
    alone = all(
        isinstance(s, Gemm)
        and s.c == gemm.c
        and not s.transpose_a
        and all(_lies_in_l1(ctx, viewed.get(name, name), inside, as_it_is=name in viewed) for name in (s.a, s.b))
        for s in computing
    )
    inner = [s for s in inside if isinstance(s, (Loop, Branch))]
    carried = {
        name for s in inner for name in (ctx.liveness.carried(s) if isinstance(s, Loop) else ctx.liveness.merged(s))
    }
    return block.rows * block.cols <= ctx.dst_tiles and alone and carried <= {gemm.c}


def _computes(ctx: Context, statement: Statement) -> bool:
    if isinstance(statement, Load):
        return statement.dst in ctx.orientation
    return isinstance(statement, (Gemm, Map, Reduce, Store))


def _viewed(ctx: Context, statement: Map) -> str | None:
    """The buffer that ``statement`` takes a part of, to be read where it lies, if it does no more."""
    value = statement.value
    if not isinstance(value, BlockTile) or value.part is None or statement.part is not None:
        return None
    if value != BlockTile(value.block, part=value.part) or statement.dst in {*ctx.orientation, *ctx.fixed}:
        return None
    return value.block if ctx.format_of(statement.dst) == ctx.format_of(value.block) else None


def _lies_in_l1(ctx: Context, name: str, region: Sequence[Statement], *, as_it_is: bool) -> bool:
    """Whether the matrix engine reads what ``name`` holds in ``region`` as it was loaded, or computed before;
    ``as_it_is``: in the format of the buffer."""
    formats: set[DataFormat] = set()
    for statement in region:
        if sets(statement) == name:
            if not isinstance(statement, Load):
                return False
            formats.add(ctx.staging[statement.source.tensor].data_format)
    if not formats:
        value = ctx.values.get(name)
        if not isinstance(value, Operand) or value.access or value.tiles.cb is None:
            return False
        formats.add(value.tiles.cb.data_format)
    own, found = ctx.format_of(name), {working_format(data_format) for data_format in formats}
    fits = found == {own} if as_it_is else (found == {"Float16"}) == (own == "Float16")
    return fits and name not in ctx.orientation


def _accumulate(ctx: Context, gemm: Gemm) -> None:
    product = _product(ctx, gemm)
    accumulator = ctx.open_accumulators[gemm.c]
    rows, cols = accumulator.tiles.rows, accumulator.tiles.cols
    if accumulator.started is None:
        multiply(ctx, product, Part("0", rows), Part("0", cols))
        return
    ctx.free_dst()
    compute, buffer = ctx.compute, ctx.accumulator_buffer(accumulator)
    rt, ct = subblock(rows, cols, ctx.dst_tiles)
    ctx.pack_to(buffer, compute)
    compute.line(f"pack_reconfig_l1_acc({accumulator.started});")
    compute.open_loop("i", rows, rt)
    compute.open_loop("j", cols, ct)
    compute.line("tile_regs_acquire();")
    multiply(ctx, product, Part("i", rt), Part("j", ct))
    index = Tiles(rows, cols, buffer, row_stride=cols).index
    moves = [(r * ct + c, index(plus("i", r), plus("j", c))) for r in range(rt) for c in range(ct)]
    ctx.hand_to_packer(buffer, moves)
    compute.close_loop()
    compute.close_loop()
    compute.lines(f"{accumulator.started} = 1;", "pack_reconfig_l1_acc(0);")


def _product(ctx: Context, gemm: Gemm) -> Product:
    if not gemm.transpose_a:
        _leave_out_rounding(ctx, gemm.a)
    a = Operand(_operand(ctx, gemm.a, gemm.transpose_a), gemm.a)
    b = Operand(_operand(ctx, gemm.b, False), gemm.b)
    return Product(a, b, a.tiles.cols, gemm.transpose_b)


def _leave_out_rounding(ctx: Context, name: str) -> None:
    """A copy in bfloat16 of float32 tiles that are in L1 is not made for a product: of its first operand the matrix
    engine reads more bits than bfloat16 has."""
    value = ctx.values.get(name)
    if not isinstance(value, Apply) or value.op != metalium.ROUNDING["Float16_b"]:
        return
    tiles = value.a
    if isinstance(tiles, Operand) and not tiles.access and tiles.tiles.cb and tiles.tiles.cb.data_format == "Float32":
        ctx.values[name] = tiles


def _operand(ctx: Context, name: str, transpose: bool) -> Tiles:
    """The tiles of a product's operand, computed and transposed first where that is asked for."""
    value = ctx.values.get(name)
    if value is None:
        raise ctx.unsupported(f"T.gemm reads {name}, which holds nothing", subject=name, hint="copy into it first")
    ctx.await_operands(value)
    if not isinstance(value, Operand) or value.tiles.cb is None:
        value = Operand(materialise(ctx, name, value), name)
    ctx.await_operands(value)
    assert value.tiles.cb is not None
    if (ctx.format_of(name) == "Float16") != (value.tiles.cb.data_format == "Float16"):
        # A copy from a buffer of another dtype: the matrix engine takes Float16 with itself only.
        value = ctx.values[name] = Operand(stage_value(ctx, name, value), name)
        ctx.await_operands(value)
    tiles = _transposed(ctx, name, value.tiles) if transpose else value.tiles
    ctx.await_operands(Operand(tiles, name))
    return tiles


def _transposed(ctx: Context, name: str, source: Tiles) -> Tiles:
    """The transpose of ``source``: the matrix engine transposes only its second operand by itself."""
    assert source.cb is not None
    pages, data_format = source.rows * source.cols, working_format(source.cb.data_format)
    buffer = ctx.spare_buffer("transposed", f"{name}_transposed", data_format, pages, purpose=f"{name}, transposed")
    return ctx.stage(buffer, source.cols, source.rows, lambda tiles: transpose_into(ctx, source, tiles))


def transpose_into(ctx: Context, source: Tiles, target: Tiles) -> None:
    """Transpose a block of tiles, their elements included."""
    assert source.cb is not None
    assert target.cb is not None
    batch = largest_divisor(target.cols, ctx.dst_tiles)
    ctx.headers.add(metalium.TRANSPOSE_HEADER)
    source.cb.feeds_matrix_engine = True
    compute, name = ctx.compute, source.cb.name
    compute.open_loop("i", target.rows)
    compute.open_loop("j", target.cols, batch)
    compute.line("tile_regs_acquire();")
    ctx.math("transpose", (source.cb,), f"reconfig_data_format_srca({name});", f"transpose_init({name});")
    for tile in range(batch):
        compute.line(f"transpose_tile({name}, {source.index(plus('j', tile), 'i')}, {tile});")
    ctx.hand_to_packer(target.cb, [(tile, target.index("i", plus("j", tile))) for tile in range(batch)])
    compute.close_loop()
    compute.close_loop()
