"""Which core holds which shard."""

from __future__ import annotations

from collections.abc import Sequence

from ..devices import Core, CoreRange, Device, expand_ranges, range_cores
from ..errors import Code, PartitionError
from .types import MajorOrder


def place_shards(
    grid: tuple[int, int],
    device: Device,
    *,
    subject: str,
    order: MajorOrder = "row_major",
    orientation: MajorOrder = "row_major",
    core_ranges: Sequence[CoreRange] | None = None,
) -> tuple[Core, ...]:
    """The core of every shard of a ``grid`` of rows x columns, in row-major order of the shards.

    Shards are numbered by ``order`` and put, in turn, on cores walked by ``orientation``. The cores are those of
    ``core_ranges``, range after range; without them, the rectangle at (0, 0) in which neighbouring shards lie on
    neighbouring cores (shard (row, column) on core (x=column, y=row); transposed when order and orientation differ), or
    all cores of the device where it does not have that rectangle.

    Raises :class:`PartitionError` (``too-many-shards``) for more shards than cores, and :class:`DeviceError` for core
    ranges off the device or overlapping.
    """
    rows, columns = grid
    by_column = orientation == "col_major"
    if core_ranges is None:
        cores = _default_cores(grid, device, transposed=order != orientation, column_major=by_column)
    else:
        cores = expand_ranges(device, core_ranges, subject=subject, column_major=by_column)
    if rows * columns > len(cores):
        raise PartitionError(
            Code.TOO_MANY_SHARDS,
            f"{subject} has more shards than there are cores to hold them",
            subject=subject,
            found=f"{rows} x {columns} = {rows * columns} shards",
            expected=f"at most {len(cores)}, the cores of "
            + (f"device {device.name!r}" if core_ranges is None else "its core_ranges"),
            hint="use larger shards",
        )
    if order == "col_major":
        return tuple(cores[column * rows + row] for row in range(rows) for column in range(columns))
    return tuple(cores[: rows * columns])


def _default_cores(grid: tuple[int, int], device: Device, *, transposed: bool, column_major: bool) -> tuple[Core, ...]:
    height, width = grid[::-1] if transposed else grid
    # The size test comes first: it bounds the walk over the rectangle by the size of the device.
    if height * width <= len(device.cores):
        rectangle = range_cores((0, 0, width - 1, height - 1), column_major=column_major)
        if all(device.has_core(core) for core in rectangle):
            return tuple(rectangle)
    return device.column_major_cores if column_major else device.row_major_cores
