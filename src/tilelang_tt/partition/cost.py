"""How long a partition takes: the larger of matrix work and 1.2 times the busiest DRAM bank, NoC link or core port.

Against Tenstorrent's NoC estimator (tt-npe), on 108 GEMM partitions per chip, this model is within 6.3 % (Wormhole)
and 7.4 % (Blackhole) on average. It counts bytes by their true routes on both NoCs: reads on NoC 0, writes on NoC 1.
Where a device has no known geometry, links are left out. Time and memory grow with cores, not with work tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .._plain import ceil_div
from ..attrs import GLOBAL
from ..devices import Core, Device
from .multicast import Group
from .routes import Amounts, LinkLoads, Nodes, link_loads
from .traversal import Arithmetic, tile_at, visited_number
from .verify import clipped_shard
from .work_partition import WorkPartition

CONTENTION: Final = 1.2
"""How much longer the busiest resource takes than its bytes over its rate, fitted to tt-npe."""
SAMPLES: Final = 32
"""Work tiles of a core that stand for all of them where it has more."""
MULTICAST_NOC: Final = 0
"""The NoC that the reader kernel multicasts on, as it reads."""
PIECES: Final = 8
"""Rows and columns of points that stand for a block when it is spread over shards."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Access:
    """What one work tile moves of one tensor, stored as a matrix of hardware tiles.

    Attributes:
        name: the tensor.
        reads, writes: how often the block is read and written.
        matrix: rows and columns of the tensor in hardware tiles.
        block: rows and columns that a work tile moves in all its reduction steps, in hardware tiles.
        axes: along which axis the block moves by rows and by columns: "M" or "N" of the work plane, "B" for batches, or
            None.
        page_bytes: bytes of a hardware tile.
        memory: "DRAM" or "L1".
        shard: a shard in hardware tiles, along each dimension that is stored; None where the tensor is interleaved.
        shard_cores: the cores, or (bank, 0), that hold shards: shard i lies on the i-th modulo their number; all banks
            where empty.
        steps: reduction steps that the block is moved in.
        depth: blocks of one step that its circular buffer holds.
        k_axis: whether the reduction goes along its rows (0) or columns (1), None for neither.
        batch_tiles: work tiles along M of one batch.
        extents: the dimensions that are stored in hardware tiles; rows and columns of the matrix where empty.
        shards_per_core: the most shards that a core or bank holds.
        contiguous: whether each holds as many consecutive shards instead.
    """

    name: str
    reads: int
    writes: int
    matrix: tuple[int, int]
    block: tuple[int, int]
    axes: tuple[str | None, str | None]
    page_bytes: int
    memory: str = "DRAM"
    shard: tuple[int, ...] | None = None
    shard_cores: tuple[Core, ...] = ()
    steps: int = 1
    depth: int = 2
    k_axis: int | None = None
    batch_tiles: int = 1
    extents: tuple[int, ...] = ()
    shards_per_core: int = 1
    contiguous: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of the block."""
        return self.block[0] * self.block[1] * self.page_bytes


@dataclass(frozen=True)
class Term:
    """One term of the model: the busiest resource of its kind, what it carries, and for how many cycles."""

    kind: str
    where: str
    bytes: float
    cycles: float


@dataclass(frozen=True)
class Cost:
    """What the model says of a partition.

    Attributes:
        compute: cycles of matrix work of the core with most of it.
        terms: the busiest resource of every kind, by its cycles without contention.
        bytes_read: bytes that every core with work reads itself of buffers that are not in place.
        most_tiles, mean_tiles: work tiles per core, over the cores with work.
        cores: number of cores with work.
    """

    compute: float
    terms: tuple[Term, ...]
    bytes_read: dict[Core, float]
    most_tiles: int
    mean_tiles: float
    cores: int

    @property
    def busiest(self) -> Term:
        """The resource that takes longest."""
        return max(self.terms, key=lambda term: term.cycles)

    @property
    def cycles(self) -> float:
        """Clock cycles from start to end."""
        return max(self.compute, CONTENTION * self.busiest.cycles)

    @property
    def bound(self) -> str:
        """What the time is made of: "compute", or the kind of the busiest resource."""
        return "compute" if self.compute >= CONTENTION * self.busiest.cycles else self.busiest.kind


@dataclass(frozen=True)
class Wiring:
    """Where the cores and banks of a device lie on its NoC, made once per device."""

    device: Device
    number: dict[Core, int]
    cores: Nodes
    banks: Nodes

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, device: Device) -> Wiring:
        """The wiring of ``device``; cores and banks are at (0, 0) where its geometry is not known."""
        number = {core: place for place, core in enumerate(device.cores)}
        cores, banks = np.zeros((len(device.cores), 2), np.int64), np.zeros((device.dram_banks, 2), np.int64)
        if device.noc is not None:
            noc = device.noc
            cores = np.array([(noc.worker_columns[x], noc.worker_rows[y]) for x, y in device.cores], np.int64)
            banks = np.array(noc.dram_banks, np.int64)
        return cls(device, number, cores, banks)

    def numbers(self, cores: Sequence[Core]) -> Ints:
        """The numbers of cores among all of the device's."""
        return np.array([self.number[core] for core in cores], np.int64)

    def links(self, noc: int, sources: Nodes, targets: Nodes, amounts: Amounts) -> LinkLoads | None:
        """The loads of transfers on the links of a NoC; None where the geometry is not known."""
        if self.device.noc is None or not len(amounts):
            return None
        return link_loads(noc, sources, targets, amounts, self.device.noc.torus)


