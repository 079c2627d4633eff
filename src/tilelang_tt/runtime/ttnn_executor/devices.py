"""Open ttnn devices: what they are to the compiler, and which one a program runs on."""

from __future__ import annotations

import atexit
from typing import Any

import msgspec

from ...devices import Core, Device, device_names, load_device
from ...errors import Code, ExecutionError
from ...program.spec import ProgramSpec
from .versions import ttnn_api

_BASE_PRODUCTS = {"wormhole": "wormhole_n150", "blackhole": "blackhole_p150"}
"""Architecture -> the product whose rates a device has that is none of the known products."""


def device_of(device: Any) -> Device:
    """An open ttnn device as the compiler sees it: its real worker grid, and the rates of its product.

    A device whose grid and DRAM banks are those of a known product is that product. Another one (harvested, or with its
    dispatch cores elsewhere) has the rates of its architecture's most common product and a name that says its grid.

    Raises:
        ExecutionError: ``device-mismatch``, for several devices in one mesh or an unsupported architecture.
    """
    architecture = ttnn_api().architecture(device)
    if device.get_num_devices() != 1:
        raise ExecutionError(
            Code.DEVICE_MISMATCH,
            "a program runs on one chip",
            subject="device",
            found=f"a mesh of {device.get_num_devices()} devices",
            expected="one device",
            hint="open one with ttnn.open_device, or take a submesh of one",
        )
    grid, dram = device.compute_with_storage_grid_size(), device.dram_grid_size()
    cores = tuple((x, y) for y in range(grid.y) for x in range(grid.x))
    banks = dram.x * dram.y
    base_name = _BASE_PRODUCTS[architecture]
    # Of products that look the same, the architecture's most common one and its variants come first.
    for name in sorted(device_names(), key=lambda name: (not name.startswith(base_name), name)):
        product = load_device(name)
        if (product.arch, product.cores, product.dram_banks) == (architecture, cores, banks):
            return product
    base = load_device(base_name)
    noc = base.noc
    if noc and (banks != base.dram_banks or grid.x > len(noc.worker_columns) or grid.y > len(noc.worker_rows)):
        noc = None
    name = f"{architecture}_{grid.x}x{grid.y}"
    return msgspec.structs.replace(base, name=name, cores=cores, dram_banks=banks, noc=noc)


def check_device(spec: ProgramSpec, device: Device) -> None:
    """Refuse a device that lacks a core on which the program runs or keeps a shard.

    Raises:
        ExecutionError: ``device-mismatch``, naming both grids.
    """
    compiled = spec.device
    missing = [core for core in used_cores(spec) if not device.has_core(core)]
    if compiled.arch == device.arch and not missing:
        return
    lacks = f", which lacks core {missing[0]}" if missing and compiled.arch == device.arch else ""
    raise ExecutionError(
        Code.DEVICE_MISMATCH,
        f"{spec.name} was compiled for another device{lacks}",
        subject=spec.name,
        found=_grid(device),
        expected=_grid(compiled),
        hint="compile it for device_of(device)",
    )


def used_cores(spec: ProgramSpec) -> list[Core]:
    """The cores on which a program runs or keeps a shard, each once."""
    running = [(row[0], row[1]) for row in spec.partition.core_ranges]
    running += [] if spec.dynamic is None else spec.dynamic.cores
    holding = [core for tensor in spec.tensors if tensor.memory == "L1" and tensor.shard for core in tensor.shard.cores]
    return list(dict.fromkeys([*running, *holding]))


def _grid(device: Device) -> str:
    columns, rows = device.grid
    return f"{device.name} ({device.arch}, {columns} x {rows} grid, {len(device.cores)} cores)"


_opened: list[Any] = []


def current_device() -> Any:
    """ttnn's default device; without one device 0, which stays open until Python ends.

    Raises:
        ExecutionError: ``executor-unavailable``, when no device can be opened.
    """
    ttnn = ttnn_api().ttnn
    default = ttnn.GetDefaultDevice()
    if default is not None:
        return default
    if not _opened:
        try:
            device = ttnn.open_device(device_id=0)
        except RuntimeError as error:
            raise ExecutionError(
                Code.EXECUTOR_UNAVAILABLE,
                "ttnn cannot open a device",
                subject="device 0",
                found=str(error).splitlines()[0],
                hint="run on the emulator where there is no Tenstorrent card",
            ) from error
        _opened.append(device)
        atexit.register(close_device)
    return _opened[0]


def close_device() -> None:
    """Closes the device that :func:`current_device` opened, if it did."""
    while _opened:
        ttnn_api().ttnn.close_device(_opened.pop())
