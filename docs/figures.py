"""Draws the pictures of docs/partitioning.md anew: ``python docs/figures.py`` (needs the extra ``plot``)."""

from __future__ import annotations

from pathlib import Path

from tilelang_tt.devices import Device, load_device
from tilelang_tt.layout import block_sharded
from tilelang_tt.partition import Candidate, UserSchedule, WorkGrid, partition
from tilelang_tt.partition.planner import plan_cost, plan_name
from tilelang_tt.partition.workload import placed_buffers, work_grid
from tilelang_tt.plot import core_map, owner_map, save
from tilelang_tt.program.spec import TensorUseSpec, WorkloadSpec

OUT = Path(__file__).parent / "img"
SHOWN = {
    "contiguous": UserSchedule(),
    "contiguous, column_major": UserSchedule(order="column_major"),
    "contiguous, block_linear(4)": UserSchedule(order="block_linear(4)"),
    "block_2d": UserSchedule(policy="block_2d"),
    "block_cyclic(2)": UserSchedule(policy="block_cyclic(2)"),
}


def gemm(m: int, n: int, k: int, block: int, layouts: dict[str, dict[str, object]]) -> WorkloadSpec:
    """C[m, n] = A[m, k] @ B[k, n] in bfloat16, in square blocks."""
    uses = (("A", (m, k), ("M", "K")), ("B", (k, n), ("K", "N")), ("C", (m, n), ("M", "N")))
    tensors = tuple(
        TensorUseSpec(name, shape, "bfloat16", roles, (block, block), name != "C", name == "C", layouts.get(name, {}))
        for name, shape, roles in uses
    )
    return WorkloadSpec((n // block, m // block, 1), k // block, (block // 32) ** 2 * k // 32, tensors, {})


def planned(work: WorkloadSpec, device: Device, schedule: UserSchedule) -> Candidate:
    """The partition of a kernel with its cost."""
    made = partition(work_grid(work), work.kt, device, placed_buffers(work), schedule)
    return Candidate(plan_name(made), plan_cost(made, work, device), made)


def main() -> None:
    """Write all pictures."""
    small = load_device("wormhole_n150").without(columns=range(4, 8), rows=range(4, 8))
    grid = WorkGrid(gx=20, gy=12)
    owned = [(title, partition(grid, 1, small, schedule=schedule)) for title, schedule in SHOWN.items()]
    save(owner_map(owned), OUT / "owners.svg")

    n150 = load_device("wormhole_n150")
    shards = block_sharded((1536, 1280), (6, 5), align=(128, 128))
    work = gemm(1536, 1280, 1024, 128, {"C": shards})
    plans = [
        ("C block-sharded on 6 x 5 cores", planned(work, n150, UserSchedule())),
        ("contiguous, C's shards ignored", planned(work, n150, UserSchedule("global"))),
        ("block_2d, C's shards ignored", planned(work, n150, UserSchedule("global", policy="block_2d"))),
    ]
    for by in ("tiles", "bytes"):
        save(core_map(plans, n150, by), OUT / f"cores_by_{by}.svg")


if __name__ == "__main__":
    main()
