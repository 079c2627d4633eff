"""The best plan: every legal partition of a kernel, ranked by the cost model.

Plans that code generation cannot execute yet (see :mod:`.modelled`) are reported beside them, and never chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from .._plain import ceil_div
from ..attrs import GLOBAL, LOCAL_SHARD
from ..devices import Device
from ..errors import CapacityError, Code, TTError
from ..program.spec import WorkloadSpec
from .candidate import Candidate
from .cost import Access, Cost, cost_of
from .engine import partition
from .global_mode import check_legacy_policy
from .grid import WorkGrid
from .legacy import LegacySchedule
from .modelled import modelled_plans
from .multicast import Irregular, groups_of, with_multicast
from .placed_buffers import PlacedBuffer
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
CORE_RECTANGLES = 2
"""More of them, that lie on the cores as on the plane."""
ALIKE = 1.02
"""Plans whose modelled times are this close are taken to be as fast: the model's error is several times that."""
SHARED = 10
"""The preference of plans with multicast: of equals, those come first whose cores wait for no other."""


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
        for shared in [made, *_shared(made, moved, buffers, schedule)]:
            key = (made.mode, made.policy, made.order, made.driving_buffer, made.cores, tuple(shared.multicast))
            if key not in found:
                cost = cost_of(shared, device, moved, cycles)
                candidate = Candidate(plan_name(shared), cost, shared, _asked(asked, driver, shared))
                found[key] = SHARED if shared.multicast else preference, candidate
    if not found and refused is not None:
        raise refused
    modelled = modelled_plans(workload, device, moved, cycles, schedule)
    return Plan(tuple(_ranked(list(found.values()))), tuple(sorted(modelled, key=lambda c: c.cost.cycles)))


def _shared(
    made: WorkPartition, moved: Sequence[Access], buffers: Sequence[PlacedBuffer], schedule: UserSchedule
) -> list[WorkPartition]:
    """``made`` with every operand of a reduction multicast that can be, where the schedule leaves that open."""
    if schedule.multicast is not None:
        return []
    by_name = {buffer.name: buffer for buffer in buffers}
    names = [access.name for access in moved if access.k_axis is not None and _can_share(made, by_name[access.name])]
    return [with_multicast(made, names, buffers)] if names else []


def _can_share(made: WorkPartition, buffer: PlacedBuffer) -> bool:
    if buffer.follows is None or buffer.name in made.resident_buffers:
        return False
    try:
        groups_of(made, buffer.follows)
    except Irregular:
        return False
    return True


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
    words += [made.order, f"{len(made.core_ranges)} cores"]
    return ", ".join([*words, f"multicast of {', '.join(made.multicast)}"] if made.multicast else words)


def _asked(schedule: UserSchedule, driver: str | None, made: WorkPartition) -> dict[str, object] | None:
    if driver is not None:
        return None
    keys = {"partition_mode": "auto", "policy": CONTIGUOUS, "order": ROW_MAJOR, "num_cores": None}
    asked = {key: value for key, usual in keys.items() if (value := getattr(schedule, key)) != usual}
    return {**asked, "multicast": list(made.multicast)} if made.multicast else asked


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
            if schedule.order == ROW_MAJOR and grid.nt % cut.shape[1] and not grid.mt % cut.shape[0]:
                # Rectangles of unequal width step together column by column, for multicast.
                yield 6, None, replace(schedule, policy=str(Named(BLOCK_2D, cut.grid)), order=COLUMN_MAJOR)


def _cuts(grid: WorkGrid, device: Device, schedule: UserSchedule) -> list[Rectangles]:
    plane = (grid.mt, grid.nt)
    cores = schedule.num_cores or len(schedule.available_cores(device))
    cuts = {Rectangles.cut(plane, (gy, min(cores // gy, grid.nt))) for gy in range(1, min(cores, grid.mt) + 1)}
    first = _best(cuts, RECTANGLES)
    return [*first, *_best(_core_cuts(plane, device, cores) - set(first), CORE_RECTANGLES)]


def _best(cuts: set[Rectangles], count: int) -> list[Rectangles]:
    return sorted(cuts, key=lambda cut: (prod(cut.shape), sum(cut.shape), cut.grid))[:count]


def _core_cuts(plane: tuple[int, int], device: Device, cores: int) -> set[Rectangles]:
    """Cuts that lie on the cores as on the plane, even along an axis: those of which all operands can be multicast."""
    columns, rows = device.grid
    cuts = {
        Rectangles.cut(plane, (gy, gx))
        for gy in range(1, min(rows, plane[0]) + 1)
        for gx in range(1, min(columns, plane[1], cores // gy) + 1)
    }
    return {cut for cut in cuts if not plane[0] % cut.shape[0] or not plane[1] % cut.shape[1]}
