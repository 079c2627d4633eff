"""The files between a run and the emulator's process: the job, one memory-mapped file per tensor, the report."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from ...errors import Code, ExecutionError, SourceLocation
from ...formats import stored_tiles, tile_bytes
from ...program.spec import ProgramSpec, TensorSpec
from ..placement import (
    Placement,
    core_args,
    core_coordinates,
    device_place,
    size_args,
    tensor_bytes_per_unit,
    tensor_units,
)
from ..report import CoreReport, NocBytes, RunReport, TileOps
from ..tiles import from_pages, tile_shape, to_pages

SEMAPHORE_BYTES = 16
"""Distance of semaphores, which lie in the part of L1 that is reserved for firmware and kernels."""

_SEMAPHORE = re.compile(r"tt_l1_ptr uint32_t\s*\*\s*>?\s*[()]\s*get_semaphore\(")
"""How kernels take a semaphore's pointer; any other pointer may go anywhere in L1."""


class TensorFile:
    """A tensor's pages, in order, in a file that the emulator maps as well."""

    def __init__(self, path: Path, spec: TensorSpec, array: np.ndarray) -> None:
        self.spec = spec
        self.path = path
        self._array = array
        shape = tile_shape(spec.shape)
        with path.open("w+b") as file:
            file.truncate(shape.pages * tile_bytes(spec.data_format))
            self._map = mmap.mmap(file.fileno(), 0)
        self.pages = np.frombuffer(self._map, np.uint8).reshape(shape.pages, -1)
        # What no kernel writes keeps what the caller has there, inside a page too.
        to_pages(array, spec.data_format, self.pages)

    def read_back(self, unwritten: Sequence[int]) -> None:
        """Writes the tensor's pages into the caller's array, unless all are ``unwritten``."""
        if self.spec.direction == "in" or len(unwritten) == len(self.pages):
            return
        from_pages(self.pages, self.spec.data_format, self._array)


def job_text(
    spec: ProgramSpec,
    sources: Mapping[str, str],
    placement: Placement,
    objects: Sequence[Path],
    files: Sequence[TensorFile],
    report: Path,
    *,
    threads: int,
    timeout_ms: int,
) -> str:
    """The job as the emulator reads it (host/job.h): one declaration per line."""
    device = spec.device
    running = core_coordinates(spec)
    holders = [core for tensor in spec.tensors if tensor.memory == "L1" for core in tensor_units(tensor, device)]
    cores = list(dict.fromkeys([*running, *holders]))
    number = {core: i for i, core in enumerate(cores)}
    args = dict(zip(running, core_args(spec, lambda core: device_place(device, core)), strict=True))
    banks = device.noc.dram_banks if device.noc is not None else [(0, 0)] * device.dram_banks
    lines = [
        "tilelang-tt-emulator-job 1",
        f"chip {device.arch} {device.l1_bytes} {placement.l1_bytes}",
        f"run {threads} {timeout_ms}",
        f"banks {len(banks)} " + " ".join(f"{x} {y}" for x, y in banks),
        f"report {report}",
    ]
    if device.noc is not None:
        lines.append(f"torus {device.noc.torus[0]} {device.noc.torus[1]}")
    for kernel in spec.kernels:
        if kernel.compute is not None:
            lines.append(f"compute {int(kernel.compute.fp32_dest_acc)} {kernel.compute.math_fidelity}")
    common = [*placement.tensors, *size_args(spec)]
    lines.append(f"common_args {len(common)} " + " ".join(map(str, common)))
    names = [tensor.name for tensor in spec.tensors]
    for i, (tensor, file) in enumerate(zip(spec.tensors, files, strict=True)):
        shape = tile_shape(tensor.shape)
        lines.append(
            f"tensor {tensor.name} {tensor.data_format} {tensor.memory} {tensor.direction}"
            f" {tile_bytes(tensor.data_format)} {shape.pages} {placement.tensors[i]} {file.path}"
        )
        # Cores by their number in this job, DRAM banks by their own.
        units = [number[unit] if tensor.memory == "L1" else unit[0] for unit in tensor_units(tensor, device)]
        lines.append(" ".join(map(str, [*_distribution(tensor, i), len(units), *units])))
    for cb, address in zip(spec.circular_buffers, placement.circular_buffers, strict=True):
        tensor = "-" if cb.tensor is None else str(names.index(cb.tensor))
        lines.append(
            f"cb {cb.index} {cb.name} {cb.data_format} {cb.page_size} {cb.num_pages} {address} {tensor}"
            f" {int(cb.unpack_to_dest_fp32)} {int(cb.kept)}"
        )
    for kernel, path in zip(spec.kernels, objects, strict=True):
        raw = int("tt_l1_ptr" in _SEMAPHORE.sub("", sources[kernel.source]))
        lines.append(f"kernel {kernel.role} {raw} {Path(kernel.source).name} {path}")
    for semaphore in spec.semaphores:
        address = SEMAPHORE_BYTES * (1 + semaphore.id)
        lines.append(f"semaphore {semaphore.id} {semaphore.name} {semaphore.initial_value} {address}")
    if spec.semaphores:
        places = [device_place(device, core) for core in device.cores]
        lines.append(f"workers {len(places)} " + " ".join(f"{x} {y}" for x, y in places))
    for x, y in cores:
        place = device_place(device, (x, y))
        values = args.get((x, y), ())
        lines.append(
            f"core {x} {y} {place[0]} {place[1]} {int((x, y) in args)} {len(values)} " + " ".join(map(str, values))
        )
    return "\n".join(lines) + "\n"


