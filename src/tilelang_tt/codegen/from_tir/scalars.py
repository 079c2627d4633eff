"""Integers that a kernel reads from tensors where a bound, an index or a condition needs them.

Each reading becomes a variable, bound by a ReadScalar statement in the outermost body in which its indices are known;
the same element is read once in a body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import tirx

from ...language import tile_ops
from ...language.nodes import is_one_of, same_expr, uses
from ..tile_program.statements import Statement


@dataclass
class Body:
    """A list of statements under construction, with the variables that it binds."""

    variables: list[tirx.Var] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    readings: list[tuple[tirx.BufferLoad, tirx.Var]] = field(default_factory=list)

    def binds(self, var: tirx.Var) -> bool:
        """Whether ``var`` is one of the body's own."""
        return is_one_of(var, self.variables)


def body_for(load: tirx.BufferLoad, bodies: Sequence[Body]) -> Body:
    """The outermost of ``bodies``, which lie inside one another, in which the indices of ``load`` are known."""
    used = [var for index in load.indices for var in tirx.analysis.undefined_vars(index)]
    return next((body for body in reversed(bodies) if any(body.binds(var) for var in used)), bodies[0])


def known_reading(load: tirx.BufferLoad, bodies: Sequence[Body]) -> tirx.Var | None:
    """The variable that holds the element already, if one does."""
    for body in bodies:
        for other, var in body.readings:
            if same_expr(other, load):
                return var
    return None


def replace_scalars(
    node: Any, variable_of: Callable[[tirx.BufferLoad], tirx.Var], is_number: Callable[[tirx.BufferLoad], bool]
) -> Any:
    """``node``, an expression or statement, with ``variable_of(load)`` in place of every load that ``is_number``."""

    def region(call: Any) -> Any:
        """The load in a region names a block: only its indices are numbers."""
        if str(getattr(call.op, "name", "")) != "tl.region":
            return None
        load, *rest = call.args
        indices = [replace_scalars(index, variable_of, is_number) for index in load.indices]
        return tirx.Call(call.dtype, call.op, [tirx.BufferLoad(load.buffer, indices), *rest], span=call.span)

    def before(part: Any) -> Any:
        return region(part) if isinstance(part, tirx.Call) else None

    def after(part: Any) -> Any:
        return variable_of(part) if isinstance(part, tirx.BufferLoad) and is_number(part) else None

    is_expression = isinstance(node, tirx.PrimExpr)
    statement = tirx.Evaluate(node) if is_expression else node
    replaced = tirx.stmt_functor.ir_transform(statement, before, after, ["tirx.Call", "tirx.BufferLoad"])
    return replaced.value if is_expression else replaced


def is_scalar(load: tirx.BufferLoad, moving: Sequence[tirx.Var]) -> bool:
    """Whether ``load`` is an integer element of a tensor that is the same for all values of ``moving``."""
    if not str(load.dtype).startswith("int") or not tile_ops.is_global(load.buffer):
        return False
    return not any(uses(index, var) for index in load.indices for var in moving)


UNBOUNDED = "0xffffffffu"
"""How often a ``while`` loop runs at most."""


@dataclass(frozen=True)
class Exit:
    """The variables by which a loop's body is left early: ``stay`` for the rest of an iteration, ``go_on`` for the
    iterations to come."""

    stay: str
    go_on: str | None
