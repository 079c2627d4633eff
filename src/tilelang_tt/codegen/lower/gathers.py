"""Blocks that are picked by computed indices: the reader brings what surrounds each piece, and copies the piece out of
it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...formats import ELEMENT_BYTES, TILE
from ..cexpr import times
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer
from ..cpp.gathers import PLACE_PIECE_NAME, READ_HELD_ELEMENT_NAME, READ_PIECE_NAME, WINDOW_BYTES
from ..cpp.streams import Define
from ..tile_program.expressions import TensorBlock
from ..tile_program.gathers import PIECE, ROW, Element, Gathered
from .context import Context, largest_divisor
from .values import Tiles

IN_FLIGHT_BYTES = 8192
"""What surrounds pieces that are under way, at most, unless those of a single row need more."""


@dataclass(frozen=True)
class Gather:
    """The reader's code that fills ``tiles``, in the circular buffer at ``address``, with what is picked of a tensor:
    row by row of elements, several rows in flight."""

    ctx: Context
    tensor: str
    picked: Gathered
    tiles: Tiles
    buffer: CircularBuffer
    address: str
    bytes_each: int

    @property
    def windows_bytes(self) -> int:
        """What surrounds a piece."""
        return WINDOW_BYTES * (2 if self.picked.piece == TILE else 1)

    def emit(self, *, padded: bool) -> None:
        """``padded``: the tiles are not full of elements, and what lies past them must be zeros."""
        reader, picked = self.ctx.reader, self.picked
        of_row = picked.pieces * self.windows_bytes
        # Not more than a tile's rows: what says where they lie is then of one page as a rule, brought once.
        rows = largest_divisor(picked.height, max(1, min(TILE, IN_FLIGHT_BYTES // of_row)))
        purpose = f"what surrounds picked elements of {self.tensor}"
        around = self.ctx.scratch(("around", self.tensor, str(rows * of_row)), self.tensor, rows * of_row, purpose)
        if padded:
            size = self.buffer.block_pages * self.buffer.page_size
            reader.line(f"{metalium.ZERO_TILE_NAME}({self.address}, {size});")
        reader.open_loop("k", picked.height, rows)
        for places in (False, True):
            reader.open_loop("r", rows)
            reader.line(f"const uint32_t {ROW} = k + r;")
            self._read_elements(of_piece=False)
            reader.open_loop(PIECE, picked.pieces)
            self._read_elements(of_piece=True)
            window = f"{around} + (r * {picked.pieces} + {PIECE}) * {self.windows_bytes}"
            reader.line(self._placed(window) if places else self._brought(window))
            reader.close_loop()
            reader.close_loop()
            if not places:
                reader.line("noc_async_read_barrier();")
        reader.close_loop()

    def _brought(self, window: str) -> str:
        picked, accessor = self.picked, self.ctx.accessor("reader", self.tensor)
        kind = f"{READ_PIECE_NAME}<{self.bytes_each}, {picked.piece}>"
        read = f"{kind}({accessor}, {picked.page}, {picked.row}, {picked.col}, {window});"
        return read if picked.inside is None else f"if ({picked.inside}) {read}"

    def _placed(self, window: str) -> str:
        picked = self.picked
        column = times(PIECE, picked.piece)
        tile = self.tiles.index(f"{ROW} / {TILE}", f"{column} / {TILE}")
        target = f"{self.address} + ({tile}) * {self.buffer.page_size}, {ROW} % {TILE}, {column} % {TILE}"
        source = f"{picked.inside or 'true'}, {picked.row}, {picked.col}, {window}"
        return f"{PLACE_PIECE_NAME}<{self.bytes_each}, {picked.piece}>({target}, {source});"

    def _read_elements(self, *, of_piece: bool) -> None:
        """The integers that change with the piece, or those that do not."""
        changing = {PIECE}
        for element in self.picked.elements:
            words = re.findall(r"\w+", f"{element.page} {element.row} {element.col} {element.inside}")
            if changing & set(words):
                changing.add(element.var)
            if (element.var in changing) == of_piece:
                self.ctx.reader.add(Define(element.var, self._element(element)))

    def _element(self, element: Element) -> str:
        ctx = self.ctx
        key, name = ("picks", element.tensor), f"{element.tensor}_page"
        held = f"{name}_held"
        if ctx.made(key) is None:
            ctx.reader.insert_first([Define(held, "0xffffffff", "uint32_t")])
        address = ctx.scratch(key, name, ELEMENT_BYTES["Int32"] * TILE * TILE, f"the page of {element.tensor} in use")
        arguments = (ctx.accessor("reader", element.tensor), element.page, element.row, element.col, address, held)
        value = f"{READ_HELD_ELEMENT_NAME}({', '.join(arguments)})"
        return value if element.inside is None else f"{element.inside} ? {value} : 0"


def gather(ctx: Context, block: TensorBlock, picked: Gathered, tiles: Tiles, address: str) -> None:
    """Fill ``tiles`` at ``address`` with ``block``.

    Raises:
        UnsupportedError: ``unsupported``, for a tensor that is stored in block floats.
    """
    assert tiles.cb is not None
    padded = block.is_vector or picked.height % TILE != 0 or picked.width % TILE != 0
    made = Gather(ctx, block.tensor, picked, tiles, tiles.cb, address, element_bytes(ctx, block, tiles.cb))
    made.emit(padded=padded)


def element_bytes(ctx: Context, block: TensorBlock, buffer: CircularBuffer) -> int:
    """Bytes of an element, which lies by itself. Raises :class:`UnsupportedError` for block floats."""
    if buffer.data_format not in ELEMENT_BYTES:
        raise ctx.unsupported(
            f"rows and elements of {block.tensor} are picked, which is stored in block floats",
            subject=block.tensor,
            found=buffer.data_format,
            hint="store it as bfloat16",
        )
    return ELEMENT_BYTES[buffer.data_format]
