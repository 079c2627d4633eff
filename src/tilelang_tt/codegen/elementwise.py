"""Element-wise evaluation: batches of tiles go through DST, an expression's operations applied to each in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..formats import TILE
from . import metalium
from .context import (
    DST_TILES,
    Context,
    Indices,
    Operand,
    Select,
    Tiles,
    Value,
    converted,
    float_bits,
    is_integer,
    largest_divisor,
    leaves,
    plus,
)
from .tile_program import Constant, Integer


@dataclass(frozen=True)
class Step:
    """One engine operation on virtual registers: ``out`` is written (and, but for fetches, read), ``b`` is read."""

    kind: str
    out: int
    b: int = 0
    op: str = ""
    operands: tuple[Operand, ...] = ()
    number: float = 0.0
    text: str = ""
    c: int = 0
    indices: Indices | None = None


@dataclass
class Schedule:
    """An expression as steps.

    ``clean`` registers must be zero beforehand, as all are after tile_regs_acquire().
    """

    steps: list[Step] = field(default_factory=list)
    registers: int = 0
    clean: set[int] = field(default_factory=set)
    result: int = 0
    _written: set[int] = field(default_factory=set)

    def take(self, live: frozenset[int], clean: bool) -> int:
        """The lowest register that holds nothing needed; with ``clean``, one that nothing was written to."""
        register = 0
        while register in live or (clean and register in self._written):
            register += 1
        self.registers = max(self.registers, register + 1)
        self._written.add(register)
        if clean:
            self.clean.add(register)
        return register


def schedule(value: Value) -> Schedule:
    """``value`` as steps; its result is in register ``result``.

    Operands in DST are taken to be in register 0.
    """
    plan = Schedule()
    plan.result = _emit(plan, value, frozenset())
    return plan


def _emit(plan: Schedule, value: Value, live: frozenset[int]) -> int:
    if isinstance(value, Constant):
        out = plan.take(live, clean=False)
        plan.steps.append(Step("fill", out, number=value.value))
        return out
    if isinstance(value, Integer):
        out = plan.take(live, clean=False)
        plan.steps.append(Step("fill_int32", out, text=f"{value.value & 0xFFFFFFFF}u"))
        return out
    if isinstance(value, Operand):
        return _emit_operand(plan, value, live)
    if isinstance(value, Indices):
        return _emit_indices(plan, value, live)
    if isinstance(value, Select):
        out = _emit(plan, value.condition, live)
        a = _emit(plan, value.a, live | {out})
        b = _emit(plan, value.b, live | {out, a})
        plan.steps.append(Step("select", out, op="int32" if is_integer(value) else "float32", b=a, c=b))
        return out
    if value.b is None:
        out = _emit(plan, value.a, live)
        plan.steps.append(Step("unary", out, op=value.op))
        return out
    return _emit_binary(plan, value.op, value.a, value.b, live)


def _emit_indices(plan: Schedule, value: Indices, live: frozenset[int]) -> int:
    """The numbers that a tile's elements have inside it, scaled, and the number of its first element added."""
    if value.integer:
        return _emit_integer_indices(plan, value, live)
    out = -1
    for axis, factor in (("row", value.rows), ("column", value.cols)):
        if factor == 0:
            continue
        register = plan.take(live if out < 0 else live | {out}, clean=False)
        plan.steps.append(Step("numbers", register, op=axis))
        if factor != 1:
            plan.steps.append(Step("scalar", register, op="mul", number=float(factor)))
        if out < 0:
            out = register
        else:
            plan.steps.append(Step("binary", out, b=register, op="add"))
    if out < 0:
        out = plan.take(live, clean=False)
        plan.steps.append(Step("fill", out, number=0.0))
    plan.steps.append(Step("offset", out, indices=value))
    return out