class Traffic:
    """Bytes over every resource of a device, added up transfer by transfer."""

    def __init__(self, device: Device) -> None:
        self.device, self.wiring = device, Wiring.of(device)
        cores = len(device.cores)
        # Read from DRAM and written to it, by core and bank.
        self.dram_bytes = np.zeros((2, cores, device.dram_banks))
        self.core_in, self.core_out = np.zeros(cores), np.zeros(cores)
        # Of buffers that are not in place, wherever they lie.
        self.read = np.zeros(cores)
        self._links: list[LinkLoads | None] = [None, None]

    def dram(self, cores: Ints, amounts: Amounts, *, write: bool) -> None:
        """Add ``amounts[core, bank]`` bytes that ``cores``, each named once, read from DRAM or write to it."""
        self.dram_bytes[int(write), cores] += amounts

    def l1(self, sources: Ints, targets: Ints, amounts: Amounts, *, noc: int) -> None:
        """Add transfers from core to core; one that stays on its core costs nothing."""
        moving = (sources != targets) & (amounts > 0)
        sources, targets, amounts = sources[moving], targets[moving], amounts[moving]
        np.add.at(self.core_out, sources, amounts)
        np.add.at(self.core_in, targets, amounts)
        self.add_links(noc, self.wiring.links(noc, self.wiring.cores[sources], self.wiring.cores[targets], amounts))

    def add_links(self, noc: int, loads: LinkLoads | None) -> None:
        """Add loads of links."""
        before = self._links[noc]
        self._links[noc] = before if loads is None else loads if before is None else before + loads

    def terms(self) -> tuple[Term, ...]:
        """The busiest resource of every kind."""
        device = self.device
        banks = self.dram_bytes.sum(axis=(0, 1))
        bank = int(banks.argmax())
        found = [_term("DRAM", f"bank {bank}", float(banks[bank]), device.dram_bytes_per_cycle)]
        core_in = self.core_in + self.dram_bytes[0].sum(axis=1)
        core_out = self.core_out + self.dram_bytes[1].sum(axis=1)
        for kind, port in (("core input", core_in), ("core output", core_out)):
            core = int(port.argmax())
            where = f"core {device.cores[core]}"
            found.append(_term(kind, where, float(port[core]), device.core_port_bytes_per_cycle))
        for noc in (0, 1):
            loads = self.links(noc)
            if loads is not None:
                amount, direction, node = loads.busiest()
                where = f"{direction} link at {node}"
                found.append(_term(f"NoC {noc}", where, amount, device.noc_link_bytes_per_cycle))
        return tuple(found)

    def links(self, noc: int) -> LinkLoads | None:
        """The loads of all transfers: reads from DRAM on NoC 0, writes to it on NoC 1."""
        cores, banks = np.nonzero(self.dram_bytes[noc])
        here, there = self.wiring.cores[cores], self.wiring.banks[banks]
        amounts = self.dram_bytes[noc][cores, banks]
        loads = self.wiring.links(noc, *((here, there) if noc else (there, here)), amounts)
        before = self._links[noc]
        return before if loads is None else loads if before is None else before + loads


