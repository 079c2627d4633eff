"""The best plan: every legal partition of a kernel, ranked by the cost model.

Plans that code generation cannot execute yet (operands multicast along core rows and columns, an operand kept in L1
over a row of work tiles, split reductions) are modelled and reported beside them, and never chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from .._plain import ceil_div
from ..attrs import GLOBAL, LOCAL_SHARD
from ..devices import Device
from ..errors import CapacityError, Code, TTError
from ..program.spec import WorkloadSpec
from .cost import Access, Cost, Traffic, cost_of
from .engine import PlacedBuffer, check_legacy_policy, partition
from .grid import WorkGrid
from .legacy import LegacySchedule
from .policies import (
    BLOCK_2D,
    BLOCK_CYCLIC,
    BLOCK_LINEAR,
    COLUMN_MAJOR,
    CONTIGUOUS,
    MATCH_SHARD,
    ROW_MAJOR,
    Named,
    Rectangles,
)
from .schedule import UserSchedule, check_core_count, parse_user_schedule
from .work_partition import WorkPartition
from .workload import accesses, cycles_per_tile, l1_bytes, placed_buffers, work_grid

RECTANGLES = 10
"""Cuts into rectangles that are costed, those with the least largest rectangle."""
ALIKE = 1.02
"""Plans whose modelled times are this close are taken to be as fast: the model's error is several times that."""
PRODUCT_TILE_BYTES = 4096
"""A hardware tile of a partial sum, in float32."""


@dataclass(frozen=True)
class Candidate:
    """One way to share out the work.

    Attributes:
        name: what it is, in the words of ``tt.user_schedule``.
        cost: what the model says of it.
        partition: the partition; None for a plan that code generation cannot execute yet.
        schedule: what to put in ``tt.user_schedule`` to ask for exactly this; None where nothing does.
        note: why it cannot be executed, or other remarks.
    """

    name: str
    cost: Cost
    partition: WorkPartition | None = None
    schedule: dict[str, object] | None = None
    note: str = ""

    @property
    def executable(self) -> bool:
        """Whether code generation can execute it."""
        return self.partition is not None


@dataclass(frozen=True)
class Plan:
    """The candidates of one kernel, best first; ``modelled`` are those that cannot be executed yet."""

    candidates: tuple[Candidate, ...]
    modelled: tuple[Candidate, ...] = field(default=())

    @property
    def best(self) -> Candidate:
        """The best candidate that can be executed."""
        return self.candidates[0]


def plan(
    workload: WorkloadSpec,
    device: Device,
    schedule: UserSchedule | None = None,
    legacy: LegacySchedule | None = None,
) -> Plan:
    """Every legal partition within what the schedules fix, ranked by the model.

    Args:
        workload: the kernel.
        device: whose cores to use.
        schedule: what the user decided; by default the workload's own. Its policy is left to the model.
        legacy: the legacy schedule; it may limit the cores, but not give tiles to cores, which is what is planned.

    Raises:
        TTError: the error of the first candidate, when none is legal.
    """
    schedule = parse_user_schedule(workload.schedule) if schedule is None else schedule
    if legacy is not None:
        schedule = _within_legacy(schedule, legacy)
    grid, buffers = work_grid(workload), placed_buffers(workload)
    moved, cycles = accesses(workload, device), cycles_per_tile(workload)
    found: dict[tuple[object, ...], tuple[int, Candidate]] = {}
    refused: TTError | None = None
    for preference, driver, asked in _alternatives(grid, device, buffers, schedule):
        try:
            made = partition(grid, workload.kt, device, buffers, asked, driver=driver)
            _check_l1(made, moved, device)
        except TTError as error:
            refused = refused or error
            continue
        key = (made.mode, made.policy, made.order, made.driving_buffer, made.cores)
        if key not in found:
            cost = cost_of(made, device, moved, cycles)
            found[key] = preference, Candidate(plan_name(made), cost, made, _asked(asked, driver))
    if not found and refused is not None:
        raise refused
    modelled = _modelled(workload, device, moved, cycles, schedule)
    return Plan(tuple(_ranked(list(found.values()))), tuple(sorted(modelled, key=lambda c: c.cost.cycles)))


