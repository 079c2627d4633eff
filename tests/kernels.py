"""The TileLang kernels that the tests compile, written as TileLang's own examples write theirs."""

import tilelang
import tilelang.language as T


@tilelang.jit
def gemm(M, N, K, bm, bn, bk, dtype="bfloat16", out_dtype=None, stages=2, relu=False, accum="float32"):
    out_dtype = out_dtype or dtype

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), out_dtype)):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bk), dtype)
            B_shared = T.alloc_shared((bk, bn), dtype)
            C_local = T.alloc_fragment((bm, bn), accum)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, bk), num_stages=stages):
                T.copy(A[by * bm, ko * bk], A_shared)
                T.copy(B[ko * bk, bx * bn], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            if relu:
                for i, j in T.Parallel(bm, bn):
                    C_local[i, j] = T.max(C_local[i, j], 0)
            T.copy(C_local, C[by * bm, bx * bn])

    return main


@tilelang.jit
def gemm_transposed(M, N, K, bm, bn, bk, trans_a, trans_b, dtype="bfloat16"):
    a_shape, b_shape = ((K, M) if trans_a else (M, K)), ((N, K) if trans_b else (K, N))
    a_block, b_block = ((bk, bm) if trans_a else (bm, bk)), ((bn, bk) if trans_b else (bk, bn))

    @T.prim_func
    def main(A: T.Tensor(a_shape, dtype), B: T.Tensor(b_shape, dtype), C: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared(a_block, dtype)
            B_shared = T.alloc_shared(b_block, dtype)
            C_local = T.alloc_fragment((bm, bn), "float32")
            T.clear(C_local)
            for k in T.Pipelined(T.ceildiv(K, bk), num_stages=2):
                if trans_a:
                    T.copy(A[k * bk, by * bm], A_shared)
                else:
                    T.copy(A[by * bm, k * bk], A_shared)
                if trans_b:
                    T.copy(B[bx * bn, k * bk], B_shared)
                else:
                    T.copy(B[k * bk, bx * bn], B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_A=trans_a, transpose_B=trans_b)
            T.copy(C_local, C[by * bm, bx * bn])

    return main


@tilelang.jit
def gemm_bias(M, N, K, bm, bn, bk, dtype="bfloat16", residual=False):
    @T.prim_func
    def main(
        A: T.Tensor((M, K), dtype),
        B: T.Tensor((K, N), dtype),
        bias: T.Tensor((N,), dtype),
        R: T.Tensor((M, N), dtype),
        C: T.Tensor((M, N), dtype),
    ):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bk), dtype)
            B_shared = T.alloc_shared((bk, bn), dtype)
            bias_shared = T.alloc_shared((bn,), dtype)
            C_local = T.alloc_fragment((bm, bn), "float32")
            T.copy(bias[bx * bn], bias_shared)
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, bk), num_stages=3):
                T.copy(A[by * bm, ko * bk], A_shared)
                T.copy(B[ko * bk, bx * bn], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            for i, j in T.Parallel(bm, bn):
                C_local[i, j] = T.max(C_local[i, j] + bias_shared[j], 0)
            if residual:
                for i, j in T.Parallel(bm, bn):
                    C_local[i, j] = C_local[i, j] * 0.5 - R[by * bm + i, bx * bn + j]
            T.copy(C_local, C[by * bm, bx * bn])

    return main


@tilelang.jit
def batched_gemm(batch, M, N, K, bm, bn, bk, dtype="bfloat16"):
    @T.prim_func
    def main(A: T.Tensor((batch, M, K), dtype), B: T.Tensor((batch, K, N), dtype), C: T.Tensor((batch, M, N), dtype)):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), batch, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((bm, bk), dtype)
            B_shared = T.alloc_shared((bk, bn), dtype)
            C_local = T.alloc_fragment((bm, bn), "float32")
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, bk), num_stages=2):
                T.copy(A[bz, by * bm, ko * bk], A_shared)
                T.copy(B[bz, ko * bk, bx * bn], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[bz, by * bm, bx * bn])

    return main


@tilelang.jit
def binary(M, N, bm, bn, op="add", dtype="bfloat16", out_dtype=None):
    out_dtype = out_dtype or dtype

    @T.prim_func
    def main(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), dtype), C: T.Tensor((M, N), out_dtype)):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bn), dtype)
            B_shared = T.alloc_shared((bm, bn), dtype)
            C_local = T.alloc_fragment((bm, bn), out_dtype)
            T.copy(A[by * bm, bx * bn], A_shared)
            T.copy(B[by * bm, bx * bn], B_shared)
            for i, j in T.Parallel(bm, bn):
                if op == "add":
                    C_local[i, j] = A_shared[i, j] + B_shared[i, j]
                elif op == "sub":
                    C_local[i, j] = A_shared[i, j] - B_shared[i, j]
                else:
                    C_local[i, j] = A_shared[i, j] * B_shared[i, j]
            T.copy(C_local, C[by * bm, bx * bn])

    return main


@tilelang.jit
def copy(M, N, bm, bn, dtype="bfloat16", out_dtype=None):
    out_dtype = out_dtype or dtype

    @T.prim_func
    def main(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), out_dtype)):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bn), dtype)
            T.copy(A[by * bm, bx * bn], A_shared)
            T.copy(A_shared, B[by * bm, bx * bn])

    return main


