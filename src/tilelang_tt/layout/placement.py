"""Which core, or DRAM bank, holds which shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .._plain import ceil_div
from ..devices import Core, CoreRange, Device, expand_ranges, range_cores
from ..errors import Code, PartitionError
from .types import Distribution, MajorOrder, Memory, NdShard


@dataclass(frozen=True)
class ShardHolders:
    """Who holds the shards of a tensor, numbered row by row.

    Attributes:
        cores: the cores that hold any, or (bank, 0) for DRAM banks, each once.
        shards: number of shards.
        contiguous: whether each holds as many consecutive shards; else shard i lies on ``cores[i % len(cores)]``.
    """

    cores: tuple[Core, ...]
    shards: int
    contiguous: bool = False

    @property
    def per_core(self) -> int:
        """The most shards that one of them holds."""
        return ceil_div(self.shards, len(self.cores))

    @property
    def step(self) -> int:
        """How far the numbers of two successive shards of one core are apart."""
        return 1 if self.contiguous else len(self.cores)

    def core_of(self, shard: int) -> Core:
        """The holder of shard number ``shard``."""
        return self.cores[shard // self.per_core if self.contiguous else shard % len(self.cores)]


def shard_holders(
    stored_grid: Sequence[int], shard: NdShard, memory: Memory, device: Device, *, subject: str
) -> ShardHolders:
    """Who holds the shards of a layout; ``stored_grid`` is their number along each dimension that is stored.

    Raises :class:`PartitionError` (``too-many-shards``, ``nd-shard-malformed``) and :class:`DeviceError`.
    """
    if memory == "DRAM":
        return _dealt(prod(stored_grid), _banks(shard, device, subject), shard.distribution, subject, "DRAM banks")
    if shard.distribution == "one_per_core":
        cores = place_shards(
            (prod(stored_grid[:-1]), stored_grid[-1]),
            device,
            subject=subject,
            order=shard.order,
            orientation=shard.orientation,
            core_ranges=shard.core_ranges,
        )
        return ShardHolders(cores, len(cores))
    by_column = shard.orientation == "col_major"
    if shard.core_ranges is None:
        cores = device.column_major_cores if by_column else device.row_major_cores
    else:
        cores = expand_ranges(device, shard.core_ranges, subject=subject, column_major=by_column)
    return _dealt(prod(stored_grid), cores, shard.distribution, subject, "cores")


def place_shards(
    grid: tuple[int, int],
    device: Device,
    *,
    subject: str,
    order: MajorOrder = "row_major",
    orientation: MajorOrder = "row_major",
    core_ranges: Sequence[CoreRange] | None = None,
) -> tuple[Core, ...]:
    """The core of every shard of a ``grid`` of rows x columns, one per core, in row-major order of the shards.

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
            hint='use larger shards, or say "distribution": "round_robin" in nd_shard to let cores hold several',
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


def _banks(shard: NdShard, device: Device, subject: str) -> tuple[Core, ...]:
    banks = range(device.dram_banks) if shard.banks is None else shard.banks
    missing = [bank for bank in banks if bank >= device.dram_banks]
    if missing:
        raise PartitionError(
            Code.BAD_VALUE,
            f"{subject}: nd_shard.banks names a DRAM bank that is not on device {device.name!r}",
            subject=subject,
            found=missing[0],
            expected=f"0 to {device.dram_banks - 1}",
        )
    return tuple((bank, 0) for bank in banks)


def _dealt(shards: int, holders: tuple[Core, ...], distribution: Distribution, subject: str, what: str) -> ShardHolders:
    if distribution == "one_per_core" and shards > len(holders):
        raise PartitionError(
            Code.TOO_MANY_SHARDS,
            f"{subject} has more shards than there are {what} to hold one each",
            subject=subject,
            found=f"{shards} shards",
            expected=f"at most {len(holders)}",
            hint="use larger shards, or leave distribution out",
        )
    if distribution == "contiguous" and shards % len(holders):
        raise PartitionError(
            Code.ND_SHARD_MALFORMED,
            f"{subject}: distribution contiguous needs as many shards on each of its {what}",
            subject=subject,
            found=f"{shards} shards on {len(holders)} {what}",
            expected="a multiple",
            hint=f"name fewer {what}, or use round_robin",
        )
    contiguous = distribution == "contiguous" and shards > len(holders)
    return ShardHolders(holders[:shards], shards, contiguous)
