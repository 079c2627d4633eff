"""Loads of tensors that one core of a group reads for all of it: the reader's part, and the proof that it can.

The sender reads a block from memory, waits until all others have room for it, and sends it, then a flag, to the same
place in their L1. That place is the same because every core of a group fills its circular buffer with the same blocks
in the same order; :func:`check_lock_step` makes sure of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ... import attrs
from ...errors import CapacityError, Code, UnsupportedError
from ...partition import WorkPartition
from ...partition.multicast import has_rest
from ...program.consistency import MAX_SEMAPHORES
from ...program.spec import MULTICAST_ARGS, Role, SemaphoreSpec
from ..cexpr import identifier
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.streams import Define, Node, Stream
from ..tile_program.expressions import Shift, TensorBlock, TensorTile, operands
from ..tile_program.statements import Branch, Let, Load, Loop, Map, Statement, Store, TileProgram

_VARIABLE = re.compile(r"\b[A-Za-z_]\w*\b(?!\()")
"""A name in a C++ expression that is no function's or type's."""
SEMAPHORES_EACH = 2
"""One counts the receivers that have room, one tells them that a block has arrived."""


@dataclass(frozen=True)
class MulticastTensor:
    """A tensor of the partition's multicast: the axis that its blocks follow, and which of them it is."""

    tensor: str
    follows: str
    number: int
    drains: bool = False
    """Whether some core has fewer work tiles than others of its group, whose blocks it has to take all the same."""

    @property
    def name(self) -> str:
        """What the reader calls this core's part in it."""
        return f"{identifier(self.tensor)}_multicast"

    def semaphores(self) -> tuple[SemaphoreSpec, SemaphoreSpec]:
        """Receivers ready, block arrived."""
        first, name = SEMAPHORES_EACH * self.number, identifier(self.tensor)
        return SemaphoreSpec(first, f"{name}_ready"), SemaphoreSpec(first + 1, f"{name}_arrived")

    @property
    def steps(self) -> str:
        """What kernels call the number of work tiles that this core's group goes through."""
        return f"{identifier(self.tensor)}_steps"

    def definitions(self, role: Role, arguments: int) -> list[Node]:
        """The definitions of :attr:`steps` and, in the reader, of :attr:`name`.

        ``arguments``: how many canonical runtime arguments there are.
        """
        argument = arguments + len(MULTICAST_ARGS) * self.number
        steps = Define(self.steps, f"get_arg_val<uint32_t>({argument + MULTICAST_ARGS.index('steps')})")
        value = f"{metalium.MULTICAST_NAME}({argument}, {SEMAPHORES_EACH * self.number})"
        return [steps, *([Define(self.name, value, "const auto")] if role == "reader" else [])]

    def begin_reads(self, reader: Stream) -> None:
        """What follows is done by the sender only."""
        reader.open_branch(self.sends)

    def end_reads(self, reader: Stream) -> None:
        """The end of what the sender does; the others tell it that they have room."""
        reader.open_otherwise(self.sends)
        reader.line(f"{metalium.MULTICAST_READY_NAME}({self.name});")
        reader.close_branch()

    @property
    def sends(self) -> str:
        """Whether the core reads the tensor for the others, a C++ condition."""
        return f"{self.name}.destinations > 0"

    def receive(self, reader: Stream, buffer: CircularBuffer) -> None:
        """Take a block, on a core that never sends it."""
        reader.line(buffer.call("reserve_back"))
        reader.line(f"{metalium.MULTICAST_READY_NAME}({self.name});")
        reader.line(self.share(f"get_write_ptr({buffer.name})", buffer.block_pages * buffer.page_size))
        reader.line(buffer.call("push_back"))

    def share(self, address: str, size: int) -> str:
        """The statement that brings the block at ``address`` of the sender, of ``size`` bytes, to all."""
        return f"{metalium.MULTICAST_BLOCK_NAME}({self.name}, {address}, {size});"