def _emit_integer_indices(plan: Schedule, value: Indices, live: frozenset[int]) -> int:
    """The same in int32: floats would be exact up to 2**24 only."""
    out = plan.take(live, clean=False)
    plan.steps.append(Step("first_int32", out, indices=value))
    for axis, factor in (("row", value.rows), ("column", value.cols)):
        if factor == 0:
            continue
        numbers = plan.take(live | {out}, clean=False)
        plan.steps += [Step("numbers", numbers, op=axis), Step("unary", numbers, op="float32_to_int32")]
        if factor != 1:
            scale = _emit(plan, Integer(factor), live | {out, numbers})
            plan.steps.append(Step("binary", numbers, b=scale, op="mul_int32"))
        plan.steps.append(Step("binary", out, b=numbers, op="add_int32"))
    return out


def _emit_operand(plan: Schedule, operand: Operand, live: frozenset[int]) -> int:
    out = plan.take(live, clean=_is_broadcast(operand))
    kind = "broadcast" if _is_broadcast(operand) else "held" if operand.tiles.cb is None else "fetch"
    plan.steps.append(Step(kind, out, operands=(operand,)))
    return out


def _emit_binary(plan: Schedule, op: str, a: Value, b: Value, live: frozenset[int]) -> int:
    if op in ("add", "mul", "max", "min") and (isinstance(a, Constant) or (op == "add" and _is_broadcast(a))):
        a, b = b, a
    if isinstance(b, Constant):
        return _emit_scalar(plan, op, a, b.value, live)
    if op == "sub" and isinstance(a, Constant):
        return _emit_scalar(plan, "rsub", b, a.value, live)
    if op in metalium.FPU_BINARY and _on_matrix_engine(a) and _on_matrix_engine(b):
        assert isinstance(a, Operand)
        assert isinstance(b, Operand)
        out = plan.take(live, clean=True)
        plan.steps.append(Step("matrix", out, op=op, operands=(a, b)))
        return out
    out = _emit(plan, a, live)
    if op == "add" and _is_broadcast(b):
        assert isinstance(b, Operand)
        plan.steps.append(Step("broadcast", out, operands=(b,)))
        return out
    other = _emit(plan, b, live | {out})
    plan.steps.append(Step("binary", out, b=other, op=op))
    return out


def _emit_scalar(plan: Schedule, op: str, a: Value, number: float, live: frozenset[int]) -> int:
    out = _emit(plan, a, live)
    if op == "max" and number == 0.0:
        plan.steps.append(Step("unary", out, op="relu"))
    elif op == "div":
        plan.steps.append(Step("scalar", out, op="mul", number=1.0 / number))
    else:
        plan.steps.append(Step("scalar", out, op=op, number=number))
    return out


def _is_broadcast(value: Value) -> bool:
    return isinstance(value, Operand) and value.access == "first_row"


def _on_matrix_engine(value: Value) -> bool:
    """16-bit tiles in L1: the matrix engine takes them without loss."""
    if not isinstance(value, Operand) or value.access or value.tiles.cb is None:
        return False
    return value.tiles.cb.data_format not in ("Float32", "Int32")


def evaluate(ctx: Context, value: Value, target: Tiles) -> None:
    """Compute ``value`` for a block of tiles and pack it to ``target``, whose pages are reserved.

    Raises:
        UnsupportedError: ``unsupported``, when one element needs more tiles at once than DST holds.
    """
    assert target.cb is not None
    value = converted(value, target.cb.data_format == "Int32")
    ctx.await_operands(value)
    if ctx.held is not None and not _fits_around_accumulator(ctx, value, target):
        ctx.free_dst()
        ctx.await_operands(value)
    plan = schedule(value)
    if ctx.held is not None:
        _evaluate_in_place(ctx, plan, target)
    else:
        _evaluate_batches(ctx, plan, target)


def materialise(ctx: Context, name: str, value: Value) -> Tiles:
    """``value`` of the on-chip buffer ``name`` as tiles in a circular buffer, which the buffer then holds."""
    if isinstance(value, Operand) and value.tiles.cb is not None and not value.access:
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
    plan = schedule(value)
    first = bool(plan.steps) and plan.steps[0].kind == "held" and plan.result == 0
    tiles = target.rows * target.cols
    return len(inside) == 1 and first and not plan.clean and tiles + plan.registers - 1 <= DST_TILES


