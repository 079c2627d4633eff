"""The launch grid of a kernel as a plane of work tiles."""

from __future__ import annotations

from dataclasses import dataclass

from .._plain import INT32_MAX, is_int
from ..errors import Code, PartitionError


@dataclass(frozen=True)
class WorkGrid:
    """``T.Kernel(gx, gy, gz)``: work tile (m, n) has n = blockIdx.x and m = blockIdx.z * gy + blockIdx.y.

    Raises :class:`PartitionError`: ``bad-value`` for extents below 1, ``number-too-large`` where a work tile's id
    m * Nt + n, or the number of work tiles, does not fit an int32, the type of the kernel's indices.
    """

    gx: int
    gy: int = 1
    gz: int = 1

    def __post_init__(self) -> None:
        extents = (self.gx, self.gy, self.gz)
        if not all(is_int(extent, minimum=1) for extent in extents):
            raise PartitionError(
                Code.BAD_VALUE,
                "the launch grid has an extent that is no positive integer",
                subject="launch grid",
                found=extents,
                expected="integers from 1 up",
            )
        check_index("launch grid", "work tiles", self.tiles)

    @property
    def mt(self) -> int:
        """Rows of the plane in work tiles."""
        return self.gy * self.gz

    @property
    def nt(self) -> int:
        """Columns of the plane in work tiles."""
        return self.gx

    @property
    def tiles(self) -> int:
        """Number of work tiles."""
        return self.mt * self.nt


def check_index(subject: str, what: str, value: int) -> None:
    """Refuse a number that does not fit an index of the kernel: :class:`PartitionError` (``number-too-large``)."""
    if value > INT32_MAX:
        raise PartitionError(
            Code.NUMBER_TOO_LARGE,
            f"{subject}: the number of {what} does not fit a 32-bit index",
            subject=subject,
            found=value,
            expected=f"at most {INT32_MAX}",
        )
