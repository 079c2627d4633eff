"""Time of the partition engine and of the passes, against cores and against work tiles.

    python benchmarks/passes.py

The engine (partition and its proof) takes plain values and any number of cores; the passes take a TileLang kernel of so
many work tiles on a Wormhole n150. Both should be flat in tiles. Best of five, in milliseconds of processor time.
"""

import time
from collections.abc import Callable

from tilelang_tt.devices import Device, load_device
from tilelang_tt.partition import UserSchedule, WorkGrid, partition, repartition

CORE_GRIDS = ((4, 2), (8, 8), (14, 10), (32, 35), (64, 70))
"""Columns and rows: 8 to 4480 cores."""
TILES = tuple(10**power for power in range(2, 9))
POLICIES = ("contiguous", "block_2d", "block_cyclic")


def milliseconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1000 * best


def device_of(columns: int, rows: int) -> Device:
    rates = {"dram_bytes_per_cycle": 1.0, "noc_link_bytes_per_cycle": 1.0, "core_port_bytes_per_cycle": 1.0}
    cores = tuple((x, y) for y in range(rows) for x in range(columns))
    return Device(
        name=f"{columns}x{rows}", arch="wormhole", cores=cores, l1_bytes=1 << 20, dram_banks=8, clock_ghz=1.0, **rates
    )


def plane(tiles: int) -> WorkGrid:
    """A plane of about so many work tiles, as square as powers of ten allow."""
    side = 10 ** (len(str(tiles)) // 2)
    return WorkGrid(gx=side, gy=tiles // side)


def engine(tiles: int, device: Device, policy: str) -> float:
    schedule = UserSchedule(policy=policy)
    return milliseconds(lambda: partition(plane(tiles), 8, device, schedule=schedule).verify(device))


def at_launch(columns: int, rows: int, policy: str) -> float:
    device = device_of(columns, rows)
    made = partition(plane(100), 8, device, schedule=UserSchedule(policy=policy))
    return milliseconds(lambda: repartition(made, plane(10**8), device))


def passes(tiles: int) -> float:
    import tilelang
    import tilelang.language as T
    from tilelang import tvm

    from tilelang_tt.transform import TTPipeline

    grid = plane(tiles)
    rows, columns = grid.mt * 32, grid.nt * 32

    @tilelang.jit
    def copy():
        @T.prim_func
        def main(A: T.Tensor((rows, columns), "bfloat16"), B: T.Tensor((rows, columns), "bfloat16")):
            with T.Kernel(grid.nt, grid.mt, threads=128) as (bx, by):
                shared = T.alloc_shared((32, 32), "bfloat16")
                T.copy(A[by * 32, bx * 32], shared)
                T.copy(shared, B[by * 32, bx * 32])

        return main

    module = tvm.IRModule({"main": copy.get_tir()})
    pipeline = TTPipeline(load_device("wormhole_n150"))
    return milliseconds(lambda: pipeline(module))


def main() -> None:
    print("engine, 64 cores:     " + "".join(f"{f'10^{len(str(tiles)) - 1}':>9}" for tiles in TILES) + "  work tiles")
    for policy in POLICIES:
        print(f"  {policy:<20}" + "".join(f"{engine(tiles, device_of(8, 8), policy):>9.3f}" for tiles in TILES))
    print("engine, 10^8 tiles:   " + "".join(f"{columns * rows:>9}" for columns, rows in CORE_GRIDS) + "  cores")
    for policy in POLICIES:
        cells = (engine(10**8, device_of(columns, rows), policy) for columns, rows in CORE_GRIDS)
        print(f"  {policy:<20}" + "".join(f"{cell:>9.3f}" for cell in cells))
    print("repartition at launch")
    for policy in POLICIES:
        cells = (at_launch(columns, rows, policy) for columns, rows in CORE_GRIDS)
        print(f"  {policy:<20}" + "".join(f"{cell:>9.3f}" for cell in cells))
    print(f"  {'all passes, 64 cores':<20}" + "".join(f"{passes(tiles):>9.1f}" for tiles in TILES) + "  by work tiles")


if __name__ == "__main__":
    main()