def _term(kind: str, where: str, amount: float, rate: float) -> Term:
    return Term(kind, where, amount, amount / rate)


def cost_of(partition: WorkPartition, device: Device, accesses: Sequence[Access], cycles_per_tile: float) -> Cost:
    """What the model says of ``partition``, with its resident buffers used in place.

    Args:
        partition: the partition.
        device: the device it is for.
        accesses: what a work tile moves of every tensor.
        cycles_per_tile: matrix work of one work tile in clock cycles.
    """
    traffic = traffic_of(partition, device, accesses)
    counts = np.array([row[5] for row in partition.core_ranges], np.int64)
    return Cost(
        compute=float(counts.max()) * cycles_per_tile,
        terms=traffic.terms(),
        bytes_read={core: float(traffic.read[traffic.wiring.number[core]]) for core in partition.cores},
        most_tiles=int(counts.max()),
        mean_tiles=float(counts.mean()),
        cores=len(counts),
    )


def traffic_of(partition: WorkPartition, device: Device, accesses: Sequence[Access]) -> Traffic:
    """What the cores of ``partition`` move over the NoC, its resident buffers left out."""
    traffic = Traffic(device)
    cores = traffic.wiring.numbers(partition.cores)
    m, n, weights = sampled_tiles(partition)
    for access in accesses:
        if access.name not in partition.resident_buffers:
            rows, columns = (_first(access, dim, m, n) for dim in (0, 1))
            inside = weights * _share_inside(access, 0, rows) * _share_inside(access, 1, columns)
            reading = slice(None)
            if access.name in partition.multicast:
                groups = partition.multicast[access.name].groups
                reading = np.array([core == group[4:6] for core, group in zip(partition.cores, groups, strict=True)])
                blocks = weights[reading].sum(axis=1)
                # What lies past a tensor's end is sent along as zeros.
                amounts = blocks * float(access.bytes * access.reads)
                add_multicast(traffic, [groups[number] for number in np.flatnonzero(reading)], amounts)
            inside = inside[reading]
            traffic.read[cores[reading]] += inside.sum(axis=1) * (access.bytes * access.reads)
            _add(traffic, access, cores[reading], rows[reading], columns[reading], inside)
    return traffic


def add_multicast(traffic: Traffic, groups: Sequence[Group], amounts: Amounts) -> None:
    """Add what the sender of each group multicasts to the others: over every link of their routes once."""
    wiring = traffic.wiring
    sources, targets, carried = [], [], []
    for (x0, y0, x1, y1, x, y, _), amount in zip(groups, amounts, strict=True):
        sender = wiring.number[x, y]
        members = wiring.numbers([(column, row) for row in range(y0, y1 + 1) for column in range(x0, x1 + 1)])
        traffic.core_out[sender] += amount
        traffic.core_in[members[members != sender]] += amount
        for source, target in _trunks(traffic, wiring.cores[sender], wiring.cores[members]):
            sources.append(source)
            targets.append(target)
            carried.append(amount)
    start, end = (np.array(points, np.int64).reshape(-1, 2) for points in (sources, targets))
    traffic.add_links(MULTICAST_NOC, wiring.links(MULTICAST_NOC, start, end, np.array(carried, np.float64)))


