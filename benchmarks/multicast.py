"""Matrix products with and without multicast of their operands: DRAM bytes as the emulator counts them, modelled time.

    python benchmarks/multicast.py [--device wormhole_n150]

Per product, in bfloat16: the same plan twice, with every core reading its own blocks and with one core of each row and
column of cores reading for all; and what policy auto chooses. Bytes read from DRAM and the busiest bank's share of them
are counted while the emulator runs the kernels, whose result is compared with numpy; bytes times hops are those of
NoC 0. ``kcycles`` is the cost model's time, and what it says bounds it.
"""

from __future__ import annotations

import argparse
import math

import ml_dtypes
import numpy as np
import tilelang
import tilelang.language as T

import tilelang_tt as tt
from tilelang_tt.devices import Device, load_device

PRODUCTS = (
    ((512, 512, 512), (64, 64, 32)),
    ((1024, 1024, 512), (128, 128, 64)),
    ((1024, 2048, 1024), (128, 256, 32)),
    ((32, 2048, 1024), (32, 32, 64)),
    ((960, 960, 512), (64, 64, 32)),
)
"""M, N and K, and the block of a work tile and reduction step."""

LARGEST_ERROR = 2**-7
"""As a part of the largest output."""


@tilelang.jit
def matmul(m, n, k, bm, bn, bk, dtype="bfloat16"):
    @T.prim_func
    def kernel(A: T.Tensor((m, k), dtype), B: T.Tensor((k, n), dtype), C: T.Tensor((m, n), dtype)):
        with T.Kernel(T.ceildiv(n, bn), T.ceildiv(m, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bk), dtype)
            B_shared = T.alloc_shared((bk, bn), dtype)
            C_local = T.alloc_fragment((bm, bn), "float32")
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(k, bk), num_stages=2):
                T.copy(A[by * bm, ko * bk], A_shared)
                T.copy(B[ko * bk, bx * bn], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[by * bm, bx * bn])

    return kernel


def schedules(shape: tuple[int, int, int], block: tuple[int, int, int], device: Device) -> dict[str, dict]:
    """Rectangles as the cores lie, with and without multicast, and policy auto."""
    columns, rows = device.grid
    mt, nt = math.ceil(shape[0] / block[0]), math.ceil(shape[1] / block[1])
    plain = {"policy": f"block_2d({min(mt, rows)},{min(nt, columns)})"}
    names = [name for name, cores in (("A", min(nt, columns)), ("B", min(mt, rows))) if cores > 1]
    return {"own reads": plain, "multicast": {**plain, "multicast": names}, "auto": {"policy": "auto"}}


def measure(shape: tuple[int, int, int], block: tuple[int, int, int], device: Device) -> None:
    func = matmul.get_tir(*shape, *block)
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(size).astype(ml_dtypes.bfloat16) for size in ((m, k), (k, n)))
    expected = a.astype(np.float32) @ b.astype(np.float32)
    print(f"{m} x {n} x {k}, blocks of {' x '.join(map(str, block))}")
    for label, schedule in schedules(shape, block, device).items():
        try:
            program = tt.compile(func, device, schedule=schedule)
        except tt.TTError as error:
            print(f"  {label:<10} refused: {error.message}")
            continue
        c = np.zeros((m, n), ml_dtypes.bfloat16)
        _, report = program.run(a, b, c, report=True)
        error = np.abs(c.astype(np.float32) - expected).max() / np.abs(expected).max()
        if not error < LARGEST_ERROR:
            raise SystemExit(f"the result is off by {error:.1e} of the largest output")
        plan = program.explain().chosen
        hops = "" if report.noc_byte_hops is None else f"{report.noc_byte_hops[0]:>16,}"
        print(
            f"  {label:<10}{report.noc.dram_read:>14,}{max(report.dram_bank_read):>14,}{report.noc.l1_multicast:>14,}"
            f"{hops}{plan.cost.cycles / 1000:>10,.1f}  {plan.cost.bound:<10} {plan.name}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="wormhole_n150")
    device = load_device(parser.parse_args().device)
    print(f"{device.name}, {len(device.cores)} cores")
    words = ("DRAM bytes", "busiest bank", "multicast", "NoC 0 x hops", "kcycles")
    print(" " * 12 + f"{words[0]:>14}{words[1]:>14}{words[2]:>14}{words[3]:>16}{words[4]:>10}  bound by   plan")
    for shape, block in PRODUCTS:
        measure(shape, block, device)


if __name__ == "__main__":
    main()
