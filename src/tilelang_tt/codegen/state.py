"""What a loop carries from one iteration to the next: buffers that its body reads before it sets them.

Such a buffer lives in a circular buffer of two blocks: an iteration packs the new value behind the old one, then pops
the old one. (Accumulators of matrix products have ways of their own, see matmul.py.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .circular_buffers import CircularBuffer
from .context import Context, Operand, Tiles, Value
from .elementwise import evaluate
from .tile_program import Constant, Load, Loop, reads, sets, walk


@dataclass
class State:
    """A carried buffer: its circular buffer, and its value at the start of an iteration."""

    name: str
    buffer: CircularBuffer
    rows: int
    cols: int
    value: Operand | None = None

    def tiles(self) -> Tiles:
        """A block of the circular buffer."""
        return Tiles(self.rows, self.cols, self.buffer, row_stride=self.cols)


def begin_states(ctx: Context, loop: Loop, accumulators: Collection[str]) -> list[State]:
    """Put the initial values of what ``loop`` carries into circular buffers, in front of it."""
    states = []
    for name in _carried(ctx, loop, accumulators):
        rows, cols = ctx.shape(name)
        purpose = f"{name}, carried by the loop"
        buffer = ctx.spare_buffer("state", name, ctx.format_of(name), rows * cols, 2, purpose=purpose)
        state = State(name, buffer, rows, cols)
        initial: Value = ctx.values.get(name, Constant(0.0))
        ctx.reserve(buffer)
        evaluate(ctx, initial, state.tiles())
        ctx.push(buffer)
        ctx.carrying.append(buffer)
        states.append(state)
    return states


def enter_states(ctx: Context, states: Sequence[State]) -> None:
    """At the start of an iteration the buffers hold what the one before left."""
    for state in states:
        ctx.compute.line(f"cb_wait_front({state.buffer.name}, {state.buffer.block_pages});")
        state.value = Operand(state.tiles(), state.name)
        ctx.values[state.name] = state.value


def leave_states(ctx: Context, states: Sequence[State]) -> None:
    """At the end of an iteration all new values are packed before any old one goes."""
    changed = [state for state in states if ctx.values.get(state.name) is not state.value]
    for state in changed:
        ctx.reserve(state.buffer)
        evaluate(ctx, ctx.values[state.name], state.tiles())
        ctx.push(state.buffer)
    for state in changed:
        ctx.compute.line(f"cb_pop_front({state.buffer.name}, {state.buffer.block_pages});")
        assert state.value is not None
        state.value.tiles.stale = True


def end_states(ctx: Context, states: Sequence[State]) -> None:
    """After the loop the buffers hold what the last iteration left."""
    for state in states:
        ctx.carrying.remove(state.buffer)
        ctx.compute.line(f"cb_wait_front({state.buffer.name}, {state.buffer.block_pages});")
        tiles = state.tiles()
        ctx.values[state.name] = Operand(tiles, state.name)
        ctx.pop_at_end(ctx.compute, tiles)


def _carried(ctx: Context, loop: Loop, accumulators: Collection[str]) -> list[str]:
    """Buffers that the body computes and that it, or what comes after the loop, reads from an earlier iteration."""
    inside = walk(loop.body)
    computed = [
        name for s in inside if (name := sets(s)) is not None and not isinstance(s, Load) and name not in accumulators
    ]
    others = [s for s in walk((ctx.program.tile_loop,)) if not any(s is mine for mine in inside)]
    read_outside = {name for s in others for name in reads(s)}
    carried = []
    for name in dict.fromkeys(computed):
        first = next(s for s in inside if name in reads(s) or sets(s) == name)
        if name in reads(first) or name in read_outside:
            carried.append(name)
    return carried
