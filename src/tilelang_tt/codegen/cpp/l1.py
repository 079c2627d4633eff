"""What a program takes of a core's L1, and whether it fits."""

from __future__ import annotations

from collections.abc import Sequence

from ...devices import Device
from ...errors import CapacityError, Code
from ...formats import TILE, tile_bytes
from ...program.spec import ProgramSpec, TensorSpec
from .circular_buffers import CircularBuffer


def check_l1(buffers: Sequence[CircularBuffer], tensors: Sequence[TensorSpec], device: Device) -> None:
    """Refuse a program whose circular buffers and L1 tensors do not fit the L1 of one core.

    Raises:
        CapacityError: ``l1-capacity``, with a table of what takes how many bytes.
    """
    rows = [(f"shard of {t.name}", bytes_per_core(t, device)) for t in tensors if t.memory == "L1"]
    rows += [
        (f"{b.name}: {b.purpose}, {b.depth} x {b.block_pages} tiles", b.page_size * b.num_pages)
        for b in buffers
        if b.tensor is None
    ]
    _check("the program does not fit the L1 of a core", rows, device)


def check_l1_of_all(program: ProgramSpec, tensors: Sequence[TensorSpec]) -> None:
    """Refuse one of several programs that run one after the other while all of ``tensors`` lie in memory. As
    :func:`check_l1`."""
    rows = [(f"shard of {t.name}", bytes_per_core(t, program.device)) for t in tensors if t.memory == "L1"]
    rows += [(b.name, b.page_size * b.num_pages) for b in program.circular_buffers if b.tensor is None]
    _check(f"{program.name} and the tensors of all grids do not fit the L1 of a core", rows, program.device)


def _check(problem: str, rows: list[tuple[str, int]], device: Device) -> None:
    total = sum(size for _, size in rows)
    if total <= device.usable_l1_bytes:
        return
    table = "\n".join(f"{size:>12,} {what}" for what, size in sorted(rows, key=lambda row: -row[1]))
    raise CapacityError(
        Code.L1_CAPACITY,
        problem,
        subject="L1",
        found=f"{total:,} bytes:\n{table}",
        expected=f"at most {device.usable_l1_bytes:,} bytes on {device.name}",
        hint="smaller blocks, fewer num_stages, or smaller shards",
    )


def bytes_per_core(tensor: TensorSpec, device: Device) -> int:
    """The L1 bytes that ``tensor`` takes on the core that holds most of it."""
    page = tile_bytes(tensor.data_format)
    if tensor.shard is not None:
        return tensor.shard.pages_per_core * page
    pages = 1
    padded = [1, *tensor.shape] if len(tensor.shape) == 1 else list(tensor.shape)
    for axis, size in enumerate(padded):
        pages *= -(-size // TILE) if axis >= len(padded) - 2 else size
    return -(-pages // len(device.cores)) * page
