"""InferDefaultTTSchedule: the legacy schedule, contiguous and row-major, for functions that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..devices import Device
from ..errors import Code, ScheduleError
from ..language.kernel import LaunchGrid, launch_grid
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..partition import WorkGrid, default_legacy_schedule, parse_legacy_schedule, parse_user_schedule
from ..partition.policies import TileRange, contiguous
from .common import device_of, function_pass, with_attrs


def InferDefaultTTSchedule(device: str | Device | None = None) -> tvm.transform.Pass:
    """The pass. Writes ``tt_grid_x/y/z``, ``tt_num_cores`` and ``tt_tiles_per_core``; what is there already is kept.

    Where the user's schedule names another policy or order than the legacy contiguous, row-major one, there is no
    legacy schedule to write but the launch grid.

    Args:
        device: the device to share the work out on; default the function's ``tt.device``, else a Wormhole n150.

    Raises, when run:
        ScheduleError: ``legacy-ranges`` or ``schedule-malformed`` for a given schedule that is not one,
            ``schedule-conflict`` for ranges of one size where the launch grid is symbolic.
    """

    def rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
        plain = plain_attrs(func)
        grid = launch_grid(func)
        legacy = parse_legacy_schedule(plain)
        launched = {attrs.GRID_X: grid.gx, attrs.GRID_Y: grid.gy, attrs.GRID_Z: grid.gz}
        user = parse_user_schedule(plain.get(attrs.USER_SCHEDULE), location_of(func))
        if not user.is_legacy:
            return with_attrs(func, {key: value for key, value in launched.items() if key not in plain})
        if legacy is None or legacy.tiles_per_core is None:
            work = WorkGrid(grid.gx, grid.gy, grid.gz)
            if legacy is not None and legacy.num_cores is not None and user.num_cores is None:
                user = replace(user, num_cores=legacy.num_cores)
            legacy = default_legacy_schedule(work, device_of(plain, device), user)
        assert legacy.tiles_per_core is not None
        _check_repeatable(func, legacy.tiles_per_core, grid)
        inferred = {
            **launched,
            attrs.NUM_CORES: len(legacy.tiles_per_core),
            attrs.TILES_PER_CORE: [list(pair) for pair in legacy.tiles_per_core],
        }
        return with_attrs(func, {key: value for key, value in inferred.items() if key not in plain})

    return function_pass("InferDefaultTTSchedule", rewrite)


def _check_repeatable(func: tirx.PrimFunc, ranges: Sequence[TileRange], grid: LaunchGrid) -> None:
    """Refuse ranges that no rule makes for a grid that is another at every launch."""
    if all(isinstance(expr, tirx.IntImm) for expr in grid.exprs.values()):
        return
    tiles = grid.gx * grid.gy * grid.gz
    if list(ranges) != contiguous(tiles, len(ranges)):
        raise ScheduleError(
            Code.SCHEDULE_CONFLICT,
            f"{attrs.TILES_PER_CORE} is for one size, but the launch grid is symbolic",
            subject=attrs.TILES_PER_CORE,
            found=[list(pair) for pair in ranges],
            expected="no ranges, or the even ones that a partition of another size has too",
            hint=f"leave it out, or use policy and {attrs.NUM_CORES}",
            location=location_of(func),
        )
