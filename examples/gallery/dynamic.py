"""Sizes that are known only at launch: one compiled program for every number of rows."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main


@tilelang.jit
def matmul_relu_of_any_rows(N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    M = T.dynamic("m")

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


@tilelang.jit
def mean_over_any_length(N, block_N, block_L, dtype="bfloat16", accum_dtype="float32"):
    """Of every row, whatever their number and length: what lies past the end reads as zero, and does not count."""
    M, L = T.dynamic("m"), T.dynamic("length")

    @T.prim_func
    def kernel(A: T.Tensor((M, L, N), dtype), means: T.Tensor((M, N), accum_dtype)):
        with T.Kernel(T.ceildiv(N, block_N), M, threads=128) as (bx, by):
            block = T.alloc_fragment((block_L, block_N), accum_dtype)
            total = T.alloc_fragment((block_N,), accum_dtype)
            T.clear(total)
            for k in T.serial(T.ceildiv(L, block_L)):
                T.copy(A[by, k * block_L, bx * block_N], block)
                T.reduce_sum(block, total, dim=0, clear=False)
            for j in T.Parallel(block_N):
                total[j] = total[j] / L
            T.copy(total, means[by, bx * block_N])

    return kernel


EXAMPLES = [
    Example(
        [matmul_relu_of_any_rows],
        [(128, 96, 64, 64, 32), (192, 64, 32, 96, 64)],
        lambda a, b: torch.relu(a @ b),
        sizes=[{"m": 256}, {"m": 100}, {"m": 1}],
    ),
    Example(
        [mean_over_any_length],
        [(64, 32, 64)],
        lambda a: a.mean(1),
        sizes=[{"m": 4, "length": 128}, {"m": 1, "length": 33}, {"m": 70, "length": 100}],
    ),
]

if __name__ == "__main__":
    main(EXAMPLES)
