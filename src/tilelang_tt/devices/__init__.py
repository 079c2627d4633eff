"""Devices: which worker cores a chip has, their L1, and the rates of its DRAM and NoC."""

from .device import Core, Device, NocGeometry
from .ranges import CoreRange, expand_ranges, range_cores
from .registry import DEVICES_ENV, device_names, load_device

__all__ = [
    "DEVICES_ENV",
    "Core",
    "CoreRange",
    "Device",
    "NocGeometry",
    "device_names",
    "expand_ranges",
    "load_device",
    "range_cores",
]
