"""What a device is: a set of worker cores, and the rates that a cost model needs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import msgspec

from ..errors import Code, DeviceError

Core = tuple[int, int]
"""Logical worker coordinates (x, y); x grows along a row of the chip."""


L1_RESERVED_BYTES = {"wormhole": 105_824, "blackhole": 111_744}
"""Where a core's circular buffers begin, by architecture (asked of ttnn 0.81.1 on simulated chips)."""


class NocGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things lie on the physical NoC torus, as a route model needs it. Coordinates are (x, y).

    Which rows or columns are harvested differs from chip to chip, so a device's grid is taken to be the first of the
    columns and rows that may hold workers: right in its distances on average, not for one given chip.
    """

    torus: tuple[int, int]
    """Columns and rows of the torus."""
    dram_banks: tuple[tuple[int, int], ...]
    """The NoC endpoint of every DRAM bank."""
    worker_columns: tuple[int, ...]
    """Physical column of logical x."""
    worker_rows: tuple[int, ...]
    """Physical row of logical y."""


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One chip: its usable worker cores and what they have.

    ``cores`` may be any set: harvested rows and dispatch columns are simply not in it. It is kept sorted row by row.
    Rates are in bytes per clock cycle. Raises :class:`DeviceError` (``device-malformed``) for values that no chip has.
    """

    name: str
    arch: Literal["wormhole", "blackhole"]
    cores: tuple[Core, ...]
    l1_bytes: int
    """L1 of one core, what firmware and kernel code take of it included."""
    dram_banks: int
    clock_ghz: float
    dram_bytes_per_cycle: float
    """From one DRAM bank to one reader."""
    noc_link_bytes_per_cycle: float
    core_port_bytes_per_cycle: float
    noc: NocGeometry | None = None
    """None where the physical geometry is not known."""

    def __post_init__(self) -> None:
        self._check_cores()
        rates = ("clock_ghz", "dram_bytes_per_cycle", "noc_link_bytes_per_cycle", "core_port_bytes_per_cycle")
        for field in ("l1_bytes", "dram_banks", *rates):
            if not getattr(self, field) > 0:
                raise self._malformed(field, getattr(self, field), "a number above 0")
        if self.noc is not None:
            self._check_noc(self.noc)
        msgspec.structs.force_setattr(self, "cores", tuple(sorted(self.cores, key=_row_major)))

    def _check_cores(self) -> None:
        if not self.cores:
            raise self._malformed("cores", "none", "at least one core")
        seen: set[Core] = set()
        for core in self.cores:
            if min(core) < 0:
                raise self._malformed("cores", core, "coordinates from 0 up")
            if core in seen:
                raise self._malformed("cores", f"{core} twice", "every core once")
            seen.add(core)

    def _check_noc(self, noc: NocGeometry) -> None:
        columns, rows = self.grid
        if len(noc.dram_banks) != self.dram_banks:
            raise self._malformed("noc.dram_banks", len(noc.dram_banks), f"{self.dram_banks} coordinates")
        for field, have, need in (
            ("noc.worker_columns", noc.worker_columns, columns),
            ("noc.worker_rows", noc.worker_rows, rows),
        ):
            if len(have) < need:
                raise self._malformed(field, f"{len(have)} entries", f"at least {need}, one per logical coordinate")
        xs = (*noc.worker_columns, *(x for x, _ in noc.dram_banks))
        ys = (*noc.worker_rows, *(y for _, y in noc.dram_banks))
        for axis, values, size in (("x", xs, noc.torus[0]), ("y", ys, noc.torus[1])):
            outside = [value for value in values if not 0 <= value < size]
            if outside:
                raise self._malformed("noc", f"{axis} = {outside[0]}", f"{axis} from 0 to {size - 1}, inside the torus")

    def _malformed(self, field: str, found: object, expected: str) -> DeviceError:
        return DeviceError(
            Code.DEVICE_MALFORMED,
            f"device {self.name!r} has a wrong {field}",
            subject=field,
            found=found,
            expected=expected,
        )

    @classmethod
    def from_ttnn(cls, device: Any) -> Device:
        """What an open ttnn device is: its product, with the worker cores that it really has (harvested ones are not).

        Raises as :func:`tilelang_tt.runtime.ttnn_executor.device_of`.
        """
        # Imported here: only this asks ttnn.
        from ..runtime.ttnn_executor import device_of

        return device_of(device)

    @property
    def usable_l1_bytes(self) -> int:
        """L1 of a core behind what firmware and kernel code take: for circular buffers and tensors."""
        return self.l1_bytes - L1_RESERVED_BYTES[self.arch]

    @cached_property
    def _core_set(self) -> frozenset[Core]:
        return frozenset(self.cores)

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of the rectangle from (0, 0) that holds all cores; not every place in it need be a core."""
        return 1 + max(x for x, _ in self.cores), 1 + max(y for _, y in self.cores)

    @property
    def row_major_cores(self) -> tuple[Core, ...]:
        """All cores row by row, each row from left to right."""
        return self.cores

    @cached_property
    def column_major_cores(self) -> tuple[Core, ...]:
        """All cores column by column, each column from top to bottom."""
        return tuple(sorted(self.cores))

    def has_core(self, core: Core) -> bool:
        """Whether ``core`` is a usable worker of this device."""
        return core in self._core_set

    def __contains__(self, core: object) -> bool:
        return core in self._core_set

    def without(self, *, rows: Iterable[int] = (), columns: Iterable[int] = (), cores: Iterable[Core] = ()) -> Device:
        """This device less some logical rows, columns and single cores: a harvested variant of it.

        The other cores keep their coordinates. Raises :class:`DeviceError` for a core, row or column that the device
        does not have (``core-off-device``), and when no core is left (``device-malformed``).
        """
        gone_rows, gone_columns, gone_cores = set(rows), set(columns), set(cores)
        for what, gone, have in (
            ("row", gone_rows, {y for _, y in self.cores}),
            ("column", gone_columns, {x for x, _ in self.cores}),
            ("core", gone_cores, self._core_set),
        ):
            absent = sorted(gone - have)
            if absent:
                raise DeviceError(
                    Code.CORE_OFF_DEVICE,
                    f"device {self.name!r} has no {what} {absent[0]} to take away",
                    subject=self.name,
                    found=absent[0],
                    expected=f"a {what} of the device",
                )
        kept = (core for core in self.cores if core[0] not in gone_columns and core[1] not in gone_rows)
        return msgspec.structs.replace(self, cores=tuple(core for core in kept if core not in gone_cores))

    def to_dict(self) -> dict[str, Any]:
        """This device as plain values (dicts, lists, strings, numbers), as :meth:`from_dict` reads them."""
        return msgspec.json.decode(msgspec.json.encode(self))

    @classmethod
    def from_dict(cls, values: Any) -> Device:
        """The device that :meth:`to_dict` wrote. Raises :class:`DeviceError` (``device-malformed``)."""
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise _as_device_error(error, "a device description is malformed") from error


def _row_major(core: Core) -> tuple[int, int]:
    return core[1], core[0]


def _as_device_error(error: msgspec.ValidationError, message: str) -> DeviceError:
    # msgspec wraps what __post_init__ raises; the precise error is worth more than the wrapper.
    if isinstance(error.__cause__, DeviceError):
        return error.__cause__
    return DeviceError(Code.DEVICE_MALFORMED, message, found=error, expected="the fields of tilelang_tt.devices.Device")
