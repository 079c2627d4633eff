"""Pictures of partitions: cores coloured by their work tiles or by the bytes that they read, and who owns the plane.

Needs matplotlib (the extra ``plot``). Pictures are reproducible: the same partition gives the same file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .devices import Core, Device
from .errors import Code, ExecutionError

if TYPE_CHECKING:
    from .partition import Candidate, WorkPartition

MOST_TILES = 1 << 16
"""Work tiles of the largest plane that is drawn tile by tile."""


def core_map(plans: Sequence[tuple[str, Candidate]], device: Device, by: str | Literal["tiles", "bytes"]) -> Any:
    """A figure of the device's cores, one panel per (title, plan), coloured by work tiles or by bytes read.

    All panels share one scale. Raises :class:`ExecutionError` (``toolchain``) where matplotlib is missing.
    """
    found = [(title, _values(plan, by)) for title, plan in plans]
    most = max(max(values.values()) for _, values in found)
    unit, factor = ("work tiles", 1.0) if by == "tiles" else ("MB read", 1e-6)
    figure, axes = _panels(len(found))
    for axis, (title, values) in zip(axes, found, strict=True):
        columns, rows = device.grid
        shown = np.full((rows, columns), np.nan)
        for (x, y), value in values.items():
            shown[y, x] = value * factor
            axis.text(x, y, _short(value * factor), ha="center", va="center", fontsize=6)
        for x, y in set(device.cores) - set(values):
            axis.text(x, y, "·", ha="center", va="center", color="grey")
        image = axis.imshow(shown, vmin=0, vmax=most * factor, cmap="YlOrRd", aspect="equal")
        _label(axis, title, "core x", "core y")
        figure.colorbar(image, ax=axis, label=unit, fraction=0.046)
    return figure


def owner_map(partitions: Sequence[tuple[str, WorkPartition]]) -> Any:
    """A figure of the plane of work tiles, one panel per (title, partition), each tile in its core's colour.

    Raises :class:`ExecutionError`: ``toolchain`` where matplotlib is missing, ``bad-value`` for too large a plane.
    """
    figure, axes = _panels(len(partitions))
    for axis, (title, made) in zip(axes, partitions, strict=True):
        mt, nt = made.grid_tiles
        if mt * nt > MOST_TILES:
            raise ExecutionError(
                Code.BAD_VALUE,
                "the plane has too many work tiles to draw one by one",
                subject="grid_tiles",
                found=[mt, nt],
                expected=f"at most {MOST_TILES} tiles",
            )
        shown = np.zeros((mt, nt))
        for number, core in enumerate(made.cores):
            for m, n in made.tiles(core):
                shown[m, n] = number
        axis.imshow(shown, cmap="tab20", aspect="equal", interpolation="nearest")
        _label(axis, title, "n", "m")
    return figure


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure; its kind goes by the file's ending."""
    matplotlib = _matplotlib()
    is_svg = str(path).endswith(".svg")
    with matplotlib.rc_context({"svg.hashsalt": "tilelang-tt", "svg.fonttype": "none"}):
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if is_svg else None)


def _values(plan: Candidate, by: str) -> Mapping[Core, float]:
    if by == "bytes":
        return plan.cost.bytes_read
    assert plan.partition is not None
    return {(row[0], row[1]): float(row[5]) for row in plan.partition.core_ranges}


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _label(axis: Any, title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize=8)
    axis.set_xlabel(x, fontsize=7)
    axis.set_ylabel(y, fontsize=7)
    axis.tick_params(labelsize=6)


def _panels(count: int) -> tuple[Any, Sequence[Any]]:
    _matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * count, 3.2), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ExecutionError(
            Code.TOOLCHAIN,
            "pictures need matplotlib",
            subject="matplotlib",
            hint="pip install 'tilelang-tt[plot]'",
        ) from error
    return matplotlib