def _trunks(traffic: Traffic, sender: Ints, members: Nodes) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The routes that make up a multicast on NoC 0: east along the sender's row, from there south in every column."""
    if traffic.device.noc is None:
        return []
    columns, rows = traffic.device.noc.torus
    x, y = int(sender[0]), int(sender[1])
    east = {int(column): (int(column) - x) % columns for column in members[:, 0]}
    south = {int(row): (int(row) - y) % rows for row in members[:, 1]}
    farthest = max(east, key=lambda column: east[column])
    lowest = max(south, key=lambda row: south[row])
    return [((x, y), (farthest, y)), *(((column, y), (column, lowest)) for column in east)]


def sampled_tiles(partition: WorkPartition) -> tuple[Ints, Ints, Amounts]:
    """[core, sample] -> m, n, and how many work tiles the sample stands for.

    All tiles of a core with at most ``SAMPLES``; else as many of them, spread by the golden ratio so that they do not
    fall in step with the banks.
    """
    args = np.array([row[:2] for row in partition.core_runtime_args], np.int64)
    start, count = args[:, :1], args[:, 1:]
    most = int(count.max())
    if most <= SAMPLES:
        steps = np.minimum(np.arange(most)[None, :], count - 1)
        weights = (np.arange(most)[None, :] < count).astype(float)
    else:
        spread = np.modf(np.arange(1, SAMPLES + 1) * 0.618033988749895)[0]
        steps = (spread[None, :] * count).astype(np.int64)
        weights = np.repeat(count / SAMPLES, SAMPLES, axis=1)
    on = Arithmetic(np.floor_divide, np.mod, np.minimum)
    mt, nt = partition.grid_tiles
    m0 = n0 = np.int64(0)
    height, width = np.int64(mt), np.int64(nt)
    if partition.mode != GLOBAL:
        shards, steps = _sampled_shards(partition, steps)
        m0, n0 = (shards[axis] * partition.local_shape_tiles[axis] for axis in (0, 1))
        height = np.minimum(partition.local_shape_tiles[0], mt - m0)
        width = np.minimum(partition.local_shape_tiles[1], nt - n0)
    number = start + steps if partition.run is None else visited_number(steps, start, *partition.run, on)
    if partition.block is None:
        m, n = number // width, number % width
    else:
        m, n = tile_at(number, height, width, partition.block, on)
    return m0 + m, n0 + n, weights


def _sampled_shards(partition: WorkPartition, steps: Ints) -> tuple[tuple[Ints, Ints], Ints]:
    """The shards (sy, sx) that each core is in at ``steps``, and its steps within them."""
    if partition.several_shards is None:
        own = np.array([row[2:] for row in partition.core_runtime_args], np.int64)
        return (own[:, :1], own[:, 1:]), steps
    sy, sx, within = np.empty_like(steps), np.empty_like(steps), np.empty_like(steps)
    for row in range(len(steps)):
        own = np.array(list(partition.shards_of(row)), np.int64)
        sizes = [clipped_shard(partition.grid_tiles, partition.local_shape_tiles, *shard) for shard in own.tolist()]
        ends = np.cumsum([height * width for height, width in sizes])
        at = np.searchsorted(ends, steps[row], side="right")
        sy[row], sx[row] = own[at, 0], own[at, 1]
        within[row] = steps[row] - np.concatenate([[0], ends])[at]
    return (sy, sx), within


