"""Why a program is partitioned as it is: its plan, what the cost model says of it, and what else there was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..attrs import DST_TYPE, MATH_FIDELITY
from ..errors import Code, ProgramError, TTError

if TYPE_CHECKING:
    from ..partition import Candidate, Cost, WorkPartition
    from .spec import ProgramSpec, WorkloadSpec

RUNNERS_UP = 5
"""Other plans that the text shows."""


@dataclass(frozen=True)
class Explanation:
    """The plan of one program.

    Attributes:
        name: the program.
        device: the device it is for.
        decided_by: what decided the mode: a key of the schedule, a buffer, or nothing.
        in_place: the tensors that every core uses where they lie in its own L1.
        moved: the others, which are read and written over the network.
        chosen: its plan.
        runners_up: the other legal plans that the schedule's cores allow, best first.
        modelled: plans that code generation cannot execute yet.
        core_map: work tiles per core, as text.
        engines: how the engines run, and whether the schedule says so.
        sizes: the symbolic sizes that all of this is for; empty where all sizes are fixed.
    """

    name: str
    device: str
    decided_by: str
    in_place: tuple[str, ...]
    moved: tuple[str, ...]
    chosen: Candidate
    runners_up: tuple[Candidate, ...]
    modelled: tuple[Candidate, ...]
    core_map: str
    engines: str
    sizes: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values: cycles and bytes as numbers, plans by name."""
        return {
            "name": self.name,
            "device": self.device,
            "decided_by": self.decided_by,
            "in_place": list(self.in_place),
            "moved": list(self.moved),
            "engines": self.engines,
            "sizes": dict(self.sizes),
            "chosen": _plain(self.chosen),
            "runners_up": [_plain(candidate) for candidate in self.runners_up],
            "not_executable": [_plain(candidate) for candidate in self.modelled],
        }

    def __str__(self) -> str:
        cost = self.chosen.cost
        in_place, moved = (", ".join(names) or "nothing" for names in (self.in_place, self.moved))
        sizes = ", ".join(f"{name} = {size}" for name, size in self.sizes.items())
        lines = [
            f"{self.name} on {self.device}: {self.chosen.name}",
            *([f"  planned for {sizes}; at launch the real sizes are shared out the same way"] if sizes else []),
            f"  decided by: {self.decided_by}",
            f"  in place: {in_place}; over the network: {moved}",
            f"  engines: {self.engines}",
            f"  modelled time: {_cycles(cost.cycles)}, bound by {cost.bound}",
            f"  balance: at most {cost.most_tiles} work tiles per core, {cost.mean_tiles:.2f} on average over "
            f"{cost.cores} cores",
            "",
            self.core_map,
            "",
            "terms of the model: the larger of compute and 1.2 x the busiest resource",
            f"  {'compute':<12} {_cycles(cost.compute):>18}",
        ]
        for term in cost.terms:
            lines.append(f"  {term.kind:<12} {_cycles(term.cycles):>18}  {term.bytes:>15,.0f} bytes, {term.where}")
        lines += ["", *_table("other plans", self.runners_up[:RUNNERS_UP], len(self.runners_up))]
        lines += _table("not executable yet", self.modelled, len(self.modelled))
        return "\n".join(lines)


