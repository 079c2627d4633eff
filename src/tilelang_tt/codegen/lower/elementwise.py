"""Element-wise evaluation: batches of tiles go through DST, an expression's operations applied to each in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from ... import attrs
from ...formats import TILE, DataFormat, rounded_number, working_format
from ..cexpr import plus
from ..cpp import metalium
from ..tile_program.expressions import Constant
from .context import Context, float_bits, largest_divisor
from .products import Part, is_worth_reading_again, multiply, subblock
from .recipes import Step
from .steps import Schedule, schedule
from .values import Apply, Indices, Operand, Select, Tiles, Value, converted, is_computed, is_integer, leaves, replaced


def evaluate(ctx: Context, value: Value, target: Tiles) -> None:
    """Compute ``value`` for a block of tiles and pack it to ``target``, whose pages are reserved."""
    assert target.cb is not None
    value = converted(value, target.cb.data_format == "Int32")
    value = rounded_by_packer(value, target.cb.data_format) if ctx.config.fp32_dest_acc else _as_dst_rounds(value)
    ctx.await_operands(value)
    if ctx.held is not None and not _fits_around_accumulator(ctx, value, target):
        ctx.free_dst()
        ctx.await_operands(value)
    plan = schedule(value, ctx.matrix_ops)
    _check_narrow(ctx, plan)
    if plan.registers > ctx.dst_tiles:
        _evaluate_in_parts(ctx, value, target)
    elif not _products_are_worth_it(ctx, plan, target):
        _evaluate_behind_products(ctx, value, target)
    elif ctx.held is not None:
        _evaluate_in_place(ctx, plan, target)
    elif _is_around_products(plan):
        _evaluate_around_products(ctx, plan, target)
    else:
        _evaluate_batches(ctx, plan, target)


_TELLING = frozenset({*metalium.COMPARE, "float32_to_int32", "floor", "ceil", "trunc", "nearbyint"})
"""Operations that tell numbers apart which are next to one another."""


def _unpack_in_full(plan: Schedule, result: DataFormat) -> None:
    """Float32 operands of the vector engine go to DST with all their bits where the result may need them."""
    if result not in ("Float32", "Int32") and all(step.op not in _TELLING for step in plan.steps):
        return
    for step in plan.steps:
        buffer = step.operands[0].tiles.cb if step.kind == "fetch" else None
        if buffer is not None and buffer.data_format == "Float32":
            buffer.unpack_to_dest_fp32 = True


_IN_16_BITS = frozenset({"fetch", "held", "broadcast", "matrix", "fill", "unary", "scalar", "binary", "product"})
"""The kinds of steps that a DST of bfloat16 takes: numbers of elements, for one, would not be whole in it."""


def _check_narrow(ctx: Context, plan: Schedule) -> None:
    step = next((step for step in plan.steps if step.kind not in _IN_16_BITS), None)
    if not ctx.config.fp32_dest_acc and step is not None:
        raise ctx.unsupported(
            "DST of bfloat16 does not hold what this computes: indices, choices, integers, functions of several steps",
            subject=attrs.DST_TYPE,
            found=f"a step {step.kind} {step.op}".strip(),
            hint="leave dst_dtype at float32",
        )


def _as_dst_rounds(value: Value) -> Value:
    """``value`` without roundings to bfloat16, which all that is in DST has been through."""
    if isinstance(value, Select):
        return Select(*(_as_dst_rounds(part) for part in (value.condition, value.a, value.b)))
    if not isinstance(value, Apply):
        return value
    a = _as_dst_rounds(value.a)
    if value.op == metalium.ROUNDING["Float16_b"]:
        return a
    return Apply(value.op, a, None if value.b is None else _as_dst_rounds(value.b))


def _evaluate_in_parts(ctx: Context, value: Value, target: Tiles) -> None:
    """Compute what an operation takes beforehand where all at once needs more tiles than DST holds."""
    ctx.free_dst()
    ctx.scopes.append([])
    rest = _in_parts(ctx, value, target)
    ctx.await_operands(rest)
    _evaluate_batches(ctx, schedule(rest, ctx.matrix_ops), target)
    ctx.end_scope()


def _evaluate_behind_products(ctx: Context, value: Value, target: Tiles) -> None:
    """Compute the products in ``value`` beforehand, then the rest."""
    ctx.scopes.append([])
    evaluate(ctx, replaced(value, lambda product: _beforehand(ctx, product, target)), target)
    ctx.end_scope()


def _in_parts(ctx: Context, value: Value, target: Tiles) -> Value:
    """The outermost operation of ``value``, what it takes computed."""
    if isinstance(value, Select):
        parts = (value.condition, value.a, value.b)
        return Select(*(_beforehand(ctx, part, target) for part in parts))
    assert isinstance(value, Apply)
    if value.b is None:
        return Apply(value.op, _beforehand(ctx, value.a, target))
    return Apply(value.op, _beforehand(ctx, value.a, target), _beforehand(ctx, value.b, target))


def _beforehand(ctx: Context, part: Value, target: Tiles) -> Value:
    if not is_computed(part):
        return part
    pages, data_format = target.rows * target.cols, "Int32" if is_integer(part) else ctx.widest
    name = f"part_{data_format}_{pages}"
    buffer = ctx.spare_buffer("part", name, data_format, pages, purpose="part of an expression")
    tiles = ctx.stage(buffer, target.rows, target.cols, lambda inner: evaluate(ctx, part, inner))
    return Operand(tiles, "part")


def rounded_by_packer(value: Value, data_format: DataFormat) -> Value:
    """``value`` without a rounding that packing it in ``data_format`` does anyway."""
    while isinstance(value, Apply) and value.op == metalium.ROUNDING.get(data_format):
        value = value.a
    return value


def rounded(ctx: Context, name: str, value: Value) -> Value:
    """``value`` as the on-chip buffer ``name`` holds it: rounded to its dtype."""
    data_format = ctx.format_of(name)
    if data_format not in metalium.ROUNDING or _is_exact(value, data_format):
        return value
    if isinstance(value, Constant):
        return Constant(float(rounded_number(value.value, ctx.program.block(name).dtype)))
    return Apply(metalium.ROUNDING[data_format], value)


_KEEPS_EXACT = frozenset({"max", "min", "neg", "abs", "relu", "sign", *metalium.COMPARE})


def _is_exact(value: Value, data_format: DataFormat) -> bool:
    """Whether ``data_format`` holds every element of ``value``, by its operations alone."""
    if isinstance(value, Operand):
        return value.tiles.cb is not None and working_format(value.tiles.cb.data_format) == data_format
    if isinstance(value, Select):
        return _is_exact(value.a, data_format) and _is_exact(value.b, data_format)
    if isinstance(value, Apply):
        parts = [value.a] if value.b is None else [value.a, value.b]
        exact = value.op in _KEEPS_EXACT and all(_is_exact(part, data_format) for part in parts)
        return exact or value.op in metalium.COMPARE or value.op == metalium.ROUNDING[data_format]
    return isinstance(value, Constant) and value.value in (0.0, 1.0, -1.0, float("inf"), -float("inf"))


def materialise(ctx: Context, name: str, value: Value) -> Tiles:
    """``value`` of the on-chip buffer ``name`` as tiles in a circular buffer, which the buffer then holds."""
    # What was picked lies in circular buffers that buffers share, and for which the matrix engine must not decide how
    # they are unpacked.
    if isinstance(value, Operand) and value.tiles.cb is not None and not value.access and value.tiles not in ctx.picks:
        return value.tiles
    tiles = stage_value(ctx, name, value)
    ctx.values[name] = Operand(tiles, name)
    return tiles


def stage_value(ctx: Context, name: str, value: Value) -> Tiles:
    """``value``, of the shape and format of the on-chip buffer ``name``, as tiles in a circular buffer."""
    ctx.await_operands(value)
    rows, cols = ctx.shape(name)
    buffer = ctx.spare_buffer("value", name, ctx.format_of(name), rows * cols, purpose=f"computed {name}")
    return ctx.stage(buffer, rows, cols, lambda target: evaluate(ctx, value, target))


def _fits_around_accumulator(ctx: Context, value: Value, target: Tiles) -> bool:
    """Whether the accumulator in DST can be finished there: it comes first, and scratch registers need not be clean."""
    assert ctx.held is not None
    inside = [leaf for leaf in leaves(value) if leaf.tiles is ctx.held.tiles]
    plan = schedule(value, ctx.matrix_ops)
    first = bool(plan.steps) and plan.steps[0].kind == "held" and plan.result == 0
    tiles = target.rows * target.cols
    return len(inside) == 1 and first and not plan.clean and tiles + plan.registers - 1 <= ctx.dst_tiles


def _evaluate_in_place(ctx: Context, plan: Schedule, target: Tiles) -> None:
    """Finish the accumulator, whose tile t is in register t."""
    tiles = [(str(row), str(col)) for row in range(target.rows) for col in range(target.cols)]
    _finish(ctx, plan.steps, plan, tiles, target)
    ctx.held = None
    _pack(ctx, target, tiles)


def _finish(
    ctx: Context, steps: Sequence[Step], plan: Schedule, tiles: Sequence[tuple[str, str]], target: Tiles
) -> None:
    """Apply ``steps`` to ``tiles``, tile t being in register t; the scratch registers behind them serve one tile after
    the other."""
    assert target.cb is not None
    _unpack_in_full(plan, target.cb.data_format)

    def apply(step: Step, number: int) -> None:
        row, col = tiles[number]
        _apply(ctx, step, lambda virtual: number if virtual == 0 else len(tiles) - 1 + virtual, row, col)

    if plan.registers == 1:
        for step in steps:
            for number in range(len(tiles)):
                apply(step, number)
    else:
        for number in range(len(tiles)):
            for step in steps:
                apply(step, number)


def _pack(ctx: Context, target: Tiles, tiles: Sequence[tuple[str, str]]) -> None:
    assert target.cb is not None
    ctx.hand_to_packer(target.cb, [(number, target.index(row, col)) for number, (row, col) in enumerate(tiles)])


def _leading_products(plan: Schedule) -> list[Step]:
    return list(takewhile(lambda step: step.kind == "product" and step.out == 0, plan.steps))


def _is_around_products(plan: Schedule) -> bool:
    """Whether ``plan`` is to sum up products and to finish them where they are, by scratch registers that need not be
    clean."""
    return bool(_leading_products(plan)) and plan.clean == {0} and plan.result == 0


def _part_of_dst(ctx: Context, plan: Schedule, target: Tiles) -> tuple[int, int]:
    """How many rows and columns of products ``plan`` makes at a time."""
    if _is_around_products(plan):
        return subblock(target.rows, target.cols, ctx.dst_tiles + 1 - plan.registers)
    return 1, 1


def _products_are_worth_it(ctx: Context, plan: Schedule, target: Tiles) -> bool:
    """Whether to make the products of ``plan`` where they are used."""
    if plan.registers == 1:
        return True
    whole, part = subblock(target.rows, target.cols, ctx.dst_tiles), _part_of_dst(ctx, plan, target)
    made = [step.product for step in plan.steps if step.product is not None]
    return all(is_worth_reading_again(ctx, product, whole, part) for product in made)


def _evaluate_around_products(ctx: Context, plan: Schedule, target: Tiles) -> None:
    """Sum up products of as many tiles as leave room for the rest of ``plan``, and finish them in DST."""
    products = _leading_products(plan)
    rt, ct = _part_of_dst(ctx, plan, target)
    compute = ctx.compute
    compute.open_loop("i", target.rows, rt)
    compute.open_loop("j", target.cols, ct)
    compute.line("tile_regs_acquire();")
    for step in products:
        assert step.product is not None
        multiply(ctx, step.product, Part("i", rt), Part("j", ct))
    tiles = [(plus("i", row), plus("j", col)) for row in range(rt) for col in range(ct)]
    _finish(ctx, plan.steps[len(products) :], plan, tiles, target)
    _pack(ctx, target, tiles)
    compute.close_loop()
    compute.close_loop()


def _evaluate_batches(ctx: Context, plan: Schedule, target: Tiles) -> None:
    assert target.cb is not None
    _unpack_in_full(plan, target.cb.data_format)
    batch = largest_divisor(target.cols, ctx.dst_tiles // plan.registers)
    compute = ctx.compute
    compute.open_loop("i", target.rows)
    compute.open_loop("j", target.cols, batch)
    compute.line("tile_regs_acquire();")
    for step in plan.steps:
        for tile in range(batch):
            first = tile * plan.registers
            _apply(ctx, step, lambda register, first=first: first + register, "i", plus("j", tile))
    moves = [(tile * plan.registers + plan.result, target.index("i", plus("j", tile))) for tile in range(batch)]
    ctx.hand_to_packer(target.cb, moves)
    compute.close_loop()
    compute.close_loop()


def _apply(ctx: Context, step: Step, register: Callable[[int], int], row: str, col: str) -> None:
    """Emit one step for the tile at (row, col); ``register`` maps virtual registers to DST."""
    out = register(step.out)
    if step.kind == "fetch":
        _fetch(ctx, step.operands[0], out, row, col)
    elif step.kind == "broadcast":
        _broadcast(ctx, step.operands[0], out, col)
    elif step.kind == "product":
        assert step.product is not None
        multiply(ctx, step.product, Part(row, 1), Part(col, 1), out)
    elif step.kind == "matrix":
        _on_two_buffers(ctx, step, out, row, col)
    elif step.kind == "fill":
        _sfpu(ctx, metalium.FILL, a=out, bits=float_bits(step.number))
    elif step.kind == "unary":
        _sfpu(ctx, metalium.UNARY[step.op], a=out)
    elif step.kind == "scalar":
        _sfpu(ctx, metalium.SCALAR[step.op], a=out, bits=float_bits(step.number))
    elif step.kind == "numbers":
        tiles = ctx.indices("row" if step.op == "row" else "column")
        _fetch(ctx, Operand(tiles, step.op, "single"), out, row, col)
    elif step.kind == "offset":
        assert step.indices is not None
        _sfpu(ctx, metalium.SCALAR["add"], a=out, bits=_offset(step.indices, row, col))
    elif step.kind == "fill_int32":
        _sfpu(ctx, metalium.FILL_INT32, a=out, bits=step.text)
    elif step.kind == "first_int32":
        assert step.indices is not None
        _sfpu(ctx, metalium.FILL_INT32, a=out, bits=_first(step.indices, row, col))
    elif step.kind == "copy":
        _sfpu(ctx, metalium.DUPLICATE, a=out, b=register(step.b))
    elif step.kind == "select":
        _sfpu(ctx, metalium.WHERE[step.op], a=out, b=register(step.b), c=register(step.c))
    elif step.kind == "binary":
        _sfpu(ctx, metalium.BINARY[step.op], a=out, b=register(step.b))


def _offset(indices: Indices, row: str, col: str) -> str:
    """The number of a tile's first element, as the bits of a float."""
    return f"{metalium.FLOAT_BITS_NAME}({_first(indices, row, col)})"


