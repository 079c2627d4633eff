"""The circular buffers of a program, as lowering asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ...errors import CapacityError, Code
from ...formats import DataFormat, tile_bytes
from ...program.spec import CircularBufferSpec
from ..cexpr import identifier

MAX_CIRCULAR_BUFFERS = 32


@dataclass(eq=False)
class CircularBuffer:
    """One circular buffer; ``block_pages`` pages are pushed at a time, ``depth`` such blocks fit."""

    name: str
    data_format: DataFormat
    block_pages: int
    depth: int
    purpose: str
    tensor: str | None = None
    unpack_to_dest_fp32: bool = False
    feeds_matrix_engine: bool = False
    kept: bool = False
    within_compute: bool = False
    """Whether the compute kernel is the one that fills it and the only one that empties it."""

    place: CircularBuffer | None = field(default=None, repr=False)
    """The one that it takes turns with, where it has no place of its own."""

    index: int = -1
    """Its number, once all are known."""

    swaps_with: list[CircularBuffer] = field(default_factory=list, repr=False)
    """What the compute kernel swaps it with: which of them a name stands for changes as it runs."""

    @property
    def page_size(self) -> int:
        """Bytes of one hardware tile."""
        return tile_bytes(self.data_format)

    @property
    def num_pages(self) -> int:
        """Pages that the buffer holds."""
        return self.block_pages * self.depth

    @property
    def unpacks_to_dst(self) -> bool:
        """Whether its tiles go to DST as they are, and not by way of the matrix engine's registers."""
        return self.unpack_to_dest_fp32 and not self.feeds_matrix_engine

    def call(self, verb: Literal["reserve_back", "push_back", "wait_front", "pop_front"]) -> str:
        """The statement of a kernel that does this with a block of the buffer."""
        return f"cb_{verb}({self.name}, {self.block_pages});"

    def to_spec(self) -> CircularBufferSpec:
        """The buffer as the program's data."""
        return CircularBufferSpec(
            index=self.index,
            name=self.name,
            data_format=self.data_format,
            page_size=self.page_size,
            num_pages=self.num_pages,
            tensor=self.tensor,
            unpack_to_dest_fp32=self.unpacks_to_dst,
            kept=self.kept,
        )


@dataclass
class CircularBuffers:
    """All of them, by name."""

    by_name: dict[str, CircularBuffer] = field(default_factory=dict)

    def new(
        self, name: str, data_format: DataFormat, pages: int, depth: int, purpose: str, tensor: str | None = None
    ) -> CircularBuffer:
        """A new circular buffer called after ``name``."""
        unique = f"cb_{identifier(name)}"
        while unique in self.by_name:
            unique += "_"
        buffer = CircularBuffer(unique, data_format, pages, depth, purpose, tensor)
        self.by_name[unique] = buffer
        return buffer

    def places(self) -> list[CircularBuffer]:
        """Those that have a place of their own in L1."""
        return [buffer for buffer in self if buffer.place is None]

    def number(self) -> None:
        """Give each its index, those that take turns the same.

        Raises:
            CapacityError: ``l1-capacity``, when there are more than a core has.
        """
        places = self.places()
        if len(places) > MAX_CIRCULAR_BUFFERS:
            raise CapacityError(
                Code.L1_CAPACITY,
                "the kernel needs more circular buffers than a core has",
                subject=places[MAX_CIRCULAR_BUFFERS].name,
                found=f"{len(places)} ({', '.join(buffer.name for buffer in places)})",
                expected=f"at most {MAX_CIRCULAR_BUFFERS}",
                hint="copy fewer tensors at a time, or split the kernel",
            )
        for index, buffer in enumerate(places):
            buffer.index = index
        for buffer in self:
            if buffer.place is not None:
                buffer.index = buffer.place.index

    def make_swapped_alike(self) -> None:
        """Give circular buffers that are swapped one size, and one way of unpacking."""
        pairs = [(one, other) for one in self for other in one.swaps_with]
        while sum(_make_alike(*pair) for pair in pairs):
            pass

    def __iter__(self) -> Iterator[CircularBuffer]:
        return iter(self.by_name.values())


def _make_alike(a: CircularBuffer, b: CircularBuffer) -> bool:
    """Whether one of them changed."""
    ways = [(x.depth, x.unpack_to_dest_fp32, x.feeds_matrix_engine) for x in (a, b)]
    a.depth = b.depth = max(a.depth, b.depth)
    a.unpack_to_dest_fp32 = b.unpack_to_dest_fp32 = a.unpack_to_dest_fp32 or b.unpack_to_dest_fp32
    a.feeds_matrix_engine = b.feeds_matrix_engine = a.feeds_matrix_engine or b.feeds_matrix_engine
    return ways[0] != ways[1]
