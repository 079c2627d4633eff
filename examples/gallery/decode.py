"""One step of decoding: attention of one query per head to a cache, in pages or in parts that are combined."""

import tilelang
import tilelang.language as T
import torch
from example import Example, main, random

LOG2_E = 1.44269504


@tilelang.jit
def paged_attention(batch, heads, kv_heads, max_seqlen, dim, block_N, block_H, block_size, dtype="bfloat16"):
    """The keys of sequence b lie in pages of ``block_size`` rows, those that row b of the table names."""
    scale = (1.0 / dim) ** 0.5 * LOG2_E
    group = heads // kv_heads
    cache_shape = (batch * max_seqlen, kv_heads, dim)
    accum_dtype = "float32"

    @T.prim_func
    def kernel(
        Q: T.Tensor((batch, heads, dim), dtype),
        K_cache: T.Tensor(cache_shape, dtype),
        V_cache: T.Tensor(cache_shape, dtype),
        block_table: T.Tensor((batch, max_seqlen // block_size), "int32"),
        cache_seqlens: T.Tensor((batch,), "int32"),
        Output: T.Tensor((batch, heads, dim), dtype),
    ):
        with T.Kernel(batch, heads // block_H, threads=128) as (bx, by):
            Q_shared = T.alloc_shared((block_H, dim), dtype)
            K_shared = T.alloc_shared((block_N, dim), dtype)
            V_shared = T.alloc_shared((block_N, dim), dtype)
            acc_s = T.alloc_fragment((block_H, block_N), accum_dtype)
            acc_s_cast = T.alloc_fragment((block_H, block_N), dtype)
            acc_o = T.alloc_fragment((block_H, dim), accum_dtype)
            scores_max = T.alloc_fragment((block_H,), accum_dtype)
            scores_max_prev = T.alloc_fragment((block_H,), accum_dtype)
            scores_scale = T.alloc_fragment((block_H,), accum_dtype)
            scores_sum = T.alloc_fragment((block_H,), accum_dtype)
            logsum = T.alloc_fragment((block_H,), accum_dtype)

            T.use_swizzle(10)
            kv_head = by // (group // block_H)
            T.copy(Q[bx, by * block_H : (by + 1) * block_H, :], Q_shared)
            T.fill(acc_o, 0)
            T.fill(logsum, 0)
            T.fill(scores_max, -T.infinity(accum_dtype))

            for k in T.Pipelined(T.ceildiv(cache_seqlens[bx], block_N), num_stages=2):
                kv_start = block_table[bx, k * block_N // block_size] * block_size + k * block_N % block_size
                T.copy(K_cache[kv_start : kv_start + block_N, kv_head, :], K_shared)
                T.copy(V_cache[kv_start : kv_start + block_N, kv_head, :], V_shared)
                T.clear(acc_s)
                T.gemm(Q_shared, K_shared, acc_s, transpose_B=True, policy=T.GemmWarpPolicy.FullCol)
                for i, j in T.Parallel(block_H, block_N):
                    acc_s[i, j] = T.if_then_else(
                        k * block_N + j >= cache_seqlens[bx], -T.infinity(accum_dtype), acc_s[i, j]
                    )
                T.copy(scores_max, scores_max_prev)
                T.fill(scores_max, -T.infinity(accum_dtype))
                T.reduce_max(acc_s, scores_max, dim=1, clear=False)
                for i in T.Parallel(block_H):
                    scores_max[i] = T.max(scores_max[i], scores_max_prev[i])
                for i in T.Parallel(block_H):
                    scores_scale[i] = T.exp2(scores_max_prev[i] * scale - scores_max[i] * scale)
                for i, j in T.Parallel(block_H, block_N):
                    acc_s[i, j] = T.exp2(acc_s[i, j] * scale - scores_max[i] * scale)
                T.reduce_sum(acc_s, scores_sum, dim=1)
                T.copy(acc_s, acc_s_cast)
                for i in T.Parallel(block_H):
                    logsum[i] = logsum[i] * scores_scale[i] + scores_sum[i]
                for i, j in T.Parallel(block_H, dim):
                    acc_o[i, j] *= scores_scale[i]
                T.gemm(acc_s_cast, V_shared, acc_o, policy=T.GemmWarpPolicy.FullCol)
            for i, j in T.Parallel(block_H, dim):
                acc_o[i, j] /= logsum[i]
            T.copy(acc_o, Output[bx, by * block_H : (by + 1) * block_H, :])

    return kernel


def paged_reference(q, k_cache, v_cache, table, seqlens):
    page = k_cache.shape[0] // table.numel()
    group = q.shape[1] // k_cache.shape[1]
    out = torch.empty_like(q)
    for b, length in enumerate(seqlens.long().tolist()):
        rows = (table[b].long()[:, None] * page + torch.arange(page)).flatten()[:length]
        k, v = (cache[rows].repeat_interleave(group, 1).transpose(0, 1) for cache in (k_cache, v_cache))
        weights = torch.softmax(q[b][:, None] @ k.transpose(1, 2) / q.shape[-1] ** 0.5, -1)
        out[b] = (weights @ v)[:, 0]
    return out


@tilelang.jit
def split_kv_attention(batch, heads, kv_heads, seqlen, dim, splits, block_N, block_H, dtype="bfloat16"):
    """The keys are shared out over ``splits`` blocks, so that few heads keep many cores busy; a second grid combines.

    A block leaves its part of the output, and the logarithm to base 2 of the sum that it was divided by.
    """
    scale = (1.0 / dim) ** 0.5 * LOG2_E
    group = heads // kv_heads
    length = seqlen // splits
    accum_dtype = "float32"

    @T.prim_func
    def kernel(
        Q: T.Tensor((batch, heads, dim), dtype),
        K: T.Tensor((batch, seqlen, kv_heads, dim), dtype),
        V: T.Tensor((batch, seqlen, kv_heads, dim), dtype),
        Output: T.Tensor((batch, heads, dim), dtype),
    ):
        parts = T.alloc_global((batch, splits, heads, dim), accum_dtype)
        log_sums = T.alloc_global((batch, splits, heads), accum_dtype)

        with T.Kernel(batch, heads // block_H, splits, threads=128) as (bx, by, bz):
            Q_shared = T.alloc_shared((block_H, dim), dtype)
            K_shared = T.alloc_shared((block_N, dim), dtype)
            V_shared = T.alloc_shared((block_N, dim), dtype)
            acc_s = T.alloc_fragment((block_H, block_N), accum_dtype)
            acc_s_cast = T.alloc_fragment((block_H, block_N), dtype)
            acc_o = T.alloc_fragment((block_H, dim), accum_dtype)
            scores_max = T.alloc_fragment((block_H,), accum_dtype)
            scores_max_prev = T.alloc_fragment((block_H,), accum_dtype)
            scores_scale = T.alloc_fragment((block_H,), accum_dtype)
            scores_sum = T.alloc_fragment((block_H,), accum_dtype)
            logsum = T.alloc_fragment((block_H,), accum_dtype)

            kv_head = by // (group // block_H)
            T.copy(Q[bx, by * block_H : (by + 1) * block_H, :], Q_shared)
            T.fill(acc_o, 0)
            T.fill(logsum, 0)
            T.fill(scores_max, -T.infinity(accum_dtype))
            for k in T.Pipelined(length // block_N, num_stages=2):
                start = bz * length + k * block_N
                T.copy(K[bx, start : start + block_N, kv_head, :], K_shared)
                T.copy(V[bx, start : start + block_N, kv_head, :], V_shared)
                T.clear(acc_s)
                T.gemm(Q_shared, K_shared, acc_s, transpose_B=True)
                T.copy(scores_max, scores_max_prev)
                T.reduce_max(acc_s, scores_max, dim=1, clear=False)
                for i in T.Parallel(block_H):
                    scores_scale[i] = T.exp2(scores_max_prev[i] * scale - scores_max[i] * scale)
                for i, j in T.Parallel(block_H, block_N):
                    acc_s[i, j] = T.exp2(acc_s[i, j] * scale - scores_max[i] * scale)
                T.reduce_sum(acc_s, scores_sum, dim=1)
                T.copy(acc_s, acc_s_cast)
                for i in T.Parallel(block_H):
                    logsum[i] = logsum[i] * scores_scale[i] + scores_sum[i]
                for i, j in T.Parallel(block_H, dim):
                    acc_o[i, j] *= scores_scale[i]
                T.gemm(acc_s_cast, V_shared, acc_o)
            for i, j in T.Parallel(block_H, dim):
                acc_o[i, j] /= logsum[i]
            for i in T.Parallel(block_H):
                logsum[i] = T.log2(logsum[i]) + scores_max[i] * scale
            T.copy(acc_o, parts[bx, bz, by * block_H : (by + 1) * block_H, :])
            T.copy(logsum, log_sums[bx, bz, by * block_H : (by + 1) * block_H])

        with T.Kernel(batch, heads // block_H, threads=128) as (bx, by):
            part = T.alloc_shared((block_H, dim), accum_dtype)
            log_sum = T.alloc_shared((block_H,), accum_dtype)
            largest = T.alloc_fragment((block_H,), accum_dtype)
            total = T.alloc_fragment((block_H,), accum_dtype)
            out = T.alloc_fragment((block_H, dim), accum_dtype)

            T.fill(largest, -T.infinity(accum_dtype))
            for k in T.serial(splits):
                T.copy(log_sums[bx, k, by * block_H : (by + 1) * block_H], log_sum)
                for i in T.Parallel(block_H):
                    largest[i] = T.max(largest[i], log_sum[i])
            T.clear(total)
            T.clear(out)
            for k in T.serial(splits):
                T.copy(log_sums[bx, k, by * block_H : (by + 1) * block_H], log_sum)
                T.copy(parts[bx, k, by * block_H : (by + 1) * block_H, :], part)
                for i in T.Parallel(block_H):
                    log_sum[i] = T.exp2(log_sum[i] - largest[i])
                for i in T.Parallel(block_H):
                    total[i] += log_sum[i]
                for i, j in T.Parallel(block_H, dim):
                    out[i, j] += part[i, j] * log_sum[i]
            for i, j in T.Parallel(block_H, dim):
                out[i, j] /= total[i]
            T.copy(out, Output[bx, by * block_H : (by + 1) * block_H, :])

    return kernel


def grouped_reference(q, k, v):
    k, v = (cache.repeat_interleave(q.shape[1] // cache.shape[2], 2).transpose(1, 2) for cache in (k, v))
    weights = torch.softmax(q[:, :, None] @ k.transpose(2, 3) / q.shape[-1] ** 0.5, -1)
    return (weights @ v)[:, :, 0]


SHORTEST, LONGEST = 1, 128


def cache_input(tensor):
    """Pages in any order; sequences of any length that the pages have room for, the shortest and longest among them."""
    if tensor.name == "block_table":
        pages = tensor.host_shape[0] * tensor.host_shape[1]
        return torch.randperm(pages).view(*tensor.host_shape).int()
    if tensor.name == "cache_seqlens":
        between = torch.randint(SHORTEST, LONGEST, (tensor.host_shape[0] - 2,))
        return torch.cat([torch.tensor([SHORTEST, LONGEST]), between]).int()
    return random(tensor)


EXAMPLES = [
    Example(
        [paged_attention],
        [
            (3, 64, 2, LONGEST, 64, 32, 32, 64),
            (2, 64, 1, LONGEST, 32, 64, 32, 64),
            (4, 32, 1, LONGEST, 64, 64, 32, 128),
        ],
        paged_reference,
        tolerance=2**-7,
        draw=cache_input,
    ),
    Example(
        [split_kv_attention],
        [(1, 32, 1, 256, 64, 4, 32, 32), (2, 128, 2, 128, 32, 2, 64, 32), (1, 48, 3, 192, 64, 3, 64, 16)],
        grouped_reference,
        tolerance=2**-7,
    ),
]

if __name__ == "__main__":
    main(EXAMPLES)