def _distribution(tensor: TensorSpec, index: int) -> list[object]:
    """How the job says which page lies on which unit, but for the units."""
    shard = tensor.shard
    if shard is None:
        return ["interleaved", index]
    rank = len(shard.grid)
    return ["sharded", index, int(shard.contiguous), rank, *stored_tiles(tensor.shape, rank), *shard.shard_tiles]


class _Fault(msgspec.Struct):
    code: str
    text: str
    kernel: str
    source: str
    line: int
    cb: str
    core: tuple[int, ...]


class _CoreCounts(msgspec.Struct):
    x: int
    y: int
    bank_read: list[int]
    bank_written: list[int]
    tensor_read: list[int]
    tensor_written: list[int]
    dram_read: int
    dram_written: int
    l1_remote_read: int
    l1_remote_written: int
    l1_local: int
    l1_multicast: int
    byte_hops: tuple[int, int]
    products: int
    eltwise: int
    sfpu: int
    unpacks: int
    packs: int


class Outcome(msgspec.Struct):
    """The emulator's report as it writes it (host/report.h)."""

    fault: _Fault | None = None
    cores: list[_CoreCounts] = []
    unwritten: list[list[int]] = []


def read_outcome(path: Path) -> Outcome:
    """Reads the emulator's report."""
    return msgspec.json.decode(path.read_bytes(), type=Outcome)


def fault_error(fault: _Fault) -> ExecutionError:
    """The error that a kernel's fault is for the caller."""
    where = [f"{fault.kernel} kernel"] if fault.kernel else []
    if fault.core:
        where.append(f"core ({fault.core[0]}, {fault.core[1]})")
    if fault.cb:
        where.append(f"circular buffer {fault.cb}")
    return ExecutionError(
        Code(fault.code),
        f"{', '.join(where)}: {fault.text}" if where else fault.text,
        subject=fault.kernel or None,
        location=SourceLocation(fault.source, fault.line) if fault.line else None,
    )


def run_report(spec: ProgramSpec, placement: Placement, outcome: Outcome) -> RunReport:
    """What the run did, from the emulator's counts."""
    names = [tensor.name for tensor in spec.tensors]
    shards = [
        (frozenset(tensor_units(tensor, spec.device)), tensor_bytes_per_unit(tensor, spec.device))
        for tensor in spec.tensors
        if tensor.memory == "L1"
    ]
    everywhere = placement.l1_bytes - sum(size for _, size in shards)
    cores = []
    for counts in outcome.cores:
        core = (counts.x, counts.y)
        cores.append(
            CoreReport(
                core=core,
                tiles=TileOps(*(getattr(counts, field) for field in TileOps.__struct_fields__)),
                noc=NocBytes(*(getattr(counts, field) for field in NocBytes.__struct_fields__)),
                l1_peak=everywhere + sum(size for holders, size in shards if core in holders),
            )
        )
    geometry = spec.device.noc is not None
    return RunReport(
        cores=tuple(cores),
        tiles=TileOps(*_totals([core.tiles for core in cores], TileOps.__struct_fields__)),
        noc=NocBytes(*_totals([core.noc for core in cores], NocBytes.__struct_fields__)),
        dram_bank_read=_columns([core.bank_read for core in outcome.cores]),
        dram_bank_written=_columns([core.bank_written for core in outcome.cores]),
        tensor_read=dict(zip(names, _columns([core.tensor_read for core in outcome.cores]), strict=True)),
        tensor_written=dict(zip(names, _columns([core.tensor_written for core in outcome.cores]), strict=True)),
        noc_byte_hops=(
            (sum(core.byte_hops[0] for core in outcome.cores), sum(core.byte_hops[1] for core in outcome.cores))
            if geometry
            else None
        ),
        unwritten_pages={
            tensor.name: len(pages)
            for tensor, pages in zip(spec.tensors, outcome.unwritten, strict=True)
            if tensor.direction != "in"
        },
    )


def _totals(items: Sequence[msgspec.Struct], fields: Sequence[str]) -> list[int]:
    return [sum(getattr(item, field) for item in items) for field in fields]


def _columns(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*rows, strict=True))
