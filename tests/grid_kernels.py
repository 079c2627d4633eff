"""Functions that launch several grids, and such as allocate device memory, with what they compute."""

import tilelang
import tilelang.language as T


@tilelang.jit
def scaled_then_shifted(m, n, block, dtype="float32"):
    """B = A * s + 1, by way of device memory, in blocks of rows and columns, then in rows."""

    @T.prim_func
    def scaled_then_shifted(A: T.Tensor((m, n), dtype), B: T.Tensor((m, n), dtype), s: T.float32):
        W = T.alloc_global((m, n), dtype)
        with T.Kernel(T.ceildiv(n, block), T.ceildiv(m, block), threads=128) as (bx, by):
            S = T.alloc_shared((block, block), dtype)
            T.copy(A[by * block, bx * block], S)
            for i, j in T.Parallel(block, block):
                S[i, j] = S[i, j] * s
            T.copy(S, W[by * block, bx * block])
        with T.Kernel(T.ceildiv(m, block), threads=128) as bx:
            S = T.alloc_shared((block, n), dtype)
            T.copy(W[bx * block, 0], S)
            for i, j in T.Parallel(block, n):
                S[i, j] = S[i, j] + 1.0
            T.copy(S, B[bx * block, 0])

    return scaled_then_shifted


@tilelang.jit
def two_products(m, n, k, p, block, dtype="bfloat16"):
    """D = (A @ B) @ C; the first product is a parameter."""

    @T.prim_func
    def two_products(
        A: T.Tensor((m, k), dtype),
        B: T.Tensor((k, n), dtype),
        C: T.Tensor((n, p), dtype),
        AB: T.Tensor((m, n), dtype),
        D: T.Tensor((m, p), dtype),
    ):
        with T.Kernel(n // block, m // block, threads=128) as (bx, by):
            A_shared = T.alloc_shared((block, 32), dtype)
            B_shared = T.alloc_shared((32, block), dtype)
            acc = T.alloc_fragment((block, block), "float32")
            T.clear(acc)
            for i in T.Pipelined(k // 32, num_stages=2):
                T.copy(A[by * block, i * 32], A_shared)
                T.copy(B[i * 32, bx * block], B_shared)
                T.gemm(A_shared, B_shared, acc)
            T.copy(acc, AB[by * block, bx * block])
        with T.Kernel(p // block, m // block, threads=128) as (bx, by):
            A_shared = T.alloc_shared((block, 32), dtype)
            B_shared = T.alloc_shared((32, block), dtype)
            acc = T.alloc_fragment((block, block), "float32")
            T.clear(acc)
            for i in T.Pipelined(n // 32, num_stages=2):
                T.copy(AB[by * block, i * 32], A_shared)
                T.copy(C[i * 32, bx * block], B_shared)
                T.gemm(A_shared, B_shared, acc)
            T.copy(acc, D[by * block, bx * block])

    return two_products


@tilelang.jit
def heads_in_turn(batch, seq, heads, dim, block, dtype="float32"):
    """The sum over heads of A[b, s, h, d] * (h + 1): heads are blocks in the first grid, a loop in the second."""

    @T.prim_func
    def heads_in_turn(A: T.Tensor((batch, seq, heads, dim), dtype), B: T.Tensor((batch, seq, dim), dtype)):
        W = T.alloc_global((batch, seq, heads, dim), dtype)
        with T.Kernel(seq // block, heads, batch, threads=128) as (bx, by, bz):
            S = T.alloc_shared((block, dim), dtype)
            T.copy(A[bz, bx * block : (bx + 1) * block, by, :], S)
            for i, j in T.Parallel(block, dim):
                S[i, j] = S[i, j] * T.cast(by + 1, dtype)
            T.copy(S, W[bz, bx * block : (bx + 1) * block, by, :])
        with T.Kernel(seq // block, batch, threads=128) as (bx, bz):
            S = T.alloc_shared((block, dim), dtype)
            total = T.alloc_fragment((block, dim), "float32")
            T.clear(total)
            for h in T.serial(heads):
                T.copy(W[bz, bx * block : (bx + 1) * block, h, :], S)
                for i, j in T.Parallel(block, dim):
                    total[i, j] += S[i, j]
            T.copy(total, B[bz, bx * block : (bx + 1) * block, :])

    return heads_in_turn


@tilelang.jit
def sums_then_shares(n, block, dtype="float32"):
    """A divided by the sums of its rows, of as many rows as A has at launch; the sums are device memory."""
    m = T.dynamic("m")

    @T.prim_func
    def sums_then_shares(A: T.Tensor((m, n), dtype), B: T.Tensor((m, n), dtype)):
        sums = T.alloc_global((m,), dtype)
        with T.Kernel(T.ceildiv(m, block), threads=128) as bx:
            S = T.alloc_shared((block, n), dtype)
            total = T.alloc_fragment((block,), dtype)
            T.copy(A[bx * block, 0], S)
            T.reduce_sum(S, total, dim=1)
            T.copy(total, sums[bx * block])
        with T.Kernel(T.ceildiv(n, block), T.ceildiv(m, block), threads=128) as (bx, by):
            S = T.alloc_shared((block, block), dtype)
            total = T.alloc_shared((block,), dtype)
            T.copy(A[by * block, bx * block], S)
            T.copy(sums[by * block], total)
            for i, j in T.Parallel(block, block):
                S[i, j] = S[i, j] / total[i]
            T.copy(S, B[by * block, bx * block])

    return sums_then_shares


@tilelang.jit
def rows_told_elsewhere(block, dtype="float32"):
    """C = the sum of A's rows, in every row; the second grid has the number of rows of A, but no use for A."""
    m, k = T.dynamic("m"), T.dynamic("k")

    @T.prim_func
    def rows_told_elsewhere(A: T.Tensor((m, 32), dtype), B: T.Tensor((k, 32), dtype), C: T.Tensor((k, 32), dtype)):
        with T.Kernel(T.ceildiv(m, block), threads=128) as bx:
            S = T.alloc_shared((block, 32), dtype)
            T.copy(A[bx * block, 0], S)
            for i, j in T.Parallel(block, 32):
                S[i, j] = S[i, j] + 1.0
            T.copy(S, A[bx * block, 0])
        with T.Kernel(T.ceildiv(k, block), threads=128) as bx:
            S = T.alloc_shared((block, 32), dtype)
            total = T.alloc_fragment((block, 32), dtype)
            T.copy(B[bx * block, 0], S)
            T.clear(total)
            for _ in T.serial(m):
                for i, j in T.Parallel(block, 32):
                    total[i, j] += S[i, j]
            T.copy(total, C[bx * block, 0])

    return rows_told_elsewhere


@tilelang.jit
def one_grid(m, block, dtype="float32"):
    """A copy."""

    @T.prim_func
    def one_grid(A: T.Tensor((m, 32), dtype), B: T.Tensor((m, 32), dtype)):
        with T.Kernel(m // block, threads=128) as bx:
            S = T.alloc_shared((block, 32), dtype)
            T.copy(A[bx * block, 0], S)
            T.copy(S, B[bx * block, 0])

    return one_grid


@tilelang.jit
def half_written(m, block, dtype="float32"):
    """A copy by way of device memory, of which only the first block is written."""

    @T.prim_func
    def half_written(A: T.Tensor((m, 32), dtype), B: T.Tensor((m, 32), dtype)):
        W = T.alloc_global((m, 32), dtype)
        with T.Kernel(1, threads=128):
            S = T.alloc_shared((block, 32), dtype)
            T.copy(A[0:block, 0:32], S)
            T.copy(S, W[0:block, 0:32])
        with T.Kernel(m // block, threads=128) as bx:
            S = T.alloc_shared((block, 32), dtype)
            T.copy(W[bx * block, 0], S)
            T.copy(S, B[bx * block, 0])

    return half_written


@tilelang.jit
def never_written(m, block, dtype="float32"):
    """A copy of device memory that holds nothing."""

    @T.prim_func
    def never_written(A: T.Tensor((m, 32), dtype)):
        W = T.alloc_global((m, 32), dtype)
        with T.Kernel(m // block, threads=128) as bx:
            S = T.alloc_shared((block, 32), dtype)
            T.copy(W[bx * block, 0], S)
            T.copy(S, A[bx * block, 0])

    return never_written
