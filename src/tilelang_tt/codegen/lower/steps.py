"""An element-wise expression as steps: engine operations on virtual registers, which are tiles of DST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..cpp import metalium
from ..tile_program.expressions import Constant, Integer
from .recipes import RECIPES, Step
from .values import Apply, Indices, Operand, Product, Select, Value, is_integer, leaves, products


@dataclass
class Schedule:
    """An expression as steps.

    ``clean`` registers must be zero beforehand, as all are after tile_regs_acquire(). ``matrix_ops`` are what the
    matrix engine does on two tiles in L1.
    """

    matrix_ops: frozenset[str]
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


def schedule(value: Value, matrix_ops: frozenset[str]) -> Schedule:
    """``value`` as steps; its result is in register ``result``.

    Operands in DST are taken to be in register 0.
    """
    plan = Schedule(matrix_ops)
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
    if isinstance(value, Product):
        out = plan.take(live, clean=True)
        plan.steps.append(Step("product", out, product=value))
        return out
    if isinstance(value, Indices):
        return _emit_indices(plan, value, live)
    if isinstance(value, Select):
        out, a, b = _emit_all(plan, (value.condition, value.a, value.b), live)
        plan.steps.append(Step("select", out, op="int32" if is_integer(value) else "float32", b=a, c=b))
        return out
    if value.b is None:
        return _emit_unary(plan, value.op, value.a, live)
    return _emit_binary(plan, value.op, value.a, value.b, live)


def _emit_all(plan: Schedule, values: Sequence[Value], live: frozenset[int]) -> list[int]:
    """Every one of ``values`` in a register of its own; what the matrix engine has summed up comes first, then those
    that need most registers, when most are free."""

    def demand(at: int) -> tuple[int, int]:
        return -_comes_first(values[at]), -schedule(values[at], plan.matrix_ops).registers

    order = sorted(range(len(values)), key=demand)
    found: dict[int, int] = {}
    for at in order:
        found[at] = _emit(plan, values[at], live | set(found.values()))
    return [found[at] for at in range(len(values))]


def _comes_first(value: Value) -> int:
    return 2 if any(leaf.tiles.cb is None for leaf in leaves(value)) else len(products(value)) > 0


def _emit_unary(plan: Schedule, op: str, arg: Value, live: frozenset[int]) -> int:
    out = _emit(plan, arg, live)
    if op not in RECIPES:
        plan.steps.append(Step("unary", out, op=op))
        return out
    recipe = RECIPES[op]
    scratch: list[int] = []
    for _ in range(recipe.scratch):
        scratch.append(plan.take(live | {out, *scratch}, clean=False))
    plan.steps += recipe.steps(out, *scratch)
    return out


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
    if isinstance(b, Constant) and op in (*metalium.SCALAR, "div"):
        return _emit_scalar(plan, op, a, b.value, live)
    if op == "sub" and isinstance(a, Constant):
        return _emit_scalar(plan, "rsub", b, a.value, live)
    if op in plan.matrix_ops and _on_matrix_engine(a) and _on_matrix_engine(b):
        assert isinstance(a, Operand)
        assert isinstance(b, Operand)
        out = plan.take(live, clean=True)
        plan.steps.append(Step("matrix", out, op=op, operands=(a, b)))
        return out
    if op == "add" and _is_broadcast(b):
        assert isinstance(b, Operand)
        out = _emit(plan, a, live)
        plan.steps.append(Step("broadcast", out, operands=(b,)))
        return out
    if op == "add" and _is_sum_of_products(a) and _is_sum_of_products(b):
        return _add_products(plan, a, b, live)
    out, other = _emit_all(plan, (a, b), live)
    if op in _COMMUTATIVE and other == 0:
        out, other = other, out
    plan.steps.append(Step("binary", out, b=other, op=op))
    return out


_COMMUTATIVE = frozenset({"add", "mul", "max", "min"})


def _is_sum_of_products(value: Value) -> bool:
    if isinstance(value, Apply):
        return value.op == "add" and value.b is not None and all(map(_is_sum_of_products, (value.a, value.b)))
    return isinstance(value, Product)


def _add_products(plan: Schedule, a: Value, b: Value, live: frozenset[int]) -> int:
    """The matrix engine adds the products of one to those of the other."""
    out = _emit(plan, a, live)
    plan.steps += [Step("product", out, product=product) for product in products(b)]
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
