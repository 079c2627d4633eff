"""Partitions of the matrix products of real models: balance, modelled time and planning time, policy by policy.

    python benchmarks/partition.py [--device wormhole_n150]

Every product C[M, N] = A[M, K] @ B[K, N] in bfloat16 is cut into work tiles of 128 x 128 elements (32 columns where one
row of tiles is all there is), as TileLang kernels do. Per policy:

- ``tiles``: work tiles of the core with most, over its lower bound (all tiles over all cores, rounded up);
- ``time``: modelled time over its lower bound: the larger of the matrix work shared out evenly over all cores and every
  tensor's bytes moved once, evenly from all DRAM banks;
- ``ms``: planning time.

``ttnn`` is the split of ttnn.split_work_to_cores, where ttnn is installed.

Below, what a launch of a product with a symbolic M costs the host before any executor takes over, in milliseconds: from
the tensors' shapes to every core's runtime arguments, for sizes not seen before and for one that is kept, on this
device and on one of 140 cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import msgspec

from tilelang_tt.devices import Device, load_device
from tilelang_tt.partition import UserSchedule, WorkPartition, partition, plan
from tilelang_tt.partition.planner import plan_cost
from tilelang_tt.partition.workload import cycles_per_tile, placed_buffers, work_grid
from tilelang_tt.program.relaunch import Relaunches
from tilelang_tt.program.spec import DynamicSpec, ProgramSpec, TensorSpec, TensorUseSpec, WorkloadSpec
from tilelang_tt.runtime.placement import launch_args
from tilelang_tt.sizes import SizeExpr

try:
    import ttnn
except ImportError:
    ttnn = None

PREFILL, DECODE = 2048, 32
"""Rows of an activation: tokens of a prompt, and sequences that are decoded together."""

WEIGHTS = {
    "Llama-3.1-8B qkv": (6144, 4096),
    "Llama-3.1-8B out": (4096, 4096),
    "Llama-3.1-8B up": (14336, 4096),
    "Llama-3.1-8B down": (4096, 14336),
    "Llama-3.1-70B qkv": (10240, 8192),
    "Llama-3.1-70B up": (28672, 8192),
    "Llama-3.1-70B down": (8192, 28672),
    "Mixtral-8x7B up": (14336, 4096),
    "Mixtral-8x7B down": (4096, 14336),
    "DeepSeek-V3 q_a": (1536, 7168),
    "DeepSeek-V3 q_b": (24576, 1536),
    "DeepSeek-V3 kv_a": (576, 7168),
    "DeepSeek-V3 expert up": (2048, 7168),
    "DeepSeek-V3 expert down": (7168, 2048),
}
"""N and K of the weights of decoder layers; one expert where there are several."""

FIXED = {
    "Whisper-large-v3 qkv": (1500, 3840, 1280),
    "Whisper-large-v3 up": (1500, 5120, 1280),
    "Whisper-large-v3 down": (1500, 1280, 5120),
    "ResNet-50 conv2 1x1": (3136, 256, 64),
    "ResNet-50 conv2 3x3": (3136, 64, 576),
    "ResNet-50 conv3 3x3": (784, 128, 1152),
    "ResNet-50 conv4 3x3": (196, 256, 2304),
    "ResNet-50 conv5 3x3": (49, 512, 4608),
}
"""M, N and K of encoder layers over 1500 frames, and of convolutions of one 224 x 224 image as products."""


def shapes() -> dict[str, tuple[int, int, int]]:
    found = {}
    for phase, rows in (("prefill", PREFILL), ("decode", DECODE)):
        for name, (n, k) in WEIGHTS.items():
            found[f"{name} {phase}"] = (rows, n, k)
    return found | FIXED


def workload(m: int, n: int, k: int) -> WorkloadSpec:
    bm, bn, bk = min(128, -(-m // 32) * 32), 128 if m > 32 else 32, 64
    uses = (
        ("A", (m, k), ("M", "K"), (bm, bk)),
        ("B", (k, n), ("K", "N"), (bk, bn)),
        ("C", (m, n), ("M", "N"), (bm, bn)),
    )
    tensors = tuple(
        TensorUseSpec(name, shape, "bfloat16", roles, block, name != "C", name == "C", {})
        for name, shape, roles, block in uses
    )
    products = bm // 32 * (bn // 32) * -(-k // 32)
    return WorkloadSpec((-(-n // bn), -(-m // bm), 1), -(-k // bk), products, tensors, {})


def lower_bound(work: WorkloadSpec, device: Device) -> float:
    """Clock cycles that no partition on this device goes below."""
    share = max(1.0, work_grid(work).tiles / len(device.cores))
    moved = sum(2 * -(-size // 32) * 32 * -(-other // 32) * 32 for size, other in (use.shape for use in work.tensors))
    return max(share * cycles_per_tile(work), moved / device.dram_banks / device.dram_bytes_per_cycle)


def by_policy(policy: str, work: WorkloadSpec, device: Device) -> WorkPartition:
    return partition(work_grid(work), work.kt, device, placed_buffers(work), UserSchedule(policy=policy))


def by_plan(work: WorkloadSpec, device: Device) -> WorkPartition:
    made = plan(work, device, UserSchedule()).best.partition
    assert made is not None
    return made


def by_ttnn(work: WorkloadSpec, device: Device) -> WorkPartition:
    columns, rows = device.grid
    grid = work_grid(work)
    _, _, first, second, most, fewer = ttnn.split_work_to_cores(ttnn.CoreCoord(columns, rows), grid.tiles, True)
    counts = [(core, most) for core in ttnn.corerange_to_cores(first, row_wise=True)]
    counts += [(core, fewer) for core in ttnn.corerange_to_cores(second, row_wise=True)] if fewer else []
    ranges, start = [], 0
    for core, count in counts:
        ranges.append((core.x, core.y, core.x, core.y, start, count))
        start += count
    usual = by_policy("contiguous", work, device)
    return replace(usual, core_ranges=tuple(ranges), core_runtime_args=tuple(row[4:] for row in ranges))


def timed(
    make: Callable[[WorkloadSpec, Device], WorkPartition], work: WorkloadSpec, device: Device
) -> tuple[WorkPartition, float]:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        made = make(work, device)
        best = min(best, time.perf_counter() - start)
    return made, 1000 * best


def symbolic_product(policy: str, device: Device) -> ProgramSpec:
    """The data of C[m, 4096] = A[m, 4096] @ B[4096, 4096] in work tiles of 128 x 128, without its kernels."""
    work = workload(1024, 4096, 4096)
    made = by_policy(policy, work, device)
    tensors = tuple(
        TensorSpec(use.name, use.shape, use.dtype, "Float16_b", "DRAM", "out" if use.written else "in")
        for use in work.tensors
    )
    rows = SizeExpr("//", SizeExpr("+", "m", 127), 128)
    dynamic = DynamicSpec(
        sizes={"m": 1024},
        shapes=(("m", 4096), (4096, 4096), ("m", 4096)),
        grid=(32, rows, 1),
        kt=work.kt,
        schedule={"policy": policy},
        cores=device.row_major_cores,
    )
    return ProgramSpec("product", device, tensors, (), (), made.to_spec(), dynamic=dynamic)


def relaunch_times(spec: ProgramSpec) -> tuple[float, float]:
    """Milliseconds for a size not seen before, and for one that was; medians."""
    relaunches = Relaunches(spec)

    def launch(rows: int) -> float:
        start = time.perf_counter()
        launch_args(relaunches.at([(rows, 4096), (4096, 4096), (rows, 4096)]), lambda core: core)
        return 1000 * (time.perf_counter() - start)

    def look_up(rows: int) -> float:
        start = time.perf_counter()
        relaunches.at([(rows, 4096), (4096, 4096), (rows, 4096)])
        return 1000 * (time.perf_counter() - start)

    return median(map(launch, range(5000, 5100))), median(map(look_up, [5000] * 100))


def print_relaunches(device: Device) -> None:
    many = msgspec.structs.replace(
        device, name="14 x 10 grid", cores=tuple((x, y) for y in range(10) for x in range(14)), noc=None
    )
    print(f"\n{'launch at another size, ms':<34}{'policy':<20}{'new':>10}{'kept':>10}")
    for target in (device, many):
        for policy in ("contiguous", "block_2d", "block_cyclic"):
            new, kept = relaunch_times(symbolic_product(policy, target))
            print(f"{f'{target.name}, {len(target.cores)} cores':<34}{policy:<20}{new:>10.3f}{kept:>10.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="wormhole_n150")
    device = load_device(parser.parse_args().device)
    makers: dict[str, Callable[[WorkloadSpec, Device], WorkPartition]] = {
        "contiguous": partial(by_policy, "contiguous"),
        "block_2d": partial(by_policy, "block_2d"),
        "auto": by_plan,
    }
    if ttnn is not None:
        makers["ttnn"] = by_ttnn
    print(f"{device.name}, {len(device.cores)} cores")
    print(f"{'':<34}{'M x N x K':<20}" + "".join(f"{name + ': tiles  time     ms':>33}" for name in makers))
    for name, (m, n, k) in shapes().items():
        work = workload(m, n, k)
        bound, tiles = lower_bound(work, device), -(-work_grid(work).tiles // len(device.cores))
        cells = []
        for make in makers.values():
            made, milliseconds = timed(make, work, device)
            cost = plan_cost(made, work, device)
            cells.append(f"{cost.most_tiles / tiles:>19.2f}{cost.cycles / bound:>7.2f}{milliseconds:>7.2f}")
        print(f"{name:<34}{f'{m} x {n} x {k}':<20}" + "".join(cells))
    print_relaunches(device)


if __name__ == "__main__":
    main()
