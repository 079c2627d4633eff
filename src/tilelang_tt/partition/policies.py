"""How the work tiles of a global partition are shared out over cores: one function per policy.

A policy gets the number of work tiles and of cores, and returns, per core that gets work, its ``(start, count)``: a
run of tile ids in the schedule's order. Its cost must grow with cores, not with tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

TileRange = tuple[int, int]
"""A run of work tiles: first tile id, number of tiles."""


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


POLICIES: Final[Mapping[str, Callable[[int, int], list[TileRange]]]] = MappingProxyType({"contiguous": contiguous})
"""Every policy by its name in ``tt.user_schedule``."""

ORDERS: Final = ("row_major",)
"""Every order in which work tiles are numbered, by its name in ``tt.user_schedule``."""
