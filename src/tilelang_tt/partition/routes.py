"""What every link of a NoC carries: the routes of transfers on the torus, summed up.

NoC 0 goes east until the column is right, then south; NoC 1 goes north, then west. So the route of NoC 1 from a to b is
that of NoC 0 from b to a, walked backwards, on links of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Nodes = npt.NDArray[np.int64]
"""Places on the torus, one (x, y) per row."""
Amounts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinkLoads:
    """Bytes over every link of one NoC, by the node (y, x) that the link leaves (NoC 0) or enters (NoC 1)."""

    horizontal: Amounts
    vertical: Amounts

    def __add__(self, other: LinkLoads) -> LinkLoads:
        return LinkLoads(self.horizontal + other.horizontal, self.vertical + other.vertical)

    def busiest(self) -> tuple[float, str, tuple[int, int]]:
        """Bytes over the busiest link, its direction ("horizontal" or "vertical") and its node (x, y)."""
        found = []
        for name, loads in (("horizontal", self.horizontal), ("vertical", self.vertical)):
            y, x = np.unravel_index(int(loads.argmax()), loads.shape)
            found.append((float(loads[y, x]), name, (int(x), int(y))))
        return max(found)


def link_loads(noc: int, sources: Nodes, targets: Nodes, amounts: Amounts, torus: tuple[int, int]) -> LinkLoads:
    """The loads of transfers of ``amounts`` bytes from ``sources`` to ``targets``, row by row, over NoC 0 or 1."""
    if noc == 1:
        sources, targets = targets, sources
    columns, rows = torus
    horizontal = _walked(sources[:, 0], targets[:, 0], sources[:, 1], amounts, columns, rows)
    vertical = _walked(sources[:, 1], targets[:, 1], targets[:, 0], amounts, rows, columns)
    return LinkLoads(horizontal, vertical.T)


def _walked(
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    lane: npt.NDArray[np.int64],
    amounts: Amounts,
    length: int,
    lanes: int,
) -> Amounts:
    """[lane, position] -> bytes that leave the position upwards, for walks from start to end on rings of ``length``."""
    size = lanes * length
    entered = np.bincount(lane * length + start, amounts, size)
    left = np.bincount(lane * length + end, amounts, size)
    wrapped = np.bincount(lane, np.where(end < start, amounts, 0.0), lanes)
    steps = (entered - left).reshape(lanes, length).astype(np.float64)
    return wrapped[:, None] + np.cumsum(steps, axis=1, dtype=np.float64)