@dataclass(frozen=True)
class SequenceExplanation:
    """Why the grids of a function are partitioned as they are: an explanation of each, in the order in which they run.

    Attributes:
        name: the function.
        grids: of each grid.
    """

    name: str
    grids: tuple[Explanation, ...]

    @property
    def cycles(self) -> float:
        """The modelled time of all grids."""
        return sum(grid.chosen.cost.cycles for grid in self.grids)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values."""
        return {"name": self.name, "cycles": self.cycles, "grids": [grid.to_dict() for grid in self.grids]}

    def __str__(self) -> str:
        first = f"{self.name}: {len(self.grids)} grids, one after the other; modelled time {_cycles(self.cycles)}"
        return "\n\n".join([first, *map(str, self.grids)])


def explain(spec: ProgramSpec) -> Explanation:
    """The explanation of a program.

    Raises:
        ProgramError: ``program-malformed``, for a program saved without what its partition was made for.
    """
    # Imported here: running a saved program needs no planner.
    from ..partition import Candidate, WorkPartition, plan
    from ..partition.planner import plan_cost, plan_name

    workload = spec.workload
    if workload is None:
        raise ProgramError(
            Code.PROGRAM_MALFORMED,
            "the program was saved without what its partition was made for",
            subject="workload",
            expected="a program compiled by this version",
            hint="compile the kernel again",
        )
    made = WorkPartition.from_spec(spec.partition)
    chosen = Candidate(plan_name(made), plan_cost(made, workload, spec.device), made)
    try:
        others = plan(workload, spec.device)
        runners_up, modelled = others.candidates, others.modelled
    except TTError:
        # What the schedule fixes may leave no other plan than the one there is.
        runners_up, modelled = (), ()
    return Explanation(
        name=spec.name,
        device=spec.device.name,
        decided_by=decided_by(workload, made),
        in_place=made.resident_buffers,
        moved=tuple(use.name for use in workload.tensors if use.name not in made.resident_buffers),
        chosen=chosen,
        runners_up=tuple(candidate for candidate in runners_up if candidate.name != chosen.name),
        modelled=modelled,
        core_map=made.core_map(spec.device),
        engines=_engines(spec, workload),
        sizes={} if spec.dynamic is None else spec.dynamic.sizes,
    )


def decided_by(workload: WorkloadSpec, made: WorkPartition) -> str:
    """The key of the schedule or the buffer that decided the mode of a partition."""
    schedule = workload.schedule
    if schedule.get("policy") == "auto":
        return "policy: auto, the least modelled time of all legal plans"
    if made.driving_buffer is not None:
        use = next(tensor for tensor in workload.tensors if tensor.name == made.driving_buffer)
        verb = "written" if use.written else "read"
        return f"buffer {use.name}: the kernel's {verb} tensor that lives sharded in L1"
    if schedule.get("partition_mode", "auto") != "auto":
        return f"partition_mode: {schedule['partition_mode']}"
    if workload.legacy_ranges:
        return "tt_tiles_per_core, the kernel's legacy schedule"
    keys = [f"{key}: {schedule[key]}" for key in ("policy", "order", "multicast") if key in schedule]
    return " and ".join(keys) or "nothing: no tensor's shards in L1 line up with the work grid, so contiguous"


def _engines(spec: ProgramSpec, workload: WorkloadSpec) -> str:
    config = next(kernel.compute for kernel in spec.kernels if kernel.compute is not None)
    dst = f"DST of {'float32' if config.fp32_dest_acc else 'bfloat16'}"
    words = {MATH_FIDELITY: config.math_fidelity, DST_TYPE: dst}
    said = {key: "given" if workload.schedule.get(key) else "by the kernel's dtypes" for key in words}
    return ", ".join(f"{word} ({said[key]})" for key, word in words.items())


def _plain(candidate: Candidate) -> dict[str, Any]:
    cost = candidate.cost
    return {
        "name": candidate.name,
        "executable": candidate.executable,
        "note": candidate.note,
        "schedule": candidate.schedule,
        "cycles": cost.cycles,
        "bound": cost.bound,
        "compute_cycles": cost.compute,
        "terms": [{"kind": t.kind, "where": t.where, "bytes": t.bytes, "cycles": t.cycles} for t in cost.terms],
        "cores": cost.cores,
        "most_tiles": cost.most_tiles,
        "mean_tiles": cost.mean_tiles,
    }


def _cycles(value: float) -> str:
    return f"{value:,.0f} cycles"


def _table(title: str, candidates: tuple[Candidate, ...], count: int) -> list[str]:
    if not candidates:
        return []
    more = f" (the best {len(candidates)} of {count})" if count > len(candidates) else ""
    return [f"{title}{more}", *(_row(candidate) for candidate in candidates)]


def _row(candidate: Candidate) -> str:
    cost: Cost = candidate.cost
    note = f"; {candidate.note}" if candidate.note else ""
    return f"  {_cycles(cost.cycles):>18}  {candidate.name}: bound by {cost.bound}, most tiles {cost.most_tiles}{note}"
