"""What a run did: traffic and tile operations, as an executor counted them."""

from __future__ import annotations

import msgspec

from ..program.spec import ProgramSpec
from .tiles import tile_shape


class NocBytes(msgspec.Struct, frozen=True):
    """Bytes on the network on chip, by kind. A core that reads its own L1 through it counts as local."""

    dram_read: int = 0
    dram_written: int = 0
    l1_remote_read: int = 0
    l1_remote_written: int = 0
    l1_local: int = 0
    l1_multicast: int = 0
    """Sent from a core's L1 to several others', counted once however many they are."""

    @property
    def total(self) -> int:
        """All bytes that any NoC transfer moved."""
        return sum(getattr(self, field) for field in self.__struct_fields__)


class TileOps(msgspec.Struct, frozen=True):
    """Operations on 32x32 tiles."""

    products: int = 0
    """32x32x32 matrix products."""
    eltwise: int = 0
    """Element-wise operations and reductions of the matrix engine."""
    sfpu: int = 0
    """Operations of the vector engine."""
    unpacks: int = 0
    """Tiles moved from L1 to the engines."""
    packs: int = 0
    """Tiles moved from DST to L1."""


class CoreReport(msgspec.Struct, frozen=True):
    """What one core did."""

    core: tuple[int, int]
    tiles: TileOps
    noc: NocBytes
    l1_peak: int
    """Bytes of L1 in use: reserved, circular buffers and shards."""


class RunReport(msgspec.Struct, frozen=True):
    """What a run of a program did. The same for the same program and tensors, however it was run."""

    cores: tuple[CoreReport, ...]
    """In the order of the partition's cores."""
    tiles: TileOps
    """Of all cores."""
    noc: NocBytes
    """Of all cores."""
    dram_bank_read: tuple[int, ...]
    """Bytes read from each DRAM bank."""
    dram_bank_written: tuple[int, ...]
    tensor_read: dict[str, int]
    """Bytes that NoC transfers read from each tensor: 0 for one that is used where it lies."""
    tensor_written: dict[str, int]
    noc_byte_hops: tuple[int, int] | None
    """Bytes times routers passed, on NoC 0 (reader) and NoC 1 (writer); None where the geometry is not known."""
    unwritten_pages: dict[str, int]
    """Pages of each output tensor that no kernel wrote; they keep what the caller's array held."""

    def __str__(self) -> str:
        """Totals, the busiest core and what moved of each tensor; a core's own numbers are in ``cores``."""
        lines = [f"{len(self.cores)} cores: {_counted(self.tiles)}", f"NoC bytes: {_counted(self.noc)}"]
        if self.cores:
            busiest = max(self.cores, key=lambda core: (core.tiles.products, core.tiles.unpacks, core.noc.total))
            lines.append(f"busiest core {busiest.core}: {_counted(busiest.tiles)}, L1 peak {busiest.l1_peak} bytes")
        for name, read in self.tensor_read.items():
            unwritten = self.unwritten_pages.get(name, 0)
            note = f", {unwritten} pages unwritten" if unwritten else ""
            lines.append(f"{name}: {read} bytes read, {self.tensor_written[name]} written{note}")
        return "\n".join(lines)


class SequenceReport(msgspec.Struct, frozen=True):
    """What a run of a sequence of programs did."""

    grids: tuple[RunReport, ...]
    """Of each program, in the order in which they ran."""

    def __str__(self) -> str:
        """The reports of all, one below the other."""
        return "\n".join(f"grid {number}: {report}" for number, report in enumerate(self.grids))


def _counted(counts: TileOps | NocBytes) -> str:
    present = {name: getattr(counts, name) for name in counts.__struct_fields__ if getattr(counts, name)}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in present.items()) or "none"


def no_work(spec: ProgramSpec) -> RunReport:
    """The report of a launch grid without blocks."""
    banks = (0,) * spec.device.dram_banks
    nothing = {tensor.name: 0 for tensor in spec.tensors}
    hops = None if spec.device.noc is None else (0, 0)
    pages = {tensor.name: tile_shape(tensor.shape).pages for tensor in spec.tensors if tensor.direction != "in"}
    return RunReport((), TileOps(), NocBytes(), banks, banks, nothing, dict(nothing), hops, pages)
