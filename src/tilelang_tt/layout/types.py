"""Where a tensor lives: the typed form of one entry of ``tt.user_layout``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..devices import CoreRange
from ..formats import TILE as TILE

Memory = Literal["DRAM", "L1"]
Placement = Literal["interleaved", "sharded"]
MajorOrder = Literal["row_major", "col_major"]
Distribution = Literal["one_per_core", "round_robin", "contiguous"]


@dataclass(frozen=True)
class NdShard:
    """How a sharded tensor is cut and which core holds which shard. One entry per tensor dimension in the first three.

    Attributes:
        axes: what each dimension is to the kernel: "M" (block row), "N" (block column), "K" (reduction), "B" (batch).
        grid: number of shards along each dimension.
        shard_shape_elems: size of one shard in elements; the last shard of a dimension may reach past its end.
        order: whether shards are numbered row by row or column by column.
        orientation: whether cores are walked row by row or column by column as shards are put on them.
        core_ranges: the cores to walk, as rectangles x0, y0, x1, y1 in their order; None for the default placement.
        distribution: whether every core (or DRAM bank) holds one shard, the shards are dealt to them in turn, or every
            one gets as many consecutive shards.
        banks: the DRAM banks to walk, in their order; None for all. Only for shards in DRAM, which go round the banks.
    """

    axes: tuple[str, ...]
    grid: tuple[int, ...]
    shard_shape_elems: tuple[int, ...]
    order: MajorOrder = "row_major"
    orientation: MajorOrder = "row_major"
    core_ranges: tuple[CoreRange, ...] | None = None
    distribution: Distribution = "one_per_core"
    banks: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The raw dictionary form, of plain lists and strings."""
        raw: dict[str, Any] = {
            "axes": list(self.axes),
            "grid": list(self.grid),
            "shard_shape_elems": list(self.shard_shape_elems),
            "order": self.order,
            "orientation": self.orientation,
        }
        if self.core_ranges is not None:
            raw["core_ranges"] = [list(area) for area in self.core_ranges]
        if self.distribution != "one_per_core":
            raw["distribution"] = self.distribution
        if self.banks is not None:
            raw["banks"] = list(self.banks)
        return raw


@dataclass(frozen=True)
class BufferLayout:
    """Where one tensor lives and how it is laid out there. ``tile_shape`` is in elements; ``dtype`` is the tensor's."""

    dtype: str
    memory: Memory = "DRAM"
    layout: Placement = "interleaved"
    tile_shape: tuple[int, int] = (TILE, TILE)
    nd_shard: NdShard | None = None

    @property
    def l1_sharded(self) -> bool:
        """Whether every core holds its own part of the tensor in L1."""
        return self.memory == "L1" and self.layout == "sharded"

    def to_dict(self) -> dict[str, Any]:
        """The raw dictionary form, of plain lists and strings, with nothing left out."""
        raw: dict[str, Any] = {
            "memory": self.memory,
            "layout": self.layout,
            "tile_shape": list(self.tile_shape),
            "dtype": self.dtype,
        }
        if self.nd_shard is not None:
            raw["nd_shard"] = self.nd_shard.to_dict()
        return raw
