"""What a loop carries from one iteration to the next, and what a branch leaves behind.

A buffer that a loop's body sets for the next iteration, or for what comes after the loop, lives in a circular buffer of
two blocks: an iteration packs the new value behind the old one, then pops the old one. Where the new value is in a
circular buffer of the same size already, the two are swapped. (Accumulators of matrix products
have ways of their own, see matmul.py.) A buffer that an arm of a branch sets is packed into one circular buffer by
both arms, by the other one with the value that it had before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..cpp.circular_buffers import CircularBuffer
from ..tile_program.expressions import Constant
from ..tile_program.statements import Branch, Loop
from .context import Context, Popping
from .elementwise import evaluate
from .values import Operand, Tiles, Value


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
        buffer = ctx.spare_buffer("state", name, ctx.format_of(name), rows * cols, purpose=purpose)
        state = State(name, buffer, rows, cols)
        initial: Value = ctx.values.pop(name, Constant(0.0))
        if name not in ctx.liveness.before(loop):
            initial = Constant(0.0)
        ctx.reserve(buffer)
        evaluate(ctx, initial, state.tiles())
        ctx.push(buffer)
        ctx.carrying.append(buffer)
        states.append(state)
    return states


def enter_states(ctx: Context, states: Sequence[State]) -> None:
    """At the start of an iteration the buffers hold what the one before left."""
    for state in states:
        ctx.compute.line(state.buffer.call("wait_front"))
        state.value = Operand(state.tiles(), state.name)
        ctx.values[state.name] = state.value


def leave_states(ctx: Context, states: Sequence[State]) -> None:
    """At the end of an iteration all new values are packed before any old one goes."""
    changed = [state for state in states if ctx.values.get(state.name) is not state.value]
    swapped: list[tuple[State, Popping]] = []
    for state in changed:
        popping = _in_a_buffer_alike(ctx, state)
        if popping is not None and all(popping is not other for _, other in swapped):
            swapped.append((state, popping))
            continue
        state.buffer.depth = 2
        ctx.reserve(state.buffer)
        evaluate(ctx, ctx.values[state.name], state.tiles())
        ctx.push(state.buffer)
    for state in changed:
        ctx.compute.line(state.buffer.call("pop_front"))
        assert state.value is not None
        state.value.tiles.stale = True
    for state, popping in swapped:
        _swap(ctx, state, popping)


def _in_a_buffer_alike(ctx: Context, state: State) -> Popping | None:
    """Where the new value of ``state`` is all that is in a circular buffer like its own, which nobody else takes."""
    value = ctx.values[state.name]
    if not isinstance(value, Operand) or value.access:
        return None
    tiles, mine = value.tiles, state.buffer
    found = next((popping for popping in ctx.scopes[-1] if popping.tiles is tiles), None)
    if found is None or found.stream is not ctx.compute or tiles.cb is None or not tiles.cb.within_compute:
        return None
    buffer = tiles.cb
    alike = (buffer.data_format, buffer.block_pages) == (mine.data_format, mine.block_pages)
    ordered = tiles.base == "0" and tiles.row_stride == state.cols and not tiles.column_major
    return found if alike and ordered and (tiles.rows, tiles.cols) == (state.rows, state.cols) else None


def _swap(ctx: Context, state: State, popping: Popping) -> None:
    mine, other = state.buffer, popping.tiles.cb
    assert other is not None
    ctx.scopes[-1].remove(popping)
    mine.swaps_with.append(other)
    other.swaps_with.append(mine)
    ctx.compute.line(f"{{ const uint32_t other = {mine.name}; {mine.name} = {other.name}; {other.name} = other; }}")


def end_states(ctx: Context, states: Sequence[State]) -> None:
    """After the loop the buffers hold what the last iteration left."""
    for state in states:
        ctx.carrying.remove(state.buffer)
        ctx.compute.line(state.buffer.call("wait_front"))
        tiles = state.tiles()
        ctx.values[state.name] = Operand(tiles, state.name)
        ctx.pop_at_end(ctx.compute, tiles)


def _carried(ctx: Context, loop: Loop, accumulators: Collection[str]) -> list[str]:
    return [name for name in ctx.liveness.carried(loop) if name not in accumulators]


@dataclass(frozen=True)
class Merged:
    """A buffer that a branch leaves behind, and the circular buffer that both arms pack it into."""

    name: str
    tiles: Tiles


def begin_merged(ctx: Context, branch: Branch) -> list[Merged]:
    """The circular buffers for what ``branch`` leaves behind."""
    found = []
    for name in ctx.liveness.merged(branch):
        rows, cols = ctx.shape(name)
        purpose = f"{name}, set by a branch"
        buffer = ctx.spare_buffer("merged", name, ctx.format_of(name), rows * cols, purpose=purpose)
        ctx.carrying.append(buffer)
        found.append(Merged(name, Tiles(rows, cols, buffer, row_stride=cols, awaited=False)))
    return found


def leave_arm(ctx: Context, merged: Sequence[Merged]) -> None:
    """At the end of an arm, pack what the buffers hold there."""
    for one in merged:
        assert one.tiles.cb is not None
        ctx.reserve(one.tiles.cb)
        evaluate(ctx, ctx.values.get(one.name, Constant(0.0)), one.tiles)
        ctx.push(one.tiles.cb)


def end_merged(ctx: Context, merged: Sequence[Merged]) -> None:
    """After a branch the buffers hold what the arm left that was taken."""
    for one in merged:
        assert one.tiles.cb is not None
        ctx.carrying.remove(one.tiles.cb)
        ctx.values[one.name] = Operand(one.tiles, one.name)
        ctx.pop_at_end(ctx.compute, one.tiles)