def _first(indices: Indices, row: str, col: str) -> str:
    """The number of a tile's first element, a C++ expression."""
    rows, cols = indices.rows * TILE, indices.cols * TILE
    return f"{indices.offset} + {rows} * ({row}) + {cols} * ({col})"


def _sfpu(ctx: Context, op: metalium.SfpuOp, a: int, b: int = 0, c: int = 0, bits: str = "") -> None:
    ctx.sfpu(op)
    ctx.compute.line(op.call.format(a=a, b=b, c=c, bits=bits) + ";")


def _fetch(ctx: Context, operand: Operand, out: int, row: str, col: str) -> None:
    buffer = operand.tiles.cb
    assert buffer is not None
    ctx.headers.add(metalium.COPY_HEADER)
    ctx.math("copy", (buffer,), f"reconfig_data_format_srca({buffer.name});", f"copy_init({buffer.name});")
    ctx.compute.line(f"copy_tile({buffer.name}, {operand.index(row, col)}, {out});")


def _broadcast(ctx: Context, operand: Operand, out: int, col: str) -> None:
    """Add a row vector to every row of a register: a tile of ones times a tile whose rows but the first are zero."""
    buffer = operand.tiles.cb
    assert buffer is not None
    ones = ctx.ones(buffer)
    ctx.matmul(ones, buffer, 0, 1, 1, 1)
    ctx.compute.line(f"matmul_block({ones.name}, {buffer.name}, 0, {operand.tiles.index(0, col)}, {out}, 0, 1, 1, 1);")


def _on_two_buffers(ctx: Context, step: Step, out: int, row: str, col: str) -> None:
    a, b = (operand.tiles for operand in step.operands)
    assert a.cb is not None
    assert b.cb is not None
    ctx.headers.add(metalium.BINARY_FPU_HEADER)
    a.cb.feeds_matrix_engine = b.cb.feeds_matrix_engine = True
    pair = f"{a.cb.name}, {b.cb.name}"
    ctx.math(step.op, (a.cb, b.cb), f"reconfig_data_format({pair});", f"{step.op}_init({pair});")
    ctx.compute.line(f"{step.op}_tiles({pair}, {a.index(row, col)}, {b.index(row, col)}, {out});")
