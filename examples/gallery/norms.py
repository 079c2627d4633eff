"""RMSNorm and LayerNorm, with a weight (and a bias) for each column."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main

from tilelang_tt.layout import height_sharded

EPSILON = 1e-5
F = torch.nn.functional


@tilelang.jit
def rms_norm(M, N, block_M, dtype="bfloat16"):
    @T.prim_func
    def kernel(X: T.Tensor((M, N), dtype), weight: T.Tensor((N,), dtype), Y: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            X_shared = T.alloc_shared((block_M, N), dtype)
            weight_shared = T.alloc_shared((N,), dtype)
            X_local = T.alloc_fragment((block_M, N), "float32")
            squares = T.alloc_fragment((block_M, N), "float32")
            scale = T.alloc_fragment((block_M,), "float32")
            T.copy(X[bx * block_M : (bx + 1) * block_M, :], X_shared)
            T.copy(weight, weight_shared)
            T.copy(X_shared, X_local)
            for i, j in T.Parallel(block_M, N):
                squares[i, j] = X_local[i, j] * X_local[i, j]
            T.reduce_sum(squares, scale, dim=1)
            for i in T.Parallel(block_M):
                scale[i] = T.rsqrt(scale[i] / N + EPSILON)
            for i, j in T.Parallel(block_M, N):
                X_local[i, j] *= scale[i] * weight_shared[j]
            T.copy(X_local, Y[bx * block_M : (bx + 1) * block_M, :])

    return kernel


@tilelang.jit
def rms_norm_split(M, N, block_M, block_N, dtype="bfloat16"):
    """For rows that do not fit on chip: one pass sums the squares, another scales."""

    @T.prim_func
    def kernel(X: T.Tensor((M, N), dtype), weight: T.Tensor((N,), dtype), Y: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            X_shared = T.alloc_shared((block_M, block_N), dtype)
            weight_shared = T.alloc_shared((block_N,), dtype)
            squares = T.alloc_fragment((block_M, block_N), "float32")
            scale = T.alloc_fragment((block_M,), "float32")
            T.clear(squares)
            for k in T.serial(T.ceildiv(N, block_N)):
                T.copy(X[bx * block_M, k * block_N], X_shared)
                for i, j in T.Parallel(block_M, block_N):
                    squares[i, j] += X_shared[i, j] * X_shared[i, j]
            T.reduce_sum(squares, scale, dim=1)
            for i in T.Parallel(block_M):
                scale[i] = T.rsqrt(scale[i] / N + EPSILON)
            for k in T.serial(T.ceildiv(N, block_N)):
                T.copy(X[bx * block_M, k * block_N], X_shared)
                T.copy(weight[k * block_N], weight_shared)
                for i, j in T.Parallel(block_M, block_N):
                    X_shared[i, j] *= scale[i] * weight_shared[j]
                T.copy(X_shared, Y[bx * block_M, k * block_N])

    return kernel


@tilelang.jit
def layer_norm(M, N, block_M, dtype="bfloat16"):
    @T.prim_func
    def kernel(
        X: T.Tensor((M, N), dtype),
        weight: T.Tensor((N,), dtype),
        bias: T.Tensor((N,), dtype),
        Y: T.Tensor((M, N), dtype),
    ):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            X_shared = T.alloc_shared((block_M, N), dtype)
            weight_shared = T.alloc_shared((N,), dtype)
            bias_shared = T.alloc_shared((N,), dtype)
            X_local = T.alloc_fragment((block_M, N), "float32")
            squares = T.alloc_fragment((block_M, N), "float32")
            mean = T.alloc_fragment((block_M,), "float32")
            scale = T.alloc_fragment((block_M,), "float32")
            T.copy(X[bx * block_M, 0], X_shared)
            T.copy(weight, weight_shared)
            T.copy(bias, bias_shared)
            T.copy(X_shared, X_local)
            T.reduce_sum(X_local, mean, dim=1)
            for i in T.Parallel(block_M):
                mean[i] /= N
            for i, j in T.Parallel(block_M, N):
                X_local[i, j] -= mean[i]
            for i, j in T.Parallel(block_M, N):
                squares[i, j] = X_local[i, j] * X_local[i, j]
            T.reduce_sum(squares, scale, dim=1)
            for i in T.Parallel(block_M):
                scale[i] = T.rsqrt(scale[i] / N + EPSILON)
            for i, j in T.Parallel(block_M, N):
                X_local[i, j] = X_local[i, j] * scale[i] * weight_shared[j] + bias_shared[j]
            T.copy(X_local, Y[bx * block_M, 0])

    return kernel


def rms_norm_reference(x, weight):
    return F.rms_norm(x, x.shape[1:], weight, EPSILON)


def layer_norm_reference(x, weight, bias):
    return F.layer_norm(x, x.shape[1:], weight, bias, EPSILON)


def rows_on_two_cores(M, N, *_):
    return {name: height_sharded((M, N), 2, axes=("N", "K")) for name in "XY"}


SHAPES = [(64, 128, 32), (128, 256, 64)]

EXAMPLES = [
    Example([rms_norm], SHAPES, rms_norm_reference, sharded=rows_on_two_cores),
    Example([rms_norm_split], [(64, 256, 32, 64), (128, 384, 64, 128)], rms_norm_reference, sharded=rows_on_two_cores),
    Example([layer_norm], SHAPES, layer_norm_reference, sharded=rows_on_two_cores),
]

if __name__ == "__main__":
    main(EXAMPLES)
