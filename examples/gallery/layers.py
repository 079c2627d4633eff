"""Layers of a transformer: rotary positions, the SwiGLU MLP, and matrix-vector products."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main

from tilelang_tt.layout import height_sharded


@tilelang.jit
def rope(M, N, block_M, dtype="bfloat16"):
    """Rotate half: the two halves of a row are the parts of N / 2 planes, turned by each row's own angles."""
    half = N // 2

    @T.prim_func
    def kernel(
        X: T.Tensor((M, N), dtype),
        cos: T.Tensor((M, half), dtype),
        sin: T.Tensor((M, half), dtype),
        Y: T.Tensor((M, N), dtype),
    ):
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            first = T.alloc_shared((block_M, half), dtype)
            second = T.alloc_shared((block_M, half), dtype)
            cos_shared = T.alloc_shared((block_M, half), dtype)
            sin_shared = T.alloc_shared((block_M, half), dtype)
            out = T.alloc_fragment((block_M, half), "float32")
            T.copy(X[bx * block_M, 0], first)
            T.copy(X[bx * block_M, half], second)
            T.copy(cos[bx * block_M, 0], cos_shared)
            T.copy(sin[bx * block_M, 0], sin_shared)
            for i, j in T.Parallel(block_M, half):
                out[i, j] = first[i, j] * cos_shared[i, j] - second[i, j] * sin_shared[i, j]
            T.copy(out, Y[bx * block_M, 0])
            for i, j in T.Parallel(block_M, half):
                out[i, j] = second[i, j] * cos_shared[i, j] + first[i, j] * sin_shared[i, j]
            T.copy(out, Y[bx * block_M, half])

    return kernel


def rope_reference(x, cos, sin):
    first, second = x.chunk(2, 1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], 1)


@tilelang.jit
def swiglu(M, hidden, inner, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    """silu(X W_gate) * (X W_up): two products over the same blocks of X."""

    @T.prim_func
    def kernel(
        X: T.Tensor((M, hidden), dtype),
        W_gate: T.Tensor((hidden, inner), dtype),
        W_up: T.Tensor((hidden, inner), dtype),
        H: T.Tensor((M, inner), dtype),
    ):
        with T.Kernel(T.ceildiv(inner, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            X_shared = T.alloc_shared((block_M, block_K), dtype)
            gate_shared = T.alloc_shared((block_K, block_N), dtype)
            up_shared = T.alloc_shared((block_K, block_N), dtype)
            gate = T.alloc_fragment((block_M, block_N), accum_dtype)
            up = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(gate)
            T.clear(up)
            for k in T.Pipelined(T.ceildiv(hidden, block_K), num_stages=2):
                T.copy(X[by * block_M, k * block_K], X_shared)
                T.copy(W_gate[k * block_K, bx * block_N], gate_shared)
                T.copy(W_up[k * block_K, bx * block_N], up_shared)
                T.gemm(X_shared, gate_shared, gate)
                T.gemm(X_shared, up_shared, up)
            for i, j in T.Parallel(block_M, block_N):
                up[i, j] = up[i, j] * gate[i, j] * T.sigmoid(gate[i, j])
            T.copy(up, H[by * block_M, bx * block_N])

    return kernel


@tilelang.jit
def down_projection(M, hidden, inner, block_M, block_N, block_K, dtype="bfloat16", accum_dtype="float32"):
    @T.prim_func
    def kernel(
        H: T.Tensor((M, inner), dtype), W_down: T.Tensor((inner, hidden), dtype), Y: T.Tensor((M, hidden), dtype)
    ):
        with T.Kernel(T.ceildiv(hidden, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            H_shared = T.alloc_shared((block_M, block_K), dtype)
            W_shared = T.alloc_shared((block_K, block_N), dtype)
            Y_local = T.alloc_fragment((block_M, block_N), accum_dtype)
            T.clear(Y_local)
            for k in T.Pipelined(T.ceildiv(inner, block_K), num_stages=2):
                T.copy(H[by * block_M, k * block_K], H_shared)
                T.copy(W_down[k * block_K, bx * block_N], W_shared)
                T.gemm(H_shared, W_shared, Y_local)
            T.copy(Y_local, Y[by * block_M, bx * block_N])

    return kernel


def mlp_reference(x, gate, up, down):
    return (torch.nn.functional.silu(x @ gate) * (x @ up)) @ down


@tilelang.jit
def gemv(N, K, block_N, block_K, dtype="bfloat16"):
    """y = B x on the vector engine: products with the row vector x, summed along the rows."""

    @T.prim_func
    def kernel(x: T.Tensor((K,), dtype), B: T.Tensor((N, K), dtype), y: T.Tensor((N,), "float32")):
        with T.Kernel(T.ceildiv(N, block_N), threads=128) as bx:
            x_shared = T.alloc_shared((block_K,), dtype)
            B_shared = T.alloc_shared((block_N, block_K), dtype)
            products = T.alloc_fragment((block_N, block_K), "float32")
            y_local = T.alloc_fragment((block_N,), "float32")
            T.clear(products)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(x[k * block_K], x_shared)
                T.copy(B[bx * block_N, k * block_K], B_shared)
                for i, j in T.Parallel(block_N, block_K):
                    products[i, j] += B_shared[i, j] * x_shared[j]
            T.reduce_sum(products, y_local, dim=1)
            T.copy(y_local, y[bx * block_N])

    return kernel


@tilelang.jit
def gemv_on_matrix_engine(N, K, block_N, block_K, dtype="bfloat16"):
    """y = B x as a product with 32 rows, of which the first is x: what a hardware tile holds anyway."""

    @T.prim_func
    def kernel(x: T.Tensor((32, K), dtype), B: T.Tensor((N, K), dtype), y: T.Tensor((32, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), threads=128) as bx:
            x_shared = T.alloc_shared((32, block_K), dtype)
            B_shared = T.alloc_shared((block_N, block_K), dtype)
            y_local = T.alloc_fragment((32, block_N), "float32")
            T.clear(y_local)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(x[0, k * block_K], x_shared)
                T.copy(B[bx * block_N, k * block_K], B_shared)
                T.gemm(x_shared, B_shared, y_local, transpose_B=True)
            T.copy(y_local, y[0, bx * block_N])

    return kernel


def rows_on_two_cores(M, N, *_):
    return {name: height_sharded((M, N), 2, axes=("N", "K")) for name in "XY"}


EXAMPLES = [
    Example([rope], [(64, 128, 32), (128, 64, 64)], rope_reference, sharded=rows_on_two_cores),
    Example(
        [swiglu, down_projection],
        [(64, 64, 128, 32, 64, 32), (128, 128, 192, 64, 64, 64)],
        mlp_reference,
        tolerance=2**-7,
    ),
    Example([gemv], [(64, 256, 32, 64), (128, 128, 64, 128)], lambda x, b: b @ x),
    Example([gemv_on_matrix_engine], [(64, 256, 32, 64), (128, 128, 64, 128)], lambda x, b: x @ b.T),
]

if __name__ == "__main__":
    main(EXAMPLES)