def _first(access: Access, dim: int, m: Ints, n: Ints) -> Ints:
    """The first row (``dim`` 0) or column (1) of hardware tiles of the block of work tile (m, n)."""
    axis, size = access.axes[dim], access.block[dim]
    index = {"M": m, "N": n, "B": m // access.batch_tiles}
    return index[axis] * size if axis is not None else np.zeros_like(m)


def _share_inside(access: Access, dim: int, first: Ints) -> Amounts:
    """How much of a block lies within the tensor: the last ones may reach past its end, where nothing is moved."""
    size = access.block[dim]
    return np.clip(access.matrix[dim] - first, 0, size) / size


def _add(traffic: Traffic, access: Access, cores: Ints, rows: Ints, columns: Ints, weights: Amounts) -> None:
    in_dram = access.memory == "DRAM"
    places = traffic.device.dram_banks if in_dram else len(traffic.device.cores)
    if access.shard is None:
        amounts = _interleaved(access, places, rows, columns, weights)
    else:
        amounts = _sharded(traffic, access, places, rows, columns, weights)
    for write, times in ((False, access.reads), (True, access.writes)):
        if times and in_dram:
            traffic.dram(cores, times * amounts, write=write)
        elif times:
            there, here = np.tile(np.arange(places), len(cores)), np.repeat(cores, places)
            pair = (here, there) if write else (there, here)
            traffic.l1(*pair, times * amounts.ravel(), noc=int(write))


def _interleaved(access: Access, places: int, rows: Ints, columns: Ints, weights: Amounts) -> Amounts:
    """[core, place] -> bytes: page i of the matrix lies on place i mod ``places``."""
    width = access.matrix[1]
    height, across = access.block
    # Rows repeat their places after `places` rows: one period of them stands for all.
    row = np.arange(min(height, places))
    times = height // len(row) + (row < height % len(row))
    page = (row[:, None] * width + np.arange(across)[None, :]) % places
    pattern = np.bincount(page.ravel(), np.repeat(times, across), places).astype(np.float64)
    first = (rows * width + columns) % places
    cores = len(first)
    where = np.arange(cores)[:, None] * places + first
    at = np.bincount(where.ravel(), weights.ravel(), cores * places).astype(np.float64).reshape(cores, places)
    rolled = pattern[(np.arange(places)[None, :] - np.arange(places)[:, None]) % places]
    return at @ rolled * access.page_bytes


def _sharded(traffic: Traffic, access: Access, places: int, rows: Ints, columns: Ints, weights: Amounts) -> Amounts:
    """[core, place] -> bytes: points of the block stand for it, each on the place of the shard that it lies in."""
    points = []
    for first, size, most in zip((rows, columns), access.block, access.matrix, strict=True):
        count = min(size, PIECES)
        inside = (np.arange(count) * size + size // 2) // count
        points.append(np.minimum(first[:, :, None] + inside, most - 1))
    shards = _shard_numbers(access, points[0][:, :, :, None], points[1][:, :, None, :])
    if access.memory == "DRAM":
        walked = np.array([bank for bank, _ in access.shard_cores] or range(places), np.int64)
    else:
        walked = traffic.wiring.numbers(access.shard_cores)
    turn = shards // access.shards_per_core if access.contiguous else shards % len(walked)
    holders = walked[turn.reshape(*shards.shape[:2], -1)]
    cores, _, count = holders.shape
    where = np.arange(cores)[:, None, None] * places + holders
    shares = np.broadcast_to((weights * (access.bytes / count))[:, :, None], holders.shape)
    found = np.bincount(where.ravel(), shares.ravel(), cores * places).astype(np.float64)
    return found.reshape(cores, places)


def _shard_numbers(access: Access, rows: Ints, columns: Ints) -> Ints:
    """The shards that tiles of the matrix lie in, numbered row by row over the dimensions that are stored."""
    assert access.shard is not None
    extents = access.extents or access.matrix
    number, stride = columns // access.shard[-1], ceil_div(extents[-1], access.shard[-1])
    for extent, part in reversed(list(zip(extents[:-1], access.shard[:-1], strict=True))):
        number = number + rows % extent // part * stride
        rows, stride = rows // extent, stride * ceil_div(extent, part)
    return number
