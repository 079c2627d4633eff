"""Element-wise chains, each a single pass over its tensors."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main

from tilelang_tt.layout import block_sharded

F = torch.nn.functional


@tilelang.jit
def elementwise_add(M, N, block_M, block_N, dtype="bfloat16"):
    @T.prim_func
    def kernel(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_N), dtype)
            B_shared = T.alloc_shared((block_M, block_N), dtype)
            C_local = T.alloc_fragment((block_M, block_N), dtype)
            T.copy(A[by * block_M, bx * block_N], A_shared)
            T.copy(B[by * block_M, bx * block_N], B_shared)
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] = A_shared[i, j] + B_shared[i, j]
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def silu_and_mul(M, N, block_M, block_N, dtype="bfloat16"):
    @T.prim_func
    def kernel(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_local = T.alloc_fragment((block_M, block_N), dtype)
            B_local = T.alloc_fragment((block_M, block_N), dtype)
            T.copy(A[by * block_M, bx * block_N], A_local)
            T.copy(B[by * block_M, bx * block_N], B_local)
            for i, j in T.Parallel(block_M, block_N):
                C[by * block_M + i, bx * block_N + j] = A_local[i, j] / (1.0 + T.exp(-A_local[i, j])) * B_local[i, j]

    return kernel


@tilelang.jit
def leaky_relu_affine(M, N, block_M, block_N, dtype="bfloat16"):
    """A scale and a shift per column, then a leaky ReLU."""

    @T.prim_func
    def kernel(
        A: T.Tensor((M, N), dtype),
        scale: T.Tensor((N,), dtype),
        shift: T.Tensor((N,), dtype),
        C: T.Tensor((M, N), dtype),
    ):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_N), dtype)
            scale_shared = T.alloc_shared((block_N,), dtype)
            shift_shared = T.alloc_shared((block_N,), dtype)
            C_local = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(A[by * block_M, bx * block_N], A_shared)
            T.copy(scale[bx * block_N], scale_shared)
            T.copy(shift[bx * block_N], shift_shared)
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] = A_shared[i, j] * scale_shared[j] + shift_shared[j]
            for i, j in T.Parallel(block_M, block_N):
                C_local[i, j] = T.if_then_else(C_local[i, j] > 0, C_local[i, j], 0.01 * C_local[i, j])
            T.copy(C_local, C[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def momentum_step(M, N, block_M, block_N, dtype="bfloat16"):
    """Momentum and weights after one step of gradient descent: two outputs of one pass."""

    @T.prim_func
    def kernel(
        G: T.Tensor((M, N), dtype),
        V: T.Tensor((M, N), "float32"),
        W: T.Tensor((M, N), "float32"),
        V_new: T.Tensor((M, N), "float32"),
        W_new: T.Tensor((M, N), "float32"),
    ):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            G_shared = T.alloc_shared((block_M, block_N), dtype)
            V_shared = T.alloc_shared((block_M, block_N), "float32")
            W_shared = T.alloc_shared((block_M, block_N), "float32")
            V_local = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(G[by * block_M, bx * block_N], G_shared)
            T.copy(V[by * block_M, bx * block_N], V_shared)
            T.copy(W[by * block_M, bx * block_N], W_shared)
            for i, j in T.Parallel(block_M, block_N):
                V_local[i, j] = 0.9 * V_shared[i, j] + G_shared[i, j]
            for i, j in T.Parallel(block_M, block_N):
                W_shared[i, j] -= 0.1 * V_local[i, j]
            T.copy(V_local, V_new[by * block_M, bx * block_N])
            T.copy(W_shared, W_new[by * block_M, bx * block_N])

    return kernel


def momentum_reference(g, v, w):
    velocity = 0.9 * v + g
    return velocity, w - 0.1 * velocity


def on_four_cores(M, N, *_):
    return {name: block_sharded((M, N), (2, 2)) for name in "AC"}


SHAPES = [(128, 128, 32, 64), (256, 192, 64, 96)]

EXAMPLES = [
    Example([elementwise_add], SHAPES, torch.add, sharded=on_four_cores),
    Example([silu_and_mul], SHAPES, lambda a, b: F.silu(a) * b, sharded=on_four_cores),
    Example([leaky_relu_affine], SHAPES, lambda a, s, t: F.leaky_relu(a * s + t), sharded=on_four_cores),
    Example([momentum_step], SHAPES, momentum_reference, outputs=(-2, -1)),
]

if __name__ == "__main__":
    main(EXAMPLES)