def _evaluate_in_place(ctx: Context, plan: Schedule, target: Tiles) -> None:
    """Tile t of the accumulator is in register t; the scratch registers behind them serve one tile after the other."""
    assert target.cb is not None
    tiles = [(row, col) for row in range(target.rows) for col in range(target.cols)]

    def apply(step: Step, number: int) -> None:
        row, col = tiles[number]
        _apply(
            ctx, step, lambda virtual: number if virtual == 0 else len(tiles) - 1 + virtual, str(row), str(col), target
        )

    if plan.registers == 1:
        for step in plan.steps:
            for number in range(len(tiles)):
                apply(step, number)
    else:
        for number in range(len(tiles)):
            for step in plan.steps:
                apply(step, number)
    ctx.held = None
    ctx.hand_to_packer(target.cb, [(number, target.index(row, col)) for number, (row, col) in enumerate(tiles)])


def _evaluate_batches(ctx: Context, plan: Schedule, target: Tiles) -> None:
    assert target.cb is not None
    if plan.registers > DST_TILES:
        raise ctx.unsupported(
            "an element-wise expression needs more tiles at once than DST holds",
            subject="T.Parallel",
            found=f"{plan.registers} tiles; DST holds {DST_TILES}",
            hint="split it with an intermediate shared buffer",
        )
    batch = largest_divisor(target.cols, DST_TILES // plan.registers)
    compute = ctx.compute
    compute.open_loop("i", target.rows)
    compute.open_loop("j", target.cols, batch)
    compute.line("tile_regs_acquire();")
    for step in plan.steps:
        for tile in range(batch):
            first = tile * plan.registers
            _apply(ctx, step, lambda register, first=first: first + register, "i", plus("j", tile), target)
    moves = [(tile * plan.registers + plan.result, target.index("i", plus("j", tile))) for tile in range(batch)]
    ctx.hand_to_packer(target.cb, moves)
    compute.close_loop()
    compute.close_loop()


def _apply(ctx: Context, step: Step, register: Callable[[int], int], row: str, col: str, target: Tiles) -> None:
    """Emit one step for the tile at (row, col); ``register`` maps virtual registers to DST."""
    out = register(step.out)
    if step.kind == "fetch":
        _fetch(ctx, step.operands[0], out, row, col, target)
    elif step.kind == "broadcast":
        _broadcast(ctx, step.operands[0], out, col)
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
        _fetch(ctx, Operand(tiles, step.op, "single"), out, row, col, target)
    elif step.kind == "offset":
        assert step.indices is not None
        _sfpu(ctx, metalium.SCALAR["add"], a=out, bits=_offset(step.indices, row, col))
    elif step.kind == "fill_int32":
        _sfpu(ctx, metalium.FILL_INT32, a=out, bits=step.text)
    elif step.kind == "first_int32":
        assert step.indices is not None
        _sfpu(ctx, metalium.FILL_INT32, a=out, bits=_first(step.indices, row, col))
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


def _fetch(ctx: Context, operand: Operand, out: int, row: str, col: str, target: Tiles) -> None:
    buffer = operand.tiles.cb
    assert buffer is not None
    assert target.cb is not None
    ctx.headers.add(metalium.COPY_HEADER)
    if buffer.data_format == target.cb.data_format == "Float32":
        buffer.unpack_to_dest_fp32 = True
    ctx.math("copy", (buffer,), f"reconfig_data_format_srca({buffer.name});", f"copy_init({buffer.name});")
    r = "0" if operand.access in ("row", "single") else row
    c = "0" if operand.access in ("col", "single") else col
    ctx.compute.line(f"copy_tile({buffer.name}, {operand.tiles.index(r, c)}, {out});")


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
