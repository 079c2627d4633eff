"""Softmax over rows that fit on chip, softmax over longer ones, and the log-sum-exp that cross-entropy needs."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main

from tilelang_tt.layout import height_sharded

LOG2_E = 1.44269504


@tilelang.jit
def softmax(M, N, block_M, dtype="bfloat16"):
    @T.prim_func
    def kernel(X: T.Tensor((M, N), dtype), Y: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            X_shared = T.alloc_shared((block_M, N), dtype)
            X_local = T.alloc_fragment((block_M, N), "float32")
            row_max = T.alloc_fragment((block_M,), "float32")
            row_sum = T.alloc_fragment((block_M,), "float32")
            T.copy(X[bx * block_M, 0], X_shared)
            T.copy(X_shared, X_local)
            T.reduce_max(X_local, row_max, dim=1)
            for i, j in T.Parallel(block_M, N):
                X_local[i, j] = T.exp(X_local[i, j] - row_max[i])
            T.reduce_sum(X_local, row_sum, dim=1)
            for i, j in T.Parallel(block_M, N):
                X_local[i, j] /= row_sum[i]
            T.copy(X_local, Y[bx * block_M, 0])

    return kernel


@tilelang.jit
def online_softmax(M, N, block_M, block_N, dtype="bfloat16"):
    """One pass for the maximum and the sum, rescaled as the maximum grows, and one that writes."""

    @T.prim_func
    def kernel(X: T.Tensor((M, N), dtype), Y: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            X_shared = T.alloc_shared((block_M, block_N), dtype)
            X_local = T.alloc_fragment((block_M, block_N), "float32")
            row_max = T.alloc_fragment((block_M,), "float32")
            new_max = T.alloc_fragment((block_M,), "float32")
            block_sum = T.alloc_fragment((block_M,), "float32")
            row_sum = T.alloc_fragment((block_M,), "float32")
            T.fill(row_max, -T.infinity("float32"))
            T.fill(row_sum, 0)
            for k in T.Pipelined(T.ceildiv(N, block_N), num_stages=2):
                T.copy(X[bx * block_M, k * block_N], X_shared)
                T.copy(X_shared, X_local)
                T.reduce_max(X_local, new_max, dim=1)
                for i in T.Parallel(block_M):
                    new_max[i] = T.max(new_max[i], row_max[i])
                for i, j in T.Parallel(block_M, block_N):
                    X_local[i, j] = T.exp2((X_local[i, j] - new_max[i]) * LOG2_E)
                T.reduce_sum(X_local, block_sum, dim=1)
                for i in T.Parallel(block_M):
                    row_sum[i] = row_sum[i] * T.exp2((row_max[i] - new_max[i]) * LOG2_E) + block_sum[i]
                T.copy(new_max, row_max)
            for k in T.Pipelined(T.ceildiv(N, block_N), num_stages=2):
                T.copy(X[bx * block_M, k * block_N], X_shared)
                for i, j in T.Parallel(block_M, block_N):
                    X_local[i, j] = T.exp2((X_shared[i, j] - row_max[i]) * LOG2_E) / row_sum[i]
                T.copy(X_local, Y[bx * block_M, k * block_N])

    return kernel


@tilelang.jit
def cross_entropy(M, N, block_M, dtype="bfloat16"):
    """The loss of each row of logits X against the probabilities P that it should have."""

    @T.prim_func
    def kernel(X: T.Tensor((M, N), dtype), P: T.Tensor((M, N), dtype), loss: T.Tensor((M,), "float32")):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            X_shared = T.alloc_shared((block_M, N), dtype)
            P_shared = T.alloc_shared((block_M, N), dtype)
            work = T.alloc_fragment((block_M, N), "float32")
            row_max = T.alloc_fragment((block_M,), "float32")
            row_sum = T.alloc_fragment((block_M,), "float32")
            result = T.alloc_fragment((block_M,), "float32")
            T.copy(X[bx * block_M, 0], X_shared)
            T.copy(P[bx * block_M, 0], P_shared)
            T.copy(X_shared, work)
            T.reduce_max(work, row_max, dim=1)
            for i, j in T.Parallel(block_M, N):
                work[i, j] = T.exp(work[i, j] - row_max[i])
            T.reduce_sum(work, row_sum, dim=1)
            for i in T.Parallel(block_M):
                row_sum[i] = T.log(row_sum[i]) + row_max[i]
            for i, j in T.Parallel(block_M, N):
                work[i, j] = P_shared[i, j] * (row_sum[i] - X_shared[i, j])
            T.reduce_sum(work, result, dim=1)
            T.copy(result, loss[bx * block_M])

    return kernel


def rows_on_two_cores(M, N, *_):
    return {name: height_sharded((M, N), 2, axes=("N", "K")) for name in "XY"}


def cross_entropy_reference(logits, probabilities):
    return -(probabilities * torch.log_softmax(logits, 1)).sum(1)


EXAMPLES = [
    Example([softmax], [(64, 128, 32), (128, 256, 64)], lambda x: torch.softmax(x, 1), sharded=rows_on_two_cores),
    Example(
        [online_softmax],
        [(64, 256, 32, 64), (128, 384, 64, 128)],
        lambda x: torch.softmax(x, 1),
        sharded=rows_on_two_cores,
    ),
    Example([cross_entropy], [(64, 128, 32), (128, 96, 64)], cross_entropy_reference),
]

if __name__ == "__main__":
    main(EXAMPLES)
