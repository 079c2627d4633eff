"""What a core with fewer work tiles than others of its group does at its end: take part in the rest of their
multicasts, which count on every core of the group and on its circular buffers being at the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cpp.streams import Define, Stream
from ..tile_program.statements import Branch, Let, Load, Loop, Map, Statement, Store
from .context import Context
from .multicast import MulticastTensor
from .uses import direct_names

REST = "tt_rest"
"""The variable that counts the work tiles that others of a group have more."""


def drain(ctx: Context, consumers: Mapping[str, Stream]) -> None:
    """Append the steps that other cores have more, if there are any, to the reader and to who takes what it brings.

    ``consumers``: which kernel takes the blocks, by the name that their circular buffer is called after.
    """
    tensors = {name: tensor for name, tensor in ctx.multicasts.items() if tensor.drains}
    if not tensors:
        return
    loop, steps = ctx.program.tile_loop, ""
    for tensor in tensors.values():
        steps = f"({tensor.steps} > {steps} ? {tensor.steps} : {steps})" if steps else tensor.steps
    for stream in ctx.streams:
        stream.open_loop(REST, f"{steps} - {loop.extent}")
        stream.add(Define(loop.var, f"{loop.extent} + {REST}"))
        _Rest(ctx, tensors, consumers, stream).statements(loop.body)
        stream.close_loop()


class _Rest:
    """The rest of the work, as one kernel has it to do."""

    def __init__(
        self, ctx: Context, tensors: Mapping[str, MulticastTensor], consumers: Mapping[str, Stream], stream: Stream
    ) -> None:
        self.ctx, self.tensors, self.consumers, self.stream = ctx, tensors, consumers, stream

    def statements(self, body: Sequence[Statement]) -> None:
        """Loops and conditions as in the work itself; of what is in them the multicast blocks only."""
        for statement in body:
            if isinstance(statement, Let):
                self.stream.add(Define(statement.var, statement.value))
            elif isinstance(statement, Loop):
                self.stream.open_loop(statement.var, statement.extent)
                self.statements(statement.body)
                self.stream.close_loop()
            elif isinstance(statement, Branch):
                self.stream.open_branch(statement.condition)
                self.statements(statement.then)
                self.stream.open_otherwise(statement.condition)
                self.statements(statement.otherwise)
                self.stream.close_branch()
            else:
                for tensor, name in _blocks_read(statement):
                    if tensor in self.tensors:
                        self._block(self.tensors[tensor], name)

    def _block(self, tensor: MulticastTensor, name: str) -> None:
        buffer, stream = self.ctx.made(("load", name)), self.stream
        if buffer is None:
            return
        several = len(self.tensors) > 1
        if several:
            # Not all groups of this core need have as many steps.
            stream.open_branch(f"{self.ctx.program.tile_loop.var} < {tensor.steps}")
        if stream is self.ctx.reader:
            tensor.receive(stream, buffer)
        elif stream is self.consumers[name]:
            stream.line(buffer.call("wait_front"))
            stream.line(buffer.call("pop_front"))
        if several:
            stream.close_branch()


def _blocks_read(statement: Statement) -> list[tuple[str, str]]:
    """The tensors that a statement reads blocks of, with the name that their circular buffer is called after."""
    if isinstance(statement, Load):
        return [(statement.source.tensor, statement.dst)]
    if not isinstance(statement, (Map, Store)):
        return []
    return [(source.tensor, name) for source, name in direct_names(statement.value).items()]
