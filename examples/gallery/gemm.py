"""Matrix products: what may follow them, transposed operands, batches, and a reduction that is split over cores."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main

from tilelang_tt.layout import block_sharded

F = torch.nn.functional


@tilelang.jit
def matmul_bias_gelu(M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(
        A: T.Tensor((M, K), dtype),
        B: T.Tensor((K, N), dtype),
        bias: T.Tensor((N,), dtype),
        C: T.Tensor((M, N), dtype),
    ):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block_N), dtype)
            bias_shared = T.alloc_shared((block_N,), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.copy(bias[bx * block_N], bias_shared)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=3):
                T.copy(A[by * block_M, ko * block_K], A_shared)
                T.copy(B[ko * block_K, bx * block_N], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] += bias_shared[j]
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] = (
                    0.5
                    * C_local[i, j]
                    * (
                        1
                        + T.tanh(
                            0.7978845608 * (C_local[i, j] + 0.044715 * C_local[i, j] * C_local[i, j] * C_local[i, j])
                        )
                    )
                )
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def matmul_quick_gelu(M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
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
                C_local[i, j] = C_local[i, j] * T.sigmoid(1.702 * C_local[i, j])
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def matmul_relu_residual(M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(
        A: T.Tensor((M, K), dtype),
        B: T.Tensor((K, N), dtype),
        R: T.Tensor((M, N), dtype),
        C: T.Tensor((M, N), dtype),
    ):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block_N), dtype)
            R_shared = T.alloc_shared((block_M, block_N), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.copy(R[by * block_M, bx * block_N], R_shared)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=3):
                T.copy(A[by * block_M, ko * block_K], A_shared)
                T.copy(B[ko * block_K, bx * block_N], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] = T.max(C_local[i, j], 0) + R_shared[i, j]
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def matmul_nt(M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(A: T.Tensor((M, K), dtype), B: T.Tensor((N, K), dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_N, block_K), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=3):
                T.copy(A[by * block_M, ko * block_K], A_shared)
                T.copy(B[bx * block_N, ko * block_K], B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_B=True)
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def matmul_tn(M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(A: T.Tensor((K, M), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_K, block_M), dtype)
            B_shared = T.alloc_shared((block_K, block_N), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=3):
                T.copy(A[ko * block_K, by * block_M], A_shared)
                T.copy(B[ko * block_K, bx * block_N], B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_A=True)
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def batched_matmul(batch, M, N, K, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(A: T.Tensor((batch, M, K), dtype), B: T.Tensor((batch, K, N), dtype), C: T.Tensor((batch, M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), batch, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block_N), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=3):
                T.copy(A[bz, by * block_M, ko * block_K], A_shared)
                T.copy(B[bz, ko * block_K, bx * block_N], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[bz, by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def matmul_split_k(M, N, K, split_k, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    """Block (bx, by, bz) sums its own part of K; the parts stay apart."""
    part_K = K // split_k

    @T.prim_func
    def kernel(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), parts: T.Tensor((split_k, M, N), accum_dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), split_k, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block_N), dtype)
            C_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(part_K, block_K), num_stages=3):
                T.copy(A[by * block_M, bz * part_K + ko * block_K], A_shared)
                T.copy(B[bz * part_K + ko * block_K, bx * block_N], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, parts[bz, by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def sum_of_parts(M, N, K, split_k, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(parts: T.Tensor((split_k, M, N), accum_dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            part = T.alloc_shared((block_M, block_N), accum_dtype)
            total = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(total)
            for k in T.Pipelined(split_k, num_stages=2):
                T.copy(parts[k, by * block_M, bx * block_N], part)
                for i, j in T.Parallel(block_M, block_N):
                    total[i, j] += part[i, j]
            T.copy(total, C[by * block_M, bx * block_N])

    return kernel


def on_four_cores(M, N, *_):
    return {"C": block_sharded((M, N), (2, 2))}


SHAPES = [(128, 128, 128, 64, 64, 32), (256, 192, 64, 128, 96, 64)]

EXAMPLES = [
    Example(
        [matmul_bias_gelu], SHAPES, lambda a, b, bias: F.gelu(a @ b + bias, approximate="tanh"), sharded=on_four_cores
    ),
    Example([matmul_quick_gelu], SHAPES, lambda a, b: (a @ b) * torch.sigmoid(1.702 * (a @ b)), sharded=on_four_cores),
    Example([matmul_relu_residual], SHAPES, lambda a, b, r: torch.relu(a @ b) + r, sharded=on_four_cores),
    Example([matmul_nt], SHAPES, lambda a, b: a @ b.T, sharded=on_four_cores),
    Example([matmul_tn], SHAPES, lambda a, b: a.T @ b, sharded=on_four_cores),
    Example([batched_matmul], [(3, 64, 96, 64, 32, 32, 32), (2, 128, 64, 64, 64, 64, 64)], torch.matmul),
    Example(
        [matmul_split_k, sum_of_parts], [(64, 64, 256, 4, 32, 32, 32), (128, 64, 192, 2, 64, 64, 32)], torch.matmul
    ),
]

if __name__ == "__main__":
    main(EXAMPLES)
