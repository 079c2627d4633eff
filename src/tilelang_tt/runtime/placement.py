"""Where a program's tensors and circular buffers lie: addresses in DRAM banks and in every core's L1.

L1 of a core, from address 0 up: what the firmware and the kernels' code take, then the circular buffers in order, each
at the same address on every core, then free space, and from the top down the parts of the tensors that live in L1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..devices import Core, Device
from ..errors import CapacityError, Code
from ..formats import tile_bytes
from ..program.spec import MULTICAST_ARGS, ProgramSpec, TensorSpec
from .tiles import tile_shape

DRAM_RESERVED_BYTES = 1 << 20
"""DRAM of every bank below the first tensor."""


def dram_alignment(arch: str) -> int:
    """Bytes to which DRAM addresses are aligned, and with them the L1 addresses that DRAM is read into."""
    return 64 if arch == "blackhole" else 32


@dataclass(frozen=True)
class Placement:
    """Addresses in bytes. ``tensors`` and ``circular_buffers`` are in the program's order."""

    tensors: tuple[int, ...]
    circular_buffers: tuple[int, ...]
    l1_used: tuple[tuple[str, int], ...]
    """What takes how much of a core's L1: (name, bytes)."""

    @property
    def l1_bytes(self) -> int:
        """L1 that a core needs in all."""
        return sum(size for _, size in self.l1_used)


def place(spec: ProgramSpec) -> Placement:
    """Gives every tensor and circular buffer its address.

    Raises :class:`CapacityError` (``l1-capacity``) with a table of what takes how much where a core's L1 is too small.
    """
    align = dram_alignment(spec.device.arch)
    top = spec.device.l1_bytes
    dram = DRAM_RESERVED_BYTES
    reserved = spec.device.l1_bytes - spec.device.usable_l1_bytes
    used = [("reserved for firmware and kernels", reserved)]
    tensors: list[int] = []
    for tensor in spec.tensors:
        size = _align(tensor_bytes_per_unit(tensor, spec.device), align)
        if tensor.memory == "L1":
            top = (top - size) // align * align
            tensors.append(top)
            used.append((f"{'part' if tensor.shard is None else 'shard'} of {tensor.name}", size))
        else:
            tensors.append(dram)
            dram += size
    address = _align(reserved, align)
    by_name = {tensor.name: tensors[i] for i, tensor in enumerate(spec.tensors)}
    buffers: list[int] = []
    for cb in spec.circular_buffers:
        if cb.tensor is not None:
            buffers.append(by_name[cb.tensor])
            continue
        buffers.append(address)
        size = _align(cb.page_size * cb.num_pages, align)
        used.append((f"circular buffer {cb.index} {cb.name}", size))
        address += size
    if address > top:
        table = "\n".join(f"    {size:>10,}  {name}" for name, size in used)
        raise CapacityError(
            Code.L1_CAPACITY,
            f"the program needs {sum(size for _, size in used):,} bytes of L1 per core\n{table}",
            subject=spec.name,
            found=f"{sum(size for _, size in used):,} bytes",
            expected=f"at most {spec.device.l1_bytes:,} bytes on {spec.device.name}",
            hint="use smaller blocks, fewer pipeline stages or smaller shards",
        )
    return Placement(tuple(tensors), tuple(buffers), tuple(used))


def tensor_units(tensor: TensorSpec, device: Device) -> list[tuple[int, int]]:
    """Where a tensor's parts lie: cores for L1, (bank, 0) for DRAM. Shards, or pages, go to them in turn."""
    if tensor.shard is not None:
        return list(tensor.shard.cores)
    return list(device.cores) if tensor.memory == "L1" else [(bank, 0) for bank in range(device.dram_banks)]


def tensor_bytes_per_unit(tensor: TensorSpec, device: Device) -> int:
    """Bytes that a tensor takes in every DRAM bank or core that holds a part of it."""
    page = tile_bytes(tensor.data_format)
    if tensor.shard is not None:
        return tensor.shard.pages_per_core * page
    return -(-tile_shape(tensor.shape).pages // len(tensor_units(tensor, device))) * page


def core_args(spec: ProgramSpec, noc_place: Callable[[Core], Core]) -> list[tuple[int, ...]]:
    """Every core's runtime arguments: in canonical order its own row merged with the constants, by name; behind them
    those of multicasts, for which ``noc_place`` gives a core's NoC coordinates.
    """
    names, constants = spec.partition.runtime_arg_names, spec.partition.runtime_constants
    own = [name for name in names if name not in constants]
    rows: list[tuple[int, ...]] = []
    for number, row in enumerate(spec.partition.core_runtime_args):
        values = {**constants, **dict(zip(own, row, strict=True))}
        canonical = tuple(values[name] for name in names)
        rows.append(canonical + _multicast_args(spec, number, noc_place))
    return rows


def _multicast_args(spec: ProgramSpec, number: int, noc_place: Callable[[Core], Core]) -> tuple[int, ...]:
    """What MULTICAST_ARGS are for core ``number`` of the partition, for all multicasts."""
    core = spec.partition.core_ranges[number][:2]
    args: list[int] = []
    for multicast in spec.partition.multicast.values():
        x0, y0, x1, y1, x, y, steps = multicast.groups[number]
        others = (x1 - x0 + 1) * (y1 - y0 + 1) - 1
        places = [noc_place(place) for place in ((x, y), (x0, y0), (x1, y1))]
        args += [others if core == (x, y) else 0, *(part for place in places for part in place), steps]
    return tuple(args)


def device_place(device: Device, core: Core) -> Core:
    """The NoC coordinates of a core in the device's own geometry, its logical ones where that is not known."""
    return core if device.noc is None else (device.noc.worker_columns[core[0]], device.noc.worker_rows[core[1]])


def size_args(spec: ProgramSpec) -> list[int]:
    """The common runtime arguments behind the tensors' addresses: the symbolic sizes."""
    return [] if spec.dynamic is None else list(spec.dynamic.sizes.values())


def launch_args(spec: ProgramSpec, noc_place: Callable[[Core], Core]) -> dict[Core, tuple[int, ...]]:
    """The runtime arguments of every core that a device launches the program on, see :func:`core_args`.

    They are the same cores at all symbolic sizes, so that the device takes them for one program: those without work at
    these have a count of 0.
    """
    names, constants = spec.partition.runtime_arg_names, spec.partition.runtime_constants
    idle = tuple(constants.get(name, 0) for name in names) + (0,) * len(MULTICAST_ARGS) * len(spec.partition.multicast)
    everywhere = () if spec.dynamic is None else spec.dynamic.cores
    return {
        **dict.fromkeys(everywhere, idle),
        **dict(zip(core_coordinates(spec), core_args(spec, noc_place), strict=True)),
    }


def launched_cores(spec: ProgramSpec) -> list[Core]:
    """The cores that a device launches the program on, each once."""
    return list(dict.fromkeys([*(() if spec.dynamic is None else spec.dynamic.cores), *core_coordinates(spec)]))


def core_coordinates(spec: ProgramSpec) -> list[tuple[int, int]]:
    """The cores that run the program, in the order of its per-core arguments."""
    return [(row[0], row[1]) for row in spec.partition.core_ranges]


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
