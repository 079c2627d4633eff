"""The proof that a work partition is one: every work tile on exactly one core, and attributes that agree.

Works on intervals of tile ids and on shards, so its time grows with cores and never with tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from .. import attrs
from .._plain import UINT32_MAX, ceil_div, is_int
from ..devices import Core, Device
from ..errors import Code, PartitionError

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
    _check_arguments(partition, kt)
    _check_rows(partition, device)
    _check_buffers(partition)
    if partition.mode == attrs.GLOBAL:
        _check_tile_ranges(partition)
    else:
        _check_shards(partition)


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
    if mt * nt > UINT32_MAX:
        _fail(attrs.GRID_TILES, "has tile ids past 32 bits", mt * nt, f"at most {UINT32_MAX} work tiles")
    if partition.mode == attrs.GLOBAL:
        if (gy, gx) != (1, 1):
            _fail(attrs.SHARD_GRID, "is not that of global mode", [gy, gx], "[1, 1]")
        if (sm, sn) != (mt, nt):
            _fail(attrs.LOCAL_SHAPE_TILES, "is not that of global mode", [sm, sn], f"[{mt}, {nt}], as tt.grid_tiles")
    elif gy * sm < mt or gx * sn < nt:
        _fail(
            attrs.SHARD_GRID, "does not cover tt.grid_tiles", f"{[gy, gx]} of {[sm, sn]}", f"at least {[mt, nt]} tiles"
        )


def _check_arguments(partition: WorkPartition, kt: int | None) -> None:
    names = _ARGS[partition.mode]
    if tuple(partition.runtime_arg_names) != names:
        _fail(attrs.RUNTIME_ARG_NAMES, "is not canonical", list(partition.runtime_arg_names), f"{list(names)}")
    (mt, nt), (gy, gx), (sm, sn) = partition.grid_tiles, partition.shard_grid, partition.local_shape_tiles
    found = partition.runtime_constants
    expected = {"Mt": mt, "Kt": found.get("Kt") if kt is None else kt, "Nt": nt}
    if partition.mode == attrs.LOCAL_SHARD:
        expected |= {"Sm": sm, "Sn": sn, "Gy": gy, "Gx": gx}
    if not _is_uint32(expected["Kt"]) or expected["Kt"] == 0:
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
    if (driving is None) != (not resident) or (driving is not None and driving not in resident):
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


def _check_shards(partition: WorkPartition) -> None:
    (mt, nt), (sm, sn), (gy, gx) = partition.grid_tiles, partition.local_shape_tiles, partition.shard_grid
    seen: set[tuple[int, int]] = set()
    for start, count, sy, sx in partition.core_runtime_args:
        row = [start, count, sy, sx]
        if sy >= gy or sx >= gx:
            _fail(attrs.CORE_RUNTIME_ARGS, "has a shard outside tt.shard_grid", row, f"shards within {gy} x {gx}")
        if (sy, sx) in seen:
            _fail(attrs.CORE_RUNTIME_ARGS, f"gives shard {(sy, sx)} to two cores", row, "every shard once")
        seen.add((sy, sx))
        rows, columns = clipped_shard((mt, nt), (sm, sn), sy, sx)
        if start != 0 or count != rows * columns:
            _fail(
                attrs.CORE_RUNTIME_ARGS,
                f"does not give core its whole shard {(sy, sx)}",
                row,
                f"start 0 and count {rows * columns}",
            )
    # Distinct, non-empty and inside the grid: the shards are all there when their number is right.
    needed = ceil_div(mt, sm) * ceil_div(nt, sn)
    if len(seen) != needed:
        _fail(attrs.CORE_RUNTIME_ARGS, "leaves shards out", f"{len(seen)} shards", f"{needed} shards")


def _is_uint32(value: object) -> bool:
    return is_int(value, minimum=0) and value <= UINT32_MAX


def _fail(key: str, problem: str, found: object, expected: str) -> NoReturn:
    raise PartitionError(Code.PARTITION_INVALID, f"{key} {problem}", subject=key, found=found, expected=expected)
