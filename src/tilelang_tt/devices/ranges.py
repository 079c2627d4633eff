"""Sets of cores written as rectangles ``[x0, y0, x1, y1]``, both corners included."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Code, DeviceError
from .device import Core, Device

CoreRange = tuple[int, int, int, int]
"""A rectangle of cores x0, y0, x1, y1, both corners included."""


def range_cores(core_range: CoreRange, *, column_major: bool = False) -> list[Core]:
    """The cores of one rectangle, row by row, or column by column."""
    x0, y0, x1, y1 = core_range
    if column_major:
        return [(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]
    return [(x, y) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)]


def expand_ranges(
    device: Device, ranges: Sequence[CoreRange], *, subject: str, column_major: bool = False
) -> tuple[Core, ...]:
    """The cores of all ``ranges``, range after range as given, each walked row by row or column by column.

    Raises :class:`DeviceError`, naming ``subject``: ``core-off-device`` for a core that ``device`` does not have,
    ``core-ranges-overlap`` for a core in two ranges.
    """
    owner: dict[Core, CoreRange] = {}
    for core_range in ranges:
        _check_on_device(device, core_range, subject)
        for core in range_cores(core_range, column_major=column_major):
            if core in owner:
                raise DeviceError(
                    Code.CORE_RANGES_OVERLAP,
                    f"{subject}: two core ranges hold core {core}",
                    subject=subject,
                    found=f"{list(owner[core])} and {list(core_range)}",
                    expected="ranges that share no core",
                )
            owner[core] = core_range
    return tuple(owner)


def _check_on_device(device: Device, core_range: CoreRange, subject: str) -> None:
    columns, rows = device.grid
    # The corner test comes first: it bounds the walk over the range by the size of the device.
    if core_range[2] >= columns or core_range[3] >= rows:
        missing = (core_range[2], core_range[3])
    else:
        missing = next((core for core in range_cores(core_range) if not device.has_core(core)), None)
    if missing is not None:
        raise DeviceError(
            Code.CORE_OFF_DEVICE,
            f"{subject}: core {missing} of range {list(core_range)} is not on device {device.name!r}",
            subject=subject,
            found=list(core_range),
            expected=f"cores of its {columns} x {rows} grid ({len(device.cores)} cores)",
        )
