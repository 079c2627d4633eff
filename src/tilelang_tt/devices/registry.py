"""The table of known devices: JSON files of this package, and of the user's directories.

A device file holds the fields of :class:`Device` with the cores either as a list of (x, y) in ``cores``, or in short as
rectangles in ``core_ranges`` less the single cores in ``missing_cores``; ``source`` says where its numbers come from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import Code, DeviceError, nearest
from .device import Core, Device, _as_device_error
from .ranges import CoreRange, range_cores

DEVICES_ENV = "TILELANG_TT_DEVICES"
"""Environment variable: directories of device files, separated as in PATH; they come before the package's own."""

_BUILTIN = Path(__file__).parent / "data"


def load_device(device: str | os.PathLike[str] | Mapping[str, Any] | Device) -> Device:
    """The device meant by a name of :func:`device_names`, a path to a ``.json`` file, a dictionary or a ``Device``.

    Raises :class:`DeviceError`: ``unknown-device`` (with the nearest known name and the list of all), or
    ``device-malformed`` for a file or dictionary that does not describe a device.
    """
    if isinstance(device, Device):
        return device
    if isinstance(device, Mapping):
        return Device.from_dict(device)
    if isinstance(device, os.PathLike) or (isinstance(device, str) and device.endswith(".json")):
        return _read(Path(device))
    if not isinstance(device, str):
        raise DeviceError(
            Code.UNKNOWN_DEVICE,
            "a device is given by name, path, dictionary or Device",
            found=type(device).__name__,
            expected="str, path, dict or tilelang_tt.devices.Device",
        )
    files = device_files()
    if device not in files:
        raise DeviceError(
            Code.UNKNOWN_DEVICE,
            f"there is no device named {device!r}",
            subject=device,
            found=device,
            expected=f"one of {', '.join(sorted(files))}",
            hint=nearest(device, files) or f"give a path to a .json file, or put one in a directory of {DEVICES_ENV}",
        )
    return _read(files[device])


def device_names() -> tuple[str, ...]:
    """The names that :func:`load_device` knows, sorted: the user's devices and the package's."""
    return tuple(sorted(device_files()))


def device_files() -> dict[str, Path]:
    """The file of every name that :func:`load_device` knows."""
    directories = [Path(part) for part in os.environ.get(DEVICES_ENV, "").split(os.pathsep) if part]
    found: dict[str, Path] = {}
    for directory in (*directories, _BUILTIN):
        if not directory.is_dir():
            raise DeviceError(
                Code.UNKNOWN_DEVICE,
                f"{DEVICES_ENV} names a directory that does not exist",
                subject=DEVICES_ENV,
                found=directory,
                expected="existing directories",
            )
        for path in sorted(directory.glob("*.json")):
            found.setdefault(path.stem, path)
    return found


def _read(path: Path) -> Device:
    try:
        values = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise DeviceError(Code.UNKNOWN_DEVICE, f"there is no device file {path}", subject=str(path)) from error
    except (OSError, msgspec.DecodeError) as error:
        raise DeviceError(
            Code.DEVICE_MALFORMED, f"device file {path} cannot be read", subject=str(path), found=error, expected="JSON"
        ) from error
    if not isinstance(values, dict):
        raise DeviceError(
            Code.DEVICE_MALFORMED,
            f"device file {path} does not describe a device",
            subject=str(path),
            found=type(values).__name__,
            expected="a JSON object",
        )
    try:
        cores = msgspec.convert(values, _Cores).expand(path)
        # What _Cores reads is replaced by the plain list; everything else is Device's own to check.
        rest = {key: value for key, value in values.items() if key not in ("core_ranges", "missing_cores", "source")}
        return msgspec.convert({**rest, "cores": cores}, Device)
    except msgspec.ValidationError as error:
        raise _as_device_error(error, f"device file {path} is malformed") from error


class _Cores(msgspec.Struct):
    """The part of a device file that says which cores there are."""

    source: str = ""
    cores: tuple[Core, ...] | None = None
    core_ranges: tuple[CoreRange, ...] | None = None
    missing_cores: tuple[Core, ...] = ()

    def expand(self, path: Path) -> list[Core]:
        if (self.cores is None) == (self.core_ranges is None):
            raise DeviceError(
                Code.DEVICE_MALFORMED,
                f"device file {path} must say its cores in one way",
                subject="cores",
                found="both cores and core_ranges" if self.cores is not None else "neither cores nor core_ranges",
                expected="either cores or core_ranges",
            )
        backwards = [area for area in self.core_ranges or () if area[0] > area[2] or area[1] > area[3]]
        if backwards:
            raise DeviceError(
                Code.DEVICE_MALFORMED,
                f"device file {path} has an empty rectangle of cores",
                subject="core_ranges",
                found=list(backwards[0]),
                expected="[x0, y0, x1, y1] with x0 <= x1 and y0 <= y1",
            )
        cores = list(self.cores or ()) + [core for area in self.core_ranges or () for core in range_cores(area)]
        absent = sorted(set(self.missing_cores) - set(cores))
        if absent:
            raise DeviceError(
                Code.DEVICE_MALFORMED,
                f"device file {path} takes away a core that it does not have",
                subject="missing_cores",
                found=absent[0],
                expected="cores of cores or core_ranges",
            )
        missing = set(self.missing_cores)
        return [core for core in cores if core not in missing]
