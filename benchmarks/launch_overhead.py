"""What calling a cached program costs over a bare ttnn.generic_op with the same descriptor.

``python benchmarks/launch_overhead.py [--launches N]`` needs a Tenstorrent card, or TT_METAL_SIMULATOR. Three ways of
launching one program on the same tensors take turns, so that what disturbs one disturbs all; times are host time per
launch, in microseconds, with everything on the device done before the clock is read. On a simulated chip the launch
itself takes milliseconds; ``host work`` is what the executor adds before it hands over to ttnn, which is the same there
and on a card.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from emulator_programs import COPY, stream_program, tensor

from tilelang_tt.errors import TTError
from tilelang_tt.program import Program
from tilelang_tt.runtime.call import call
from tilelang_tt.runtime.ttnn_executor import TtnnProgram, device_of
from tilelang_tt.runtime.ttnn_executor.devices import close_device, current_device
from tilelang_tt.runtime.ttnn_executor.tensors import allocate, upload
from tilelang_tt.runtime.ttnn_executor.versions import ttnn_api

BATCH = 10
"""Launches between two readings of the clock."""
REPETITIONS = 2000
"""Calls without a launch, for the host's part alone."""


def microseconds(action: Callable[[], object], launches: int) -> float:
    start = time.perf_counter()
    for _ in range(launches):
        action()
    return (time.perf_counter() - start) / launches * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare cached launches with bare ttnn.generic_op calls.")
    parser.add_argument("--launches", type=int, default=200, help="launches of each way")
    launches = parser.parse_args().launches
    try:
        device = current_device()
    except TTError as error:
        print(f"skipped: {error}")
        return 0
    try:
        measure(device, launches)
    finally:
        close_device()
    return 0


def measure(device, launches: int) -> None:
    ttnn, model = ttnn_api().ttnn, device_of(device)
    # One tile per core: the launch is all there is.
    shape = (32, 32 * len(model.cores))
    source, target = (
        tensor(name, shape, np.dtype(ml_dtypes.bfloat16), way) for name, way in (("A", "in"), ("B", "out"))
    )
    spec, sources = stream_program([source], target, COPY, cores=len(model.cores), device=model)
    program, loaded = Program(spec, sources), TtnnProgram(spec, sources, device)
    pairs = [(upload(source, np.ones(shape, np.float32), device), allocate(target, device)) for _ in range(2)]
    descriptor = loaded.descriptor(pairs[0])
    turn = iter(range(10**9))

    def other() -> Sequence[object]:
        return pairs[next(turn) % 2]

    ways: dict[str, Callable[[], object]] = {
        "bare generic_op": lambda: ttnn.generic_op(list(pairs[0]), descriptor),
        "same tensors": lambda: call(program, pairs[0]),
        "other tensors": lambda: call(program, other()),
    }
    for way in ways.values():
        microseconds(way, 2)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(1, launches // BATCH)):
        for name, way in ways.items():
            ttnn.synchronize_device(device)
            start = time.perf_counter()
            for _ in range(BATCH):
                way()
            ttnn.synchronize_device(device)
            times[name].append((time.perf_counter() - start) / BATCH * 1e6)
    bare = statistics.median(times["bare generic_op"])
    print(f"{model.name}, {len(model.cores)} cores, median of {len(times['same tensors'])} batches of {BATCH} launches")
    for name, batches in times.items():
        median = statistics.median(batches)
        print(f"  {name:<16} {median:10.1f} us  {median / bare:5.2f} x bare")
    print("host work before ttnn takes over")
    launch = ttnn.generic_op
    ttnn.generic_op = lambda tensors, descriptor: None
    try:
        for name in ("same tensors", "other tensors"):
            print(f"  {name:<16} {microseconds(ways[name], REPETITIONS):10.1f} us")
    finally:
        ttnn.generic_op = launch


if __name__ == "__main__":
    sys.exit(main())
