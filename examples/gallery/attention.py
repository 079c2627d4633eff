"""Flash attention forward, with keys of every head's own or shared by groups, causal or not; and linear attention."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main

LOG2_E = 1.44269504


@tilelang.jit
def flash_attention(batch, heads, groups, seq_len, dim, is_causal, block_M, block_N, dtype="bfloat16"):
    """``groups`` heads share their keys and values; 1 is plain multi-head attention."""
    scale = (1.0 / dim) ** 0.5 * LOG2_E
    q_shape = (batch, heads, seq_len, dim)
    kv_shape = (batch, heads // groups, seq_len, dim)
    accum_dtype = "float32"

    @T.prim_func
    def kernel(
        Q: T.Tensor(q_shape, dtype),
        K: T.Tensor(kv_shape, dtype),
        V: T.Tensor(kv_shape, dtype),
        Output: T.Tensor(q_shape, dtype),
    ):
        with T.Kernel(T.ceildiv(seq_len, block_M), heads, batch, threads=128) as (bx, by, bz):
            Q_shared = T.alloc_shared((block_M, dim), dtype)
            K_shared = T.alloc_shared((block_N, dim), dtype)
            V_shared = T.alloc_shared((block_N, dim), dtype)
            acc_s = T.alloc_fragment((block_M, block_N), accum_dtype)
            acc_s_cast = T.alloc_fragment((block_M, block_N), dtype)
            acc_o = T.alloc_fragment((block_M, dim), accum_dtype)
            scores_max = T.alloc_fragment((block_M,), accum_dtype)
            scores_max_prev = T.alloc_fragment((block_M,), accum_dtype)
            scores_scale = T.alloc_fragment((block_M,), accum_dtype)
            scores_sum = T.alloc_fragment((block_M,), accum_dtype)
            logsum = T.alloc_fragment((block_M,), accum_dtype)

            T.copy(Q[bz, by, bx * block_M : (bx + 1) * block_M, :], Q_shared)
            T.fill(acc_o, 0)
            T.fill(logsum, 0)
            T.fill(scores_max, -T.infinity(accum_dtype))
            loop_range = (
                T.min(T.ceildiv(seq_len, block_N), T.ceildiv((bx + 1) * block_M, block_N))
                if is_causal
                else T.ceildiv(seq_len, block_N)
            )
            for k in T.Pipelined(loop_range, num_stages=2):
                T.copy(K[bz, by // groups, k * block_N : (k + 1) * block_N, :], K_shared)
                if is_causal:
                    for i, j in T.Parallel(block_M, block_N):
                        acc_s[i, j] = T.if_then_else(bx * block_M + i >= k * block_N + j, 0, -T.infinity(acc_s.dtype))
                else:
                    T.clear(acc_s)
                T.gemm(Q_shared, K_shared, acc_s, transpose_B=True, policy=T.GemmWarpPolicy.FullRow)

                T.copy(scores_max, scores_max_prev)
                T.fill(scores_max, -T.infinity(accum_dtype))
                T.reduce_max(acc_s, scores_max, dim=1, clear=False)
                for i in T.Parallel(block_M):
                    scores_max[i] = T.max(scores_max[i], scores_max_prev[i])
                for i in T.Parallel(block_M):
                    scores_scale[i] = T.exp2(scores_max_prev[i] * scale - scores_max[i] * scale)
                for i, j in T.Parallel(block_M, block_N):
                    acc_s[i, j] = T.exp2(acc_s[i, j] * scale - scores_max[i] * scale)
                T.reduce_sum(acc_s, scores_sum, dim=1)
                for i in T.Parallel(block_M):
                    logsum[i] = logsum[i] * scores_scale[i] + scores_sum[i]
                T.copy(acc_s, acc_s_cast)

                for i, j in T.Parallel(block_M, dim):
                    acc_o[i, j] *= scores_scale[i]
                T.copy(V[bz, by // groups, k * block_N : (k + 1) * block_N, :], V_shared)
                T.gemm(acc_s_cast, V_shared, acc_o, policy=T.GemmWarpPolicy.FullRow)
            for i, j in T.Parallel(block_M, dim):
                acc_o[i, j] /= logsum[i]
            T.copy(acc_o, Output[bz, by, bx * block_M : (bx + 1) * block_M, :])

    return kernel


def attention_reference(q, k, v, is_causal):
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, 1) for x in (k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)


@tilelang.jit
def linear_attention(heads, seq_len, dim, block, dtype="bfloat16"):
    """O = Q (K^T V): a head's state is summed over all chunks, then read by all chunks."""
    shape = (heads, seq_len, dim)

    @T.prim_func
    def kernel(
        Q: T.Tensor(shape, dtype), K: T.Tensor(shape, dtype), V: T.Tensor(shape, dtype), Output: T.Tensor(shape, dtype)
    ):
        with T.Kernel(heads, threads=128) as bx:
            X_shared = T.alloc_shared((block, dim), dtype)
            V_shared = T.alloc_shared((block, dim), dtype)
            state = T.alloc_fragment((dim, dim), "float32")
            state_shared = T.alloc_shared((dim, dim), dtype)
            out = T.alloc_fragment((block, dim), "float32")
            T.clear(state)
            for k in T.Pipelined(T.ceildiv(seq_len, block), num_stages=2):
                T.copy(K[bx, k * block, 0], X_shared)
                T.copy(V[bx, k * block, 0], V_shared)
                T.gemm(X_shared, V_shared, state, transpose_A=True)
            T.copy(state, state_shared)
            for k in T.Pipelined(T.ceildiv(seq_len, block), num_stages=2):
                T.copy(Q[bx, k * block, 0], X_shared)
                T.clear(out)
                T.gemm(X_shared, state_shared, out)
                T.copy(out, Output[bx, k * block, 0])

    return kernel