@tilelang.jit
def attention(B, S, H, D, causal, block=64, dtype="bfloat16"):
    """Heads between rows and columns; the sums of the rows are an output of three dimensions."""
    scale = D**-0.5 * 1.44269504

    @T.prim_func
    def main(
        Q: T.Tensor((B, S, H, D), dtype),
        K: T.Tensor((B, S, H, D), dtype),
        V: T.Tensor((B, S, H, D), dtype),
        Out: T.Tensor((B, S, H, D), dtype),
        L: T.Tensor((B, H, S), "float32"),
    ):
        with T.Kernel(T.ceildiv(S, block), H, B, threads=128) as (bx, by, bz):
            Q_shared = T.alloc_shared([block, D], dtype)
            K_shared = T.alloc_shared([block, D], dtype)
            V_shared = T.alloc_shared([block, D], dtype)
            acc_s = T.alloc_fragment([block, block], "float32")
            acc_s_cast = T.alloc_fragment([block, block], dtype)
            acc_o = T.alloc_fragment([block, D], "float32")
            now, before, factor, row_sum, total = (T.alloc_fragment([block], "float32") for _ in range(5))
            T.copy(Q[bz, bx * block : (bx + 1) * block, by, :], Q_shared)
            T.fill(acc_o, 0)
            T.fill(total, 0)
            T.fill(now, -T.infinity("float32"))
            steps = T.ceildiv((bx + 1) * block, block) if causal else T.ceildiv(S, block)
            for k in T.Pipelined(steps, num_stages=1):
                T.copy(K[bz, k * block : (k + 1) * block, by, :], K_shared)
                for i, j in T.Parallel(block, block):
                    inside = bx * block + i >= k * block + j if causal else k * block + j < S
                    acc_s[i, j] = T.if_then_else(inside, 0, -T.infinity("float32"))
                T.gemm(Q_shared, K_shared, acc_s, transpose_B=True)
                T.copy(now, before)
                T.reduce_max(acc_s, now, dim=1, clear=False)
                for i in T.Parallel(block):
                    factor[i] = T.exp2(before[i] * scale - now[i] * scale)
                for i, j in T.Parallel(block, block):
                    acc_s[i, j] = T.exp2(acc_s[i, j] * scale - now[i] * scale)
                T.reduce_sum(acc_s, row_sum, dim=1)
                for i in T.Parallel(block):
                    total[i] = total[i] * factor[i] + row_sum[i]
                T.copy(acc_s, acc_s_cast)
                for i, j in T.Parallel(block, D):
                    acc_o[i, j] *= factor[i]
                T.copy(V[bz, k * block : (k + 1) * block, by, :], V_shared)
                T.gemm(acc_s_cast, V_shared, acc_o)
            for i, j in T.Parallel(block, D):
                acc_o[i, j] /= total[i]
            T.copy(acc_o, Out[bz, bx * block : (bx + 1) * block, by, :])
            for i in T.Parallel(block):
                total[i] = T.log2(total[i]) + now[i] * scale
            T.copy(total, L[bz, by, bx * block : (bx + 1) * block])

    return main


@tilelang.jit
def small_blocks(m, n, k, blocks, dtype="bfloat16"):
    """Products and reductions of blocks that are not multiples of hardware tiles."""

    @T.prim_func
    def main(
        A: T.Tensor((blocks * m, k), dtype),
        B: T.Tensor((k, n), dtype),
        C: T.Tensor((blocks * m, n), dtype),
        most: T.Tensor((blocks * m,), "float32"),
    ):
        with T.Kernel(blocks, threads=128) as bx:
            A_shared = T.alloc_shared((m, k), dtype)
            B_shared = T.alloc_shared((k, n), dtype)
            E = T.alloc_fragment((m, k), "float32")
            E_cast = T.alloc_shared((m, k), dtype)
            C_local = T.alloc_fragment((m, n), "float32")
            row = T.alloc_fragment((m,), "float32")
            T.copy(A[bx * m, 0], A_shared)
            T.copy(B, B_shared)
            for i, j in T.Parallel(m, k):
                E[i, j] = T.exp(A_shared[i, j]) - 9
            T.reduce_max(E, row, dim=1)
            T.copy(E, E_cast)
            T.gemm(E_cast, B_shared, C_local, clear_accum=True)
            T.copy(C_local, C[bx * m, 0])
            T.copy(row, most[bx * m])

    return main


@tilelang.jit
def gemm_split_k(M, N, K, bm, bn, bk, splits, whole_blocks, dtype="bfloat16"):
    """Every split adds its product to the output: block by block, or element by element."""

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), "float32")):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), splits, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((bm, bk), dtype)
            B_shared = T.alloc_shared((bk, bn), dtype)
            C_local = T.alloc_fragment((bm, bn), "float32")
            T.clear(C_local)
            for k in T.Pipelined(T.ceildiv(K // splits, bk), num_stages=2):
                T.copy(A[by * bm, bz * (K // splits) + k * bk], A_shared)
                T.copy(B[bz * (K // splits) + k * bk, bx * bn], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            if whole_blocks:
                T.atomic_add(C[by * bm, bx * bn], C_local)
            else:
                for i, j in T.Parallel(bm, bn):
                    T.atomic_add(C[by * bm + i, bx * bn + j], C_local[i, j])

    return main


@tilelang.jit
def convert(B, S, H, D, block=64, dtype="bfloat16"):
    """From tensor to tensor, with a change of dtype."""

    @T.prim_func
    def main(A: T.Tensor((B, S, H, D), "float32"), C: T.Tensor((B, H, S, D), dtype)):
        with T.Kernel(T.ceildiv(S, block), H, B, threads=128) as (bx, by, bz):
            T.copy(A[bz, bx * block : (bx + 1) * block, by, :], C[bz, by, bx * block : (bx + 1) * block, :])

    return main
