"""TileLang's quickstart, a GEMM with ReLU, on a Wormhole n150: from DRAM to DRAM, and with its output sharded in L1.

The kernel is plain TileLang; only ``tilelang_tt.compile`` knows where its tensors live. Both programs run on the
embedded emulator and are compared with torch.
"""

import argparse
from pathlib import Path

import tilelang
import tilelang.language as T
import torch
from rich.console import Console
from rich.table import Table

import tilelang_tt as tt
from tilelang_tt.layout import block_sharded


@tilelang.jit(out_idx=[-1])
def matmul_relu(M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block_N), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=3):
                T.copy(A[by * block_M, ko * block_K], A_shared)
                T.copy(B[ko * block_K, bx * block_N], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] = T.max(C_local[i, j], 0)
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


def traffic(reports):
    table = Table(title="Counted by the emulator", title_justify="left")
    table.add_column("bytes", justify="left")
    for mode in reports:
        table.add_column(mode, justify="right")
    rows = {
        "read from DRAM": lambda r: r.noc.dram_read,
        "written to DRAM": lambda r: r.noc.dram_written,
        "to and from other cores' L1": lambda r: r.noc.l1_remote_read + r.noc.l1_remote_written,
        "of C over the network": lambda r: r.tensor_read["C"] + r.tensor_written["C"],
        "busiest DRAM bank, read": lambda r: max(r.dram_bank_read),
        "busiest DRAM bank, written": lambda r: max(r.dram_bank_written),
        "bytes x hops, NoC 0 (reads)": lambda r: r.noc_byte_hops[0],
        "bytes x hops, NoC 1 (writes)": lambda r: r.noc_byte_hops[1],
        "32x32x32 products (a count)": lambda r: r.tiles.products,
    }
    for name, value in rows.items():
        table.add_row(name, *(f"{value(report):,}" for report in reports.values()))
    return table


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", type=int, default=1024, help="M = N = K, a multiple of 128")
    arguments.add_argument("--device", default="wormhole_n150")
    arguments.add_argument("--out", type=Path, default=Path("demo_out"), help="where the programs are written")
    options = arguments.parse_args()
    size, console = options.size, Console(highlight=False)

    func = matmul_relu.get_tir(size, size, size, 128, 128, 32)
    shards = block_sharded((size, size), (size // 128, size // 128))
    programs = {
        "global": tt.compile(func, device=options.device, out_idx=-1),
        "local_shard": tt.compile(func, device=options.device, out_idx=-1, layout={"C": shards}),
    }
    torch.manual_seed(0)
    a, b = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    expected = torch.relu(a.float() @ b.float())

    reports = {}
    for mode, program in programs.items():
        assert program.partition.mode == mode
        c, reports[mode] = program.run(a, b, report=True)
        error = ((c.float() - expected).abs().max() / expected.abs().max()).item()
        console.print(program.partition.core_map(program.spec.device))
        console.print(f"largest error against torch: {error:.1e} of the largest output")
        assert error < 2**-7, "the result is wrong"
        console.print(f"kernels written to {program.save(options.out / mode) / 'kernels'}\n")
    console.print(traffic(reports))


if __name__ == "__main__":
    main()