@tilelang.jit
def chunked_linear_attention(heads, seq_len, dim, block, dtype="bfloat16"):
    """Causal: a chunk reads the state of the chunks before it, attends to itself, then joins the state."""
    shape = (heads, seq_len, dim)

    @T.prim_func
    def kernel(
        Q: T.Tensor(shape, dtype), K: T.Tensor(shape, dtype), V: T.Tensor(shape, dtype), Output: T.Tensor(shape, dtype)
    ):
        with T.Kernel(heads, threads=128) as bx:
            Q_shared = T.alloc_shared((block, dim), dtype)
            K_shared = T.alloc_shared((block, dim), dtype)
            V_shared = T.alloc_shared((block, dim), dtype)
            state = T.alloc_fragment((dim, dim), "float32")
            state_shared = T.alloc_shared((dim, dim), dtype)
            scores = T.alloc_fragment((block, block), "float32")
            scores_shared = T.alloc_shared((block, block), dtype)
            out = T.alloc_fragment((block, dim), "float32")
            T.clear(state)
            for k in T.Pipelined(T.ceildiv(seq_len, block), num_stages=2):
                T.copy(Q[bx, k * block, 0], Q_shared)
                T.copy(K[bx, k * block, 0], K_shared)
                T.copy(V[bx, k * block, 0], V_shared)
                T.clear(scores)
                T.gemm(Q_shared, K_shared, scores, transpose_B=True)
                for i, j in T.Parallel(block, block):
                    scores_shared[i, j] = T.if_then_else(i >= j, scores[i, j], 0)
                T.copy(state, state_shared)
                T.clear(out)
                T.gemm(scores_shared, V_shared, out)
                T.gemm(Q_shared, state_shared, out)
                T.gemm(K_shared, V_shared, state, transpose_A=True)
                T.copy(out, Output[bx, k * block, 0])

    return kernel


def causal_linear_reference(q, k, v):
    return torch.tril(q @ k.transpose(1, 2)) @ v


TWICE_ROUNDED = 2**-7

EXAMPLES = [
    Example(
        [flash_attention],
        [(1, 2, 1, 128, 64, False, 64, 64), (2, 2, 1, 64, 32, False, 32, 64), (1, 4, 2, 128, 32, False, 64, 32)],
        lambda q, k, v: attention_reference(q, k, v, False),
        tolerance=TWICE_ROUNDED,
    ),
    Example(
        [flash_attention],
        [(1, 2, 1, 128, 64, True, 64, 64), (1, 2, 1, 128, 64, True, 32, 64), (1, 4, 4, 128, 32, True, 64, 32)],
        lambda q, k, v: attention_reference(q, k, v, True),
        tolerance=TWICE_ROUNDED,
    ),
    Example(
        [linear_attention],
        [(2, 128, 64, 64), (3, 128, 32, 32)],
        lambda q, k, v: q @ (k.transpose(1, 2) @ v),
        tolerance=TWICE_ROUNDED,
    ),
    Example(
        [chunked_linear_attention],
        [(2, 128, 64, 64), (3, 96, 32, 32)],
        causal_linear_reference,
        tolerance=TWICE_ROUNDED,
    ),
]

if __name__ == "__main__":
    main(EXAMPLES)