def _check_l1(made: WorkPartition, moved: Sequence[Access], device: Device) -> None:
    needed = l1_bytes(moved, device, made.resident_buffers)
    if sum(needed.values()) > device.usable_l1_bytes:
        raise CapacityError(
            Code.L1_CAPACITY,
            "no plan fits the L1 of a core",
            subject="L1",
            found=", ".join(f"{what}: {size:,} bytes" for what, size in needed.items()),
            expected=f"at most {device.usable_l1_bytes:,} bytes on {device.name}",
            hint="smaller blocks, fewer num_stages, or smaller shards",
        )


def _within_legacy(schedule: UserSchedule, legacy: LegacySchedule) -> UserSchedule:
    if legacy.tiles_per_core is not None:
        check_legacy_policy(schedule)
    if legacy.num_cores is None or (schedule.num_cores is not None and schedule.num_cores < legacy.num_cores):
        return schedule
    return replace(schedule, num_cores=legacy.num_cores)


def _ranked(found: Sequence[tuple[int, Candidate]]) -> list[Candidate]:
    """Best first; of those that the model cannot tell from the fastest, by the largest share of work of a core."""
    fastest = min(candidate.cost.cycles for _, candidate in found)

    def key(item: tuple[int, Candidate]) -> tuple[float, int, int, int]:
        preference, candidate = item
        cost = candidate.cost
        time = fastest if cost.cycles <= ALIKE * fastest else cost.cycles
        return time, cost.most_tiles, preference, cost.cores

    return [candidate for _, candidate in sorted(found, key=key)]


def plan_cost(made: WorkPartition, workload: WorkloadSpec, device: Device) -> Cost:
    """What the model says of a partition of ``workload``."""
    return cost_of(made, device, accesses(workload, device), cycles_per_tile(workload))


def plan_name(made: WorkPartition) -> str:
    """A partition in the words of ``tt.user_schedule``."""
    words = [made.mode]
    if made.driving_buffer is not None:
        words.append(f"shards of {made.driving_buffer}")
        if made.policy != CONTIGUOUS:
            words.append(made.policy)
    elif made.mode == LOCAL_SHARD:
        words.append(f"{made.shard_grid[0]} x {made.shard_grid[1]} shards")
    else:
        words.append(made.policy)
    return ", ".join([*words, made.order, f"{len(made.core_ranges)} cores"])


def _asked(schedule: UserSchedule, driver: str | None) -> dict[str, object] | None:
    if driver is not None:
        return None
    keys = {"partition_mode": "auto", "policy": CONTIGUOUS, "order": ROW_MAJOR, "num_cores": None}
    return {key: value for key, usual in keys.items() if (value := getattr(schedule, key)) != usual}


# --- candidates


def _alternatives(
    grid: WorkGrid, device: Device, buffers: Sequence[PlacedBuffer], schedule: UserSchedule
) -> Iterator[tuple[int, str | None, UserSchedule]]:
    """(preference between equals, buffer that decides, schedule) of every candidate."""
    by_shards = replace(schedule, policy=CONTIGUOUS)
    if schedule.partition_mode != GLOBAL:
        for buffer in sorted(buffers, key=lambda buffer: not buffer.written):
            if buffer.l1_sharded and buffer.projection is not None and buffer.projection.lined_up:
                yield (0 if buffer.written else 2), buffer.name, by_shards
        if schedule.partition_mode == LOCAL_SHARD:
            yield 1, None, by_shards
            return
    everywhere = replace(by_shards, partition_mode=GLOBAL)
    for limited in _core_counts(grid, device, everywhere):
        yield from _global_alternatives(grid, device, buffers, limited)


