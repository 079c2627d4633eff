"""Plans that code generation cannot execute yet, by the cost model: an operand kept in L1 over a row of work tiles with
both multicast, and split reductions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from ..devices import Device
from ..program.spec import WorkloadSpec
from .candidate import Candidate
from .cost import Access, Cost, Traffic, cost_of
from .engine import partition
from .grid import WorkGrid
from .policies import Rectangles
from .schedule import UserSchedule
from .workload import l1_bytes, work_grid

PRODUCT_TILE_BYTES = 4096
"""A hardware tile of a partial sum, in float32."""


def modelled_plans(
    workload: WorkloadSpec, device: Device, moved: Sequence[Access], cycles: float, schedule: UserSchedule
) -> list[Candidate]:
    """What could be done with matrix products: panels kept in L1 and multicast, and split reductions.

    Args:
        workload: the kernel.
        device: the device.
        moved: what a work tile moves of every tensor.
        cycles: matrix work of a work tile in clock cycles.
        schedule: what the user decided.
    """
    by_rows = [access for access in moved if access.k_axis is not None and "M" in access.axes and access.reads]
    by_columns = [access for access in moved if access.k_axis is not None and "N" in access.axes and access.reads]
    if not (workload.products and by_rows and by_columns):
        return []
    grid = work_grid(workload)
    found = []
    columns, rows = device.grid
    free = set(schedule.available_cores(device))
    if free >= {(x, y) for x in range(columns) for y in range(rows)}:
        cut = Rectangles.cut((grid.mt, grid.nt), (min(rows, grid.mt), min(columns, grid.nt)))
        room = device.usable_l1_bytes - sum(l1_bytes(moved, device).values())
        if sum(access.bytes for access in by_rows) <= room:
            found.append(_kept(cut, device, moved, cycles))
    for parts in (2, 4, 8):
        if parts <= workload.kt and grid.tiles * parts <= 2 * len(free):
            found.append(_split(parts, grid, device, moved, cycles))
    return found


def _kept(cut: Rectangles, device: Device, moved: Sequence[Access], cycles: float) -> Candidate:
    """Rows of cores share what they read along M, which stays in L1 over a row of work tiles, columns of cores what
    they read along N.

    The cores that read for their row (A's multicast on NoC 1) and column (B's on NoC 0) lie on diagonals.
    """
    (gy, gx), (sm, sn) = cut.grid, cut.shape
    traffic, tiles = Traffic(device), sm * sn
    cores = [(x, y) for y in range(gy) for x in range(gx)]
    numbers = traffic.wiring.numbers(cores)
    read = np.zeros(len(cores))
    for access in moved:
        along_m = access.reads and access.k_axis is not None and "M" in access.axes and "N" not in access.axes
        along_n = access.reads and access.k_axis is not None and "N" in access.axes and "M" not in access.axes
        amount = float(access.bytes * (sm if along_m else tiles))
        if access.memory == "DRAM" and (along_m or along_n):
            lanes = [(y % gx, y) for y in range(gy)] if along_m else [(x, x % gy) for x in range(gx)]
            _read_and_spread(traffic, lanes, gx if along_m else gy, amount, along_rows=bool(along_m))
        else:
            banks = np.full((len(cores), device.dram_banks), amount / device.dram_banks)
            if access.memory == "DRAM":
                traffic.dram(numbers, access.reads * banks, write=False)
                traffic.dram(numbers, access.writes * banks, write=True)
        read += access.reads * amount
    cost = Cost(
        compute=tiles * cycles,
        terms=traffic.terms(),
        bytes_read=dict(zip(cores, read.tolist(), strict=True)),
        most_tiles=tiles,
        mean_tiles=cut.plane[0] * cut.plane[1] / len(cores),
        cores=len(cores),
    )
    name = f"multicast along {gy} x {gx} cores, rows of blocks kept in L1"
    return Candidate(name, cost, note="keeping blocks in L1 is not generated yet")


def _read_and_spread(
    traffic: Traffic, lanes: Sequence[tuple[int, int]], length: int, amount: float, *, along_rows: bool
) -> None:
    """Each core of ``lanes`` reads ``amount`` bytes, and multicasts them to the others of its row or column."""
    device = traffic.device
    senders = traffic.wiring.numbers(lanes)
    traffic.dram(senders, np.full((len(lanes), device.dram_banks), amount / device.dram_banks), write=False)
    traffic.core_out[senders] += amount if length > 1 else 0
    last = []
    for x, y in lanes:
        lane = [(other, y) if along_rows else (x, other) for other in range(length)]
        others = traffic.wiring.numbers([core for core in lane if core != (x, y)])
        traffic.core_in[others] += amount
        # NoC 1 goes west and NoC 0 south: the last core reached is the one just east of the sender, or just north.
        beside = (x + 1) % length if along_rows else (y - 1) % length
        last.append((beside, y) if along_rows else (x, beside))
    if length > 1:
        places, noc = traffic.wiring.cores, 1 if along_rows else 0
        reached = places[traffic.wiring.numbers(last)]
        traffic.add_links(noc, traffic.wiring.links(noc, places[senders], reached, np.full(len(lanes), amount)))


def _split(parts: int, grid: WorkGrid, device: Device, moved: Sequence[Access], cycles: float) -> Candidate:
    """Every work tile's reduction cut into ``parts``, on cores side by side; the first of them adds up."""
    shared = [_part(access, parts) for access in moved if not access.writes]
    made = partition(WorkGrid(grid.nt * parts, grid.mt), 1, device)
    cost = cost_of(made, device, shared, cycles / parts)
    traffic = Traffic(device)
    written = [access for access in moved if access.writes]
    items = np.arange(grid.tiles * parts)
    starts = np.array([row[4] for row in made.core_ranges])
    owner = traffic.wiring.numbers(made.cores)[np.searchsorted(starts, items, side="right") - 1]
    partial = sum(access.block[0] * access.block[1] for access in written) * PRODUCT_TILE_BYTES
    traffic.l1(owner, owner[items // parts * parts], np.full(len(items), float(partial)), noc=1)
    result = sum(access.bytes for access in written)
    for owning in owner[::parts]:
        traffic.dram(owning[None], np.full((1, device.dram_banks), result / device.dram_banks), write=True)
    # The adding up follows the products, so its time comes on top of theirs.
    after = max(term.cycles for term in traffic.terms())
    terms = tuple(replace(term, cycles=term.cycles + after) for term in cost.terms)
    whole = replace(cost, compute=cost.compute + after, terms=terms)
    return Candidate(f"reduction split in {parts}", whole, note="split reductions are not generated yet")


def _part(access: Access, parts: int) -> Access:
    if access.k_axis is None:
        return access
    rows, columns = access.block
    if access.k_axis == 0:
        return replace(access, block=(ceil(rows / parts), columns))
    return replace(access, block=(rows, ceil(columns / parts)))