def multicast_tensors(partition: WorkPartition) -> dict[str, MulticastTensor]:
    """The partition's multicast tensors by name.

    Raises:
        CapacityError: ``l1-capacity``, for more than a core has semaphores for.
    """
    found = {
        name: MulticastTensor(name, item.follows, number, has_rest(partition, name))
        for number, (name, item) in enumerate(partition.multicast.items())
    }
    if len(found) * SEMAPHORES_EACH > MAX_SEMAPHORES:
        raise CapacityError(
            Code.L1_CAPACITY,
            "more tensors are multicast than a core has semaphores for",
            subject="multicast",
            found=f"{len(found)} tensors",
            expected=f"at most {MAX_SEMAPHORES // SEMAPHORES_EACH}",
        )
    return found


def check_lock_step(program: TileProgram, multicasts: Mapping[str, MulticastTensor]) -> None:
    """Prove that all cores of a group load the same blocks of each multicast tensor, equally often, in one order.

    Raises:
        UnsupportedError: ``unsupported``, with the load that may differ from core to core.
    """
    if not multicasts:
        return
    deciding: dict[str, str] = {}
    loads = list(_loads(program.tile_loop.body, (), deciding))
    filled = {into: block.tensor for statement, block, _ in loads if (into := _into(statement)) is not None}
    for statement, block, around in loads:
        multicast = multicasts.get(block.tensor)
        into = _into(statement)
        if multicast is None:
            if into is not None and filled[into] in multicasts:
                _refuse(filled[into], statement, f"{into} holds blocks of {block.tensor} too")
            continue
        if into is not None and filled[into] != block.tensor:
            _refuse(block.tensor, statement, f"{into} holds blocks of {filled[into]} too")
        shift = block.shift or Shift()
        used = [block.leading, block.leading_inside, block.row, block.col, shift.rows, shift.cols, *around]
        for name in sorted(_decided_by(used, deciding, program.block_axes)):
            if program.block_axes.get(name) != multicast.follows and name not in (*program.constants, *program.sizes):
                axis = f"axis {multicast.follows}" if multicast.follows else "no block index"
                _refuse(block.tensor, statement, f"which of its blocks is read follows {name}, not {axis} alone")


def _loads(
    body: Sequence[Statement], around: tuple[str, ...], deciding: dict[str, str]
) -> list[tuple[Statement, TensorBlock, tuple[str, ...]]]:
    """Every block of a tensor that is read, with the extents of loops and the conditions ``around`` it; what decides
    each index goes to ``deciding``."""
    found: list[tuple[Statement, TensorBlock, tuple[str, ...]]] = []
    for statement in body:
        if isinstance(statement, Let):
            deciding[statement.var] = statement.value
        elif isinstance(statement, Loop):
            deciding[statement.var] = statement.extent
            inside = (*around, statement.extent, statement.condition or "")
            found += _loads(statement.body, inside, deciding)
        elif isinstance(statement, Branch):
            for arm in (statement.then, statement.otherwise):
                found += _loads(arm, (*around, statement.condition), deciding)
        elif isinstance(statement, Load):
            found.append((statement, statement.source, around))
        elif isinstance(statement, (Map, Store)):
            leaves = [leaf for leaf in operands(statement.value) if isinstance(leaf, TensorTile)]
            found += [(statement, leaf.source, around) for leaf in leaves]
    return found


def _into(statement: Statement) -> str | None:
    return statement.dst if isinstance(statement, Load) else None


def _decided_by(texts: Sequence[str], deciding: Mapping[str, str], block_axes: Mapping[str, str]) -> set[str]:
    """The names that ``texts`` come down to: block indices, and whatever no statement of the kernel defines."""
    seen: set[str] = set()
    found: set[str] = set()
    waiting = list(texts)
    while waiting:
        for name in _VARIABLE.findall(waiting.pop()):
            if name in seen:
                continue
            seen.add(name)
            if name in deciding and name not in block_axes:
                waiting.append(deciding[name])
            else:
                found.add(name)
    return found


def _refuse(tensor: str, statement: Statement, reason: str) -> None:
    raise UnsupportedError(
        Code.UNSUPPORTED,
        f"{tensor} cannot be multicast: {reason}",
        subject=tensor,
        hint=f"leave {tensor} out of {attrs.USER_SCHEDULE}'s multicast",
        location=getattr(statement, "location", None),
    )