def _core_counts(grid: WorkGrid, device: Device, schedule: UserSchedule) -> Iterator[UserSchedule]:
    """All cores that may be used, just as many as keep the largest share, and fractions of them."""
    most = len(schedule.available_cores(device))
    if schedule.num_cores is not None:
        check_core_count(schedule.num_cores, most, "num_cores", f"device {device.name!r} that the schedule allows")
        most = schedule.num_cores
    yield schedule
    fewer = {ceil_div(grid.tiles, ceil_div(grid.tiles, most)), most // 2, most // 4}
    for count in sorted(fewer, reverse=True):
        if 0 < count < most:
            yield replace(schedule, num_cores=count)


def _global_alternatives(
    grid: WorkGrid, device: Device, buffers: Sequence[PlacedBuffer], schedule: UserSchedule
) -> Iterator[tuple[int, None, UserSchedule]]:
    orders = [ROW_MAJOR, COLUMN_MAJOR] if schedule.order == ROW_MAJOR else [schedule.order]
    if schedule.order == ROW_MAJOR:
        orders += [f"{BLOCK_LINEAR}({side})" for side in (2, 4, 8) if side < max(grid.mt, grid.nt)]
        if any(buffer.projection is not None and buffer.projection.lined_up for buffer in buffers):
            orders.append(MATCH_SHARD)
    for place, order in enumerate(orders):
        yield 1 if place == 0 else 4 + place, None, replace(schedule, order=order)
    for chunk in (1, 2, 4):
        yield 20, None, replace(schedule, policy=str(Named(BLOCK_CYCLIC, (chunk,))))
    if schedule.order in (ROW_MAJOR, COLUMN_MAJOR):
        for cut in _cuts(grid, device, schedule):
            yield 3, None, replace(schedule, policy=str(Named(BLOCK_2D, cut.grid)))


def _cuts(grid: WorkGrid, device: Device, schedule: UserSchedule) -> list[Rectangles]:
    plane = (grid.mt, grid.nt)
    cores = schedule.num_cores or len(schedule.available_cores(device))
    cuts = {Rectangles.cut(plane, (gy, min(cores // gy, grid.nt))) for gy in range(1, min(cores, grid.mt) + 1)}
    return sorted(cuts, key=lambda cut: (cut.shape[0] * cut.shape[1], sum(cut.shape), cut.grid))[:RECTANGLES]


# --- plans that cannot be executed yet


def _modelled(
    workload: WorkloadSpec, device: Device, moved: Sequence[Access], cycles: float, schedule: UserSchedule
) -> list[Candidate]:
    """Multicast, panels kept in L1 and split reductions, for kernels of matrix products."""
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
        for keep in (False, True):
            if not keep or sum(access.bytes for access in by_rows) <= room:
                found.append(_multicast(cut, device, moved, cycles, keep))
    for parts in (2, 4, 8):
        if parts <= workload.kt and grid.tiles * parts <= 2 * len(free):
            found.append(_split(parts, grid, device, moved, cycles))
    return found


def _multicast(cut: Rectangles, device: Device, moved: Sequence[Access], cycles: float, keep: bool) -> Candidate:
    """Rows of cores share what they read along M, columns of cores what they read along N.

    The cores that read for their row (A's multicast on NoC 1) and column (B's on NoC 0) lie on diagonals. With
    ``keep``, blocks along M stay in L1 over a row of work tiles.
    """
    (gy, gx), (sm, sn) = cut.grid, cut.shape
    traffic, tiles = Traffic(device), sm * sn
    cores = [(x, y) for y in range(gy) for x in range(gx)]
    numbers = traffic.wiring.numbers(cores)
    read = np.zeros(len(cores))
    for access in moved:
        along_m = access.reads and access.k_axis is not None and "M" in access.axes and "N" not in access.axes
        along_n = access.reads and access.k_axis is not None and "N" in access.axes and "M" not in access.axes
        amount = float(access.bytes * (sm if keep and along_m else tiles))
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
    name = f"multicast along {gy} x {gx} cores" + (", rows of blocks kept in L1" if keep else "")
    return Candidate(name, cost, note="multicast is not generated yet")


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
