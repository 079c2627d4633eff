"""Integers of tensors in all three kernels of a core: the reader reads them, and passes them on."""

from __future__ import annotations

from typing import Literal

from ...formats import tile_bytes
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.streams import Define, Receive, Send
from ..tile_program.statements import ReadScalar
from .context import Context

DEPTH = 2
"""How many integers the reader may be ahead of the others."""


def read_scalar(ctx: Context, read: ReadScalar) -> None:
    """``read.var``, in every stream that uses it."""
    arguments = (ctx.accessor("reader", read.tensor), read.page, read.row, read.col, _page(ctx))
    element = f"{metalium.READ_ELEMENT_NAME}({', '.join(arguments)})"
    ctx.reader.add(Define(read.var, element if read.inside is None else f"{read.inside} ? {element} : 0"))
    for role in ("compute", "writer"):
        buffer = _passing_buffer(ctx, role)
        ctx.reader.add(_send(read.var, role, buffer.name))
    ctx.headers.add(metalium.TILE_VALUE_HEADER)
    compute, writer = (_passing_buffer(ctx, role).name for role in ("compute", "writer"))
    ctx.compute.add(_receive(read.var, compute, f"read_tile_value({compute}, 0, 0)"))
    ctx.writer.add(_receive(read.var, writer, f"CoreLocalMem<const volatile uint32_t>(get_read_ptr({writer}))[0]"))


def _send(name: str, role: str, buffer: str) -> Send:
    write = f"CoreLocalMem<volatile uint32_t>(get_write_ptr({buffer}))[0] = {name};"
    return Send(name, role, (f"cb_reserve_back({buffer}, 1);", write, f"cb_push_back({buffer}, 1);"))


def _receive(name: str, buffer: str, value: str) -> Receive:
    lines = (f"cb_wait_front({buffer}, 1);", f"const uint32_t {name} = {value};", f"cb_pop_front({buffer}, 1);")
    return Receive(name, lines)


def _passing_buffer(ctx: Context, role: Literal["compute", "writer"]) -> CircularBuffer:
    purpose = f"integers of tensors on their way to the {role} kernel"
    return ctx.buffer(("integers", role), f"integers_{role}", "Int32", 1, DEPTH, purpose=purpose)


def _page(ctx: Context) -> str:
    """The address of the page that integers are read from, which no other kernel sees."""
    purpose = "the page that integers of tensors are read from"
    return ctx.scratch(("integers", "reader"), "integers_page", tile_bytes("Int32"), purpose)
