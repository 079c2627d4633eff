"""The legacy schedule: contiguous row-major ``[start, count]`` per core, and the launch grid it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .. import attrs
from .._plain import int_tuple, is_int
from ..devices import Device
from ..errors import Code, ScheduleError
from .grid import WorkGrid
from .policies import TileRange, contiguous
from .schedule import UserSchedule, check_core_count


@dataclass(frozen=True)
class LegacySchedule:
    """The legacy attributes as they are; None for those that are absent.

    Attributes:
        tiles_per_core: (start, count) in row-major work tile ids, for the cores in row-major order; a core whose count
            is 0 gets no work.
        num_cores: number of cores, the length of tiles_per_core where both are given.
        grid: (gx, gy, gz), the launch grid.
    """

    tiles_per_core: tuple[TileRange, ...] | None = None
    num_cores: int | None = None
    grid: tuple[int | None, int | None, int | None] = (None, None, None)

    def check(self, grid: WorkGrid) -> None:
        """Refuse a schedule that is not for ``grid`` or does not give each of its work tiles to exactly one core.

        Raises :class:`ScheduleError`: ``grid-tiles-mismatch``, or ``legacy-ranges`` naming the ranges at fault.
        """
        for key, given, launched in zip(_GRID_KEYS, self.grid, (grid.gx, grid.gy, grid.gz), strict=True):
            if given is not None and given != launched:
                raise ScheduleError(
                    Code.GRID_TILES_MISMATCH,
                    f"{key} is not that of the launch grid",
                    subject=key,
                    found=given,
                    expected=launched,
                )
        if self.tiles_per_core is not None:
            _check_ranges(self.tiles_per_core, grid.tiles)


_GRID_KEYS = (attrs.GRID_X, attrs.GRID_Y, attrs.GRID_Z)


def default_legacy_schedule(grid: WorkGrid, device: Device, schedule: UserSchedule) -> LegacySchedule:
    """The legacy schedule of a function that has none: contiguous over the cores that the user's schedule allows.

    Raises as :meth:`UserSchedule.available_cores`, and ``too-many-cores`` for a ``num_cores`` above their number.
    """
    cores = len(schedule.available_cores(device))
    if schedule.num_cores is not None:
        check_core_count(schedule.num_cores, cores, "num_cores", f"device {device.name!r} that the schedule allows")
        cores = schedule.num_cores
    ranges = tuple(contiguous(grid.tiles, cores))
    return LegacySchedule(ranges, len(ranges), (grid.gx, grid.gy, grid.gz))


def parse_legacy_schedule(attributes: Mapping[str, Any]) -> LegacySchedule | None:
    """The legacy schedule in a function's attributes (plain values), or None where there is neither ranges nor cores.

    Raises :class:`ScheduleError`: ``schedule-malformed`` for values of a wrong type, ``legacy-ranges`` where
    ``tt_num_cores`` is not the number of ranges.
    """
    if attrs.TILES_PER_CORE not in attributes and attrs.NUM_CORES not in attributes:
        return None
    legacy = LegacySchedule(
        tiles_per_core=_ranges(attributes.get(attrs.TILES_PER_CORE)),
        num_cores=_positive(attributes, attrs.NUM_CORES),
        grid=(
            _positive(attributes, attrs.GRID_X),
            _positive(attributes, attrs.GRID_Y),
            _positive(attributes, attrs.GRID_Z),
        ),
    )
    if legacy.tiles_per_core is not None and legacy.num_cores not in (None, len(legacy.tiles_per_core)):
        _fail_ranges(
            f"{attrs.NUM_CORES} is not the number of ranges",
            f"{attrs.NUM_CORES} {legacy.num_cores}, {len(legacy.tiles_per_core)} ranges",
            "one range per core",
        )
    return legacy


def _positive(attributes: Mapping[str, Any], key: str) -> int | None:
    if key not in attributes:
        return None
    if not is_int(attributes[key], minimum=1):
        _fail_type(key, attributes[key], "an integer from 1 up")
    return attributes[key]


def _ranges(value: Any) -> tuple[TileRange, ...] | None:
    if value is None:
        return None
    expected = "[start, count] per core, integers from 0 up"
    if not isinstance(value, (list, tuple)) or not value:
        _fail_type(attrs.TILES_PER_CORE, value, expected)
    ranges = []
    for core, item in enumerate(value):
        pair = int_tuple(item, length=2, minimum=0)
        if pair is None:
            _fail_type(attrs.TILES_PER_CORE, f"{item} for core number {core}", expected)
        ranges.append((pair[0], pair[1]))
    return tuple(ranges)


def _check_ranges(ranges: tuple[TileRange, ...], tiles: int) -> None:
    once = "every work tile in one range"
    used = sorted((start, count, core) for core, (start, count) in enumerate(ranges) if count)
    end, before = 0, "the first tile"
    for start, count, core in used:
        name = f"[{start}, {count}] of core number {core}"
        if start < end:
            _fail_ranges("two ranges overlap", f"{name} and {before}", once)
        if start > end:
            _fail_ranges(
                "work tiles are left out", f"{_tiles(end, start)}, before {name}", "every work tile in one range"
            )
        end, before = start + count, name
        if end > tiles:
            _fail_ranges("a range runs past the end", name, f"ranges that end at {tiles}, the number of work tiles")
    if end < tiles:
        _fail_ranges("work tiles are left out", f"{_tiles(end, tiles)}, after {before}", once)


def _tiles(start: int, end: int) -> str:
    return f"tile {start}" if end == start + 1 else f"tiles {start} to {end - 1}"


def _fail_ranges(message: str, found: str, expected: str) -> NoReturn:
    raise ScheduleError(
        Code.LEGACY_RANGES,
        f"{attrs.TILES_PER_CORE}: {message}",
        subject=attrs.TILES_PER_CORE,
        found=found,
        expected=expected,
    )


def _fail_type(key: str, found: object, expected: str) -> NoReturn:
    raise ScheduleError(Code.SCHEDULE_MALFORMED, f"{key} is wrong", subject=key, found=found, expected=expected)
