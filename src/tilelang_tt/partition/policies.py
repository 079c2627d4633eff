"""How the work tiles of a global partition are shared out over cores, and how tiles are numbered: by name.

A policy shares out the numbers 0 .. Mt * Nt - 1 that an order gives to work tiles. Every core gets a first number and a
count; a policy other than contiguous also gives the length of the runs of consecutive numbers and their distance
(see :func:`.traversal.visited_number`). Its cost must grow with cores, not with tiles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .._plain import ceil_div
from ..devices import Core

TileRange = tuple[int, int]
"""What a core gets: first tile number, number of tiles."""

CONTIGUOUS: Final = "contiguous"
BLOCK_2D: Final = "block_2d"
BLOCK_CYCLIC: Final = "block_cyclic"
AUTO_POLICY: Final = "auto"

SHARDS_IN_TURN: Final = "shards_in_turn"
"""The policy of local_shard mode where cores hold several shards: shards decide, so no schedule asks for it."""

ROW_MAJOR: Final = "row_major"
COLUMN_MAJOR: Final = "column_major"
MATCH_SHARD: Final = "match_shard"
BLOCK_LINEAR: Final = "block_linear"

POLICIES: Final = {CONTIGUOUS: (0,), BLOCK_2D: (0, 2), BLOCK_CYCLIC: (0, 1), AUTO_POLICY: (0,)}
"""Every policy by its name in ``tt.user_schedule``, and how many sizes may follow in parentheses.

``block_2d(Gy,Gx)``: Gy x Gx rectangles; ``block_cyclic(k)``: k tiles at a time, 1 when k is left out.
"""

ORDERS: Final = {ROW_MAJOR: (0,), COLUMN_MAJOR: (0,), MATCH_SHARD: (0, 2), BLOCK_LINEAR: (1,)}
"""Every order by its name in ``tt.user_schedule``, and how many sizes may follow in parentheses.

``match_shard(Sm,Sn)``: shard by shard, those of a buffer where the sizes are left out; ``block_linear(k)``: by blocks
of k x k work tiles.
"""


@dataclass(frozen=True)
class Named:
    """A policy or order: its kind, and the sizes in parentheses after it."""

    kind: str
    sizes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({','.join(map(str, self.sizes))})" if self.sizes else self.kind

    @classmethod
    def parse(cls, text: str) -> Named | None:
        """``kind`` or ``kind(size, ...)`` with sizes from 1 up; None for anything else."""
        match = _SPELLING.fullmatch(text)
        if match is None:
            return None
        sizes = tuple(int(size) for size in (match[2] or "").split(",") if size.strip())
        return cls(match[1], sizes) if all(sizes) else None


_SPELLING = re.compile(r"(\w+)(?:\((\s*[0-9]+\s*(?:,\s*[0-9]+\s*)*)\))?")


def contiguous(tiles: int, cores: int) -> list[TileRange]:
    """One run per core; the first ``tiles % cores`` cores get one tile more than the others."""
    share, remainder = divmod(tiles, cores)
    ranges = []
    start = 0
    for core in range(min(cores, tiles)):
        count = share + (core < remainder)
        ranges.append((start, count))
        start += count
    return ranges


def block_cyclic(tiles: int, cores: int, chunk: int) -> list[TileRange]:
    """Chunks of ``chunk`` tiles dealt to the cores in turn: first number and count of each core that gets any."""
    dealing = min(cores, ceil_div(tiles, chunk))
    chunks, last = ceil_div(tiles, chunk), tiles % chunk or chunk
    ranges = []
    for core in range(dealing):
        own = ceil_div(chunks - core, dealing)
        holds_last = (chunks - 1) % dealing == core
        ranges.append((core * chunk, own * chunk - (chunk - last if holds_last else 0)))
    return ranges


@dataclass(frozen=True)
class Rectangles:
    """The plane of [Mt, Nt] work tiles cut into ``grid`` rectangles of ``shape``; the last ones are clipped."""

    plane: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def cut(cls, plane: tuple[int, int], grid: tuple[int, int]) -> Rectangles:
        """At most ``grid`` rectangles along M and N, as even as whole tiles allow, none of them empty."""
        return cls(plane, (ceil_div(plane[0], grid[0]), ceil_div(plane[1], grid[1])))

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rectangles along M and N."""
        return ceil_div(self.plane[0], self.shape[0]), ceil_div(self.plane[1], self.shape[1])

    def run(self, column_major: bool) -> tuple[int, int]:
        """Length and distance of the runs of consecutive numbers that make up a rectangle."""
        axis = 0 if column_major else 1
        return self.shape[axis], self.plane[axis]

    def ranges(self, column_major: bool) -> list[TileRange]:
        """First number and number of tiles of every rectangle, row by row."""
        (mt, nt), (sm, sn), (gy, gx) = self.plane, self.shape, self.grid
        return [
            (n0 * mt + m0 if column_major else m0 * nt + n0, min(sm, mt - m0) * min(sn, nt - n0))
            for m0 in range(0, gy * sm, sm)
            for n0 in range(0, gx * sn, sn)
        ]


def even_rectangles(plane: tuple[int, int], cores: Sequence[Core]) -> Rectangles:
    """The cut into at most as many rectangles as cores with the smallest largest one.

    Of several, the one with the shortest sides (fewest operand blocks per core), then one that lies on the cores as it
    lies on the plane, then the one that needs fewest cores.
    """

    mt, nt = plane
    cuts = [Rectangles.cut(plane, (gy, min(len(cores) // gy, nt))) for gy in range(1, min(len(cores), mt) + 1)]
    least = min(_sides(cut) for cut in cuts)
    ties = {cut for cut in cuts if _sides(cut) == least}
    return min(ties, key=lambda cut: (not _fits(cut.grid, cores), cut.grid[0] * cut.grid[1], cut.grid))


def _sides(cut: Rectangles) -> tuple[int, int]:
    return cut.shape[0] * cut.shape[1], cut.shape[0] + cut.shape[1]


def rectangle_cores(grid: tuple[int, int], cores: Sequence[Core]) -> list[Core]:
    """The core of every rectangle, row by row: at the same place of the core grid where that is free, else in turn."""
    gy, gx = grid
    if _fits(grid, cores):
        x0, y0 = min(x for x, _ in cores), min(y for _, y in cores)
        return [(x0 + x, y0 + y) for y in range(gy) for x in range(gx)]
    return list(cores[: gy * gx])


def _fits(grid: tuple[int, int], cores: Sequence[Core]) -> bool:
    (gy, gx), free = grid, set(cores)
    if 1 in grid:
        # A line of rectangles goes along the rows of cores: in one column they would share its links.
        return False
    x0, y0 = min(x for x, _ in cores), min(y for _, y in cores)
    return all((x0 + x, y0 + y) in free for y in range(gy) for x in range(gx))
