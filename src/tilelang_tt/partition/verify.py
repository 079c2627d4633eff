"""The proof that a work partition is one: every work tile on exactly one core, and attributes that agree.

Works on intervals of tile ids and on shards, so its time grows with cores and never with tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from .. import attrs
from .._plain import INT32_MAX, UINT32_MAX, ceil_div, is_int
from ..devices import Core, Device
from ..errors import Code, PartitionError
from .multicast import verify_multicast
from .policies import (
    BLOCK_2D,
    BLOCK_CYCLIC,
    BLOCK_LINEAR,
    COLUMN_MAJOR,
    CONTIGUOUS,
    MATCH_SHARD,
    ROW_MAJOR,
    SHARDS_IN_TURN,
    Named,
    Rectangles,
    block_cyclic,
)
from .traversal import shard_at, shard_visits

if TYPE_CHECKING:
    from .work_partition import WorkPartition

_ARGS = {attrs.GLOBAL: attrs.GLOBAL_ARGS, attrs.LOCAL_SHARD: attrs.LOCAL_SHARD_ARGS}
_ROW_LENGTH = {attrs.GLOBAL: 2, attrs.LOCAL_SHARD: 4}


def clipped_shard(grid_tiles: tuple[int, int], shape: tuple[int, int], sy: int, sx: int) -> tuple[int, int]:
    """Rows and columns of work tiles of shard (sy, sx), clipped at the end of the plane; 0 where it lies past it."""
    rows, columns = (max(0, min(s, t - i * s)) for t, s, i in zip(grid_tiles, shape, (sy, sx), strict=True))
    return rows, columns


def verify_partition(partition: WorkPartition, device: Device, kt: int | None = None) -> None:
    """See :meth:`WorkPartition.verify`."""
    if partition.mode not in _ARGS:
        _fail(attrs.PARTITION_MODE, "is no mode", partition.mode, "global or local_shard")
    _check_shapes(partition)
    policy, order = _policy(partition), _order(partition)
    extra = _run(partition, policy) | _several(partition, policy)
    _check_arguments(partition, kt, extra, _block(partition, order))
    _check_rows(partition, device)
    _check_buffers(partition)
    if partition.mode == attrs.LOCAL_SHARD:
        _check_shards(partition)
    elif policy.kind == CONTIGUOUS:
        _check_tile_ranges(partition)
    else:
        _check_policy_ranges(partition, policy)
    verify_multicast(partition)


def _check_shapes(partition: WorkPartition) -> None:
    pairs = {
        attrs.GRID_TILES: partition.grid_tiles,
        attrs.SHARD_GRID: partition.shard_grid,
        attrs.LOCAL_SHAPE_TILES: partition.local_shape_tiles,
    }
    for key, pair in pairs.items():
        if len(pair) != 2 or not all(_is_uint32(value) and value > 0 for value in pair):
            _fail(key, "is wrong", list(pair), "two integers from 1 up, of 32 bits")
    (mt, nt), (gy, gx), (sm, sn) = pairs.values()
    if mt * nt > INT32_MAX:
        _fail(attrs.GRID_TILES, "has tile ids past 32 bits", mt * nt, f"at most {INT32_MAX} work tiles")
    if partition.mode == attrs.GLOBAL:
        if (gy, gx) != (1, 1):
            _fail(attrs.SHARD_GRID, "is not that of global mode", [gy, gx], "[1, 1]")
        if (sm, sn) != (mt, nt):
            _fail(attrs.LOCAL_SHAPE_TILES, "is not that of global mode", [sm, sn], f"[{mt}, {nt}], as tt.grid_tiles")
    elif gy * sm < mt or gx * sn < nt:
        _fail(
            attrs.SHARD_GRID, "does not cover tt.grid_tiles", f"{[gy, gx]} of {[sm, sn]}", f"at least {[mt, nt]} tiles"
        )


def _policy(partition: WorkPartition) -> Named:
    """The policy, refused unless it is spelled as the engine normalises it."""
    named, plane = Named.parse(partition.policy), partition.grid_tiles
    if named is not None and named == Named(CONTIGUOUS):
        return named
    if named is not None and named == Named(SHARDS_IN_TURN):
        if partition.mode != attrs.LOCAL_SHARD:
            _fail(attrs.POLICY, "is given in global mode", partition.policy, CONTIGUOUS)
        return named
    sizes = 0 if named is None else len(named.sizes)
    if named is None or (named.kind, sizes) not in ((BLOCK_2D, 2), (BLOCK_CYCLIC, 1)):
        _fail(attrs.POLICY, "is no policy", partition.policy, "contiguous, block_2d(Gy,Gx) or block_cyclic(k)")
    if partition.mode != attrs.GLOBAL:
        _fail(attrs.POLICY, "is given in local_shard mode", partition.policy, CONTIGUOUS)
    if named.kind == BLOCK_2D:
        found = (named.sizes[0], named.sizes[1])
        rectangles = Rectangles.cut(plane, found)
        if rectangles.grid != found or partition.order not in (ROW_MAJOR, COLUMN_MAJOR):
            expected = f"{Named(BLOCK_2D, rectangles.grid)}, in order row_major or column_major"
            _fail(attrs.POLICY, "has rectangles that cannot be", f"{named}, {partition.order}", expected)
    elif named.sizes[0] > plane[0] * plane[1]:
        _fail(attrs.POLICY, "deals more tiles at a time than there are", partition.policy, f"at most {plane}")
    return named


def _order(partition: WorkPartition) -> Named:
    """The order, refused unless it is spelled as the engine normalises it."""
    named, shape = Named.parse(partition.order), partition.local_shape_tiles
    known = {ROW_MAJOR: 0, COLUMN_MAJOR: 0, BLOCK_LINEAR: 1}
    if partition.mode == attrs.GLOBAL:
        known[MATCH_SHARD] = 2
    if named is None or known.get(named.kind) != len(named.sizes):
        _fail(attrs.ORDER, "is no order", partition.order, f"one of {', '.join(known)} with its sizes")
    limit = shape if named.kind == MATCH_SHARD else (max(shape),)
    if any(size > most for size, most in zip(named.sizes, limit, strict=False)):
        _fail(attrs.ORDER, "has blocks larger than the plane", partition.order, f"at most {list(shape)}")
    return named


def _run(partition: WorkPartition, policy: Named) -> dict[str, int]:
    """The runtime constants that go with a policy."""
    if policy.kind == BLOCK_2D:
        rectangles = Rectangles.cut(partition.grid_tiles, (policy.sizes[0], policy.sizes[1]))
        return dict(zip(attrs.RUN_ARGS, rectangles.run(partition.order == COLUMN_MAJOR), strict=True))
    if policy.kind == BLOCK_CYCLIC:
        chunk = policy.sizes[0]
        return dict(zip(attrs.RUN_ARGS, (chunk, chunk * len(partition.core_ranges)), strict=True))
    return {}


def _several(partition: WorkPartition, policy: Named) -> dict[str, int]:
    """The runtime constants that go with several shards per core: sound ones, whatever the function says."""
    if policy.kind != SHARDS_IN_TURN:
        return {}
    found = partition.runtime_constants
    per_core, step = (found.get(name) for name in attrs.SHARD_STEP_ARGS)
    shards = partition.shard_grid[0] * partition.shard_grid[1]
    if not is_int(per_core, minimum=2) or not is_int(step, minimum=1):
        _fail(attrs.RUNTIME_CONSTANTS, "has no shards per core", dict(found), "at least 2, and a step from 1 up")
    # Either each core's shards follow one another, or every step-th is its own and no core has more than fit.
    if per_core > shards or (step > 1 and per_core != ceil_div(shards, step)) or (step == 1 and shards % per_core):
        _fail(attrs.RUNTIME_CONSTANTS, "deals shards out unsoundly", dict(found), f"{shards} shards, each once")
    return dict(zip(attrs.SHARD_STEP_ARGS, (per_core, step), strict=True))


def _block(partition: WorkPartition, order: Named) -> dict[str, int]:
    """The runtime constants that go with an order."""
    rows, columns = partition.local_shape_tiles
    if order.kind == ROW_MAJOR:
        return {}
    if order.kind == COLUMN_MAJOR:
        block = (rows, 1)
    elif order.kind == BLOCK_LINEAR:
        block = (min(order.sizes[0], rows), min(order.sizes[0], columns))
    else:
        block = (order.sizes[0], order.sizes[1])
    return dict(zip(attrs.BLOCK_ARGS, block, strict=True))


def _check_arguments(partition: WorkPartition, kt: int | None, run: dict[str, int], block: dict[str, int]) -> None:
    names = (*_ARGS[partition.mode], *run, *block)
    if tuple(partition.runtime_arg_names) != names:
        _fail(attrs.RUNTIME_ARG_NAMES, "is not canonical", list(partition.runtime_arg_names), f"{list(names)}")
    (mt, nt), (gy, gx), (sm, sn) = partition.grid_tiles, partition.shard_grid, partition.local_shape_tiles
    found = partition.runtime_constants
    expected = {"Mt": mt, "Kt": found.get("Kt") if kt is None else kt, "Nt": nt}
    if partition.mode == attrs.LOCAL_SHARD:
        expected |= {"Sm": sm, "Sn": sn, "Gy": gy, "Gx": gx}
    expected |= run | block
    if not is_int(expected["Kt"], minimum=1) or expected["Kt"] > INT32_MAX:
        _fail(attrs.RUNTIME_CONSTANTS, "has no sound Kt", expected["Kt"], "an integer from 1 up, of 32 bits")
    if not all(map(_is_uint32, found.values())) or dict(found) != expected:
        _fail(attrs.RUNTIME_CONSTANTS, "disagrees with the other attributes", dict(found), f"{expected}")


def _check_rows(partition: WorkPartition, device: Device) -> None:
    rows, args = partition.core_ranges, partition.core_runtime_args
    if len(rows) != len(args):
        _fail(attrs.CORE_RUNTIME_ARGS, "has other rows than tt.core_ranges", f"{len(args)} rows", f"{len(rows)} rows")
    seen: set[Core] = set()
    for row, arg in zip(rows, args, strict=True):
        if len(row) != 6 or not all(map(_is_uint32, row)) or row[:2] != row[2:4]:
            _fail(attrs.CORE_RANGES, "has a malformed row", list(row), "[x, y, x, y, start, count], one core per row")
        core = (row[0], row[1])
        if not device.has_core(core):
            _fail(attrs.CORE_RANGES, f"has a core that is not on device {device.name!r}", list(row), "its cores")
        if core in seen:
            _fail(attrs.CORE_RANGES, f"uses core {core} twice", list(row), "every core once")
        seen.add(core)
        if row[5] == 0:
            _fail(attrs.CORE_RANGES, "has a core without work", list(row), "a count from 1 up")
        if len(arg) != _ROW_LENGTH[partition.mode] or not all(map(_is_uint32, arg)) or tuple(arg[:2]) != tuple(row[4:]):
            _fail(
                attrs.CORE_RUNTIME_ARGS,
                f"does not match tt.core_ranges for core {core}",
                list(arg),
                f"{list(row[4:])}" + (" and the shard's coordinates" if partition.mode == attrs.LOCAL_SHARD else ""),
            )


def _check_buffers(partition: WorkPartition) -> None:
    driving, resident = partition.driving_buffer, partition.resident_buffers
    if len(set(resident)) != len(resident):
        _fail(attrs.RESIDENT_BUFFERS, "names a buffer twice", list(resident), "every buffer once")
    if partition.mode == attrs.GLOBAL and (driving is not None or resident):
        _fail(
            attrs.DRIVING_BUFFER, "is given in global mode", f"{driving}, {list(resident)}", "no buffer used in place"
        )
    # A driving buffer whose shards no core can use in place leaves none in place.
    if resident and driving not in resident:
        _fail(attrs.DRIVING_BUFFER, "is not among tt.resident_buffers", driving, f"one of {list(resident)}")


def _check_tile_ranges(partition: WorkPartition) -> None:
    end, total = 0, partition.grid_tiles[0] * partition.grid_tiles[1]
    for row in sorted(partition.core_ranges, key=lambda row: row[4]):
        if row[4] != end:
            problem = "gives a work tile to two cores" if row[4] < end else "leaves work tiles out"
            _fail(attrs.CORE_RANGES, problem, list(row), f"a range that starts at tile {end}")
        end = row[4] + row[5]
    if end != total:
        problem = "leaves work tiles out" if end < total else "runs past the last work tile"
        _fail(attrs.CORE_RANGES, problem, f"ranges up to tile {end}", f"ranges up to tile {total}")


def _check_policy_ranges(partition: WorkPartition, policy: Named) -> None:
    tiles = partition.grid_tiles[0] * partition.grid_tiles[1]
    if policy.kind == BLOCK_2D:
        rectangles = Rectangles.cut(partition.grid_tiles, (policy.sizes[0], policy.sizes[1]))
        expected = sorted(rectangles.ranges(partition.order == COLUMN_MAJOR))
    else:
        expected = block_cyclic(tiles, max(1, len(partition.core_ranges)), policy.sizes[0])
    found = sorted((row[4], row[5]) for row in partition.core_ranges)
    if found != expected:
        wrong = next((pair for pair in found if pair not in set(expected)), f"{len(found)} ranges")
        _fail(attrs.CORE_RANGES, f"is not that of policy {policy}", wrong, f"{len(expected)} ranges, every tile once")


def _check_shards(partition: WorkPartition) -> None:
    (mt, nt), (sm, sn), (gy, gx) = partition.grid_tiles, partition.local_shape_tiles, partition.shard_grid
    seen: set[tuple[int, int]] = set()
    for start, count, sy, sx in partition.core_runtime_args:
        row = [start, count, sy, sx]
        if sy >= gy or sx >= gx:
            _fail(attrs.CORE_RUNTIME_ARGS, "has a shard outside tt.shard_grid", row, f"shards within {gy} x {gx}")
        own = _shards_from(partition, sy * gx + sx)
        twice = next((shard for shard in own if shard in seen), None)
        if twice is not None:
            _fail(attrs.CORE_RUNTIME_ARGS, f"gives shard {twice} to two cores", row, "every shard once")
        areas = [clipped_shard((mt, nt), (sm, sn), *shard) for shard in own]
        seen.update(shard for shard, (rows, columns) in zip(own, areas, strict=True) if rows * columns)
        tiles = sum(rows * columns for rows, columns in areas)
        if start != 0 or count != tiles:
            _fail(
                attrs.CORE_RUNTIME_ARGS,
                f"does not give core its whole shard {(sy, sx)}",
                row,
                f"start 0 and count {tiles}",
            )
    # Distinct, non-empty and inside the grid: the shards are all there when their number is right.
    needed = ceil_div(mt, sm) * ceil_div(nt, sn)
    if len(seen) != needed:
        _fail(attrs.CORE_RUNTIME_ARGS, "leaves shards out", f"{len(seen)} shards", f"{needed} shards")


def _shards_from(partition: WorkPartition, first: int) -> list[tuple[int, int]]:
    """The shards of the core whose first one is number ``first``."""
    gy, gx = partition.shard_grid
    per_core, step = partition.several_shards or (1, 1)
    return [shard_at(visit, first, step, gx) for visit in range(shard_visits(first, per_core, step, gy * gx))]


def _is_uint32(value: object) -> bool:
    return is_int(value, minimum=0) and value <= UINT32_MAX


def _fail(key: str, problem: str, found: object, expected: str) -> NoReturn:
    raise PartitionError(Code.PARTITION_INVALID, f"{key} {problem}", subject=key, found=found, expected=expected)
