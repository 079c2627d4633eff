"""Kernels on blocks of tensors that begin at any element, as lengths and offsets in other tensors say: each with its
inputs, what its outputs held before, and what they hold then, for the emulator's tests and for those on chips."""

from itertools import pairwise

import tilelang.language as T
import torch

D, F, INT = "bfloat16", "float32", "int32"
BEFORE = 7.0
"""What outputs hold before: it stays where a kernel does not write."""


def random(*shape, dtype=D):
    return torch.randn(*shape).to(getattr(torch, dtype))


def integers(*values):
    return torch.tensor(values, dtype=torch.int32)


def starts_of(sizes, first=0):
    return [first + sum(sizes[:group]) for group in range(len(sizes))]


def grouped_gemm(sizes=(5, 64, 1, 70, 33), first=2, K=64, N=96, block=64, dtype=D):
    """Groups of rows one behind the other, each times a matrix of its own."""
    starts, groups, blocks = starts_of(sizes, first), len(sizes), -(-max(sizes) // block)
    rows = first + sum(sizes) + 3

    @T.prim_func
    def kernel(
        A: T.Tensor((rows, K), dtype),
        B: T.Tensor((groups, K, N), dtype),
        Starts: T.Tensor((groups,), INT),
        Sizes: T.Tensor((groups,), INT),
        C: T.Tensor((rows, N), dtype),
    ):
        with T.Kernel(N // 32, blocks, groups, threads=128) as (bx, by, bz):
            a = T.alloc_shared((block, 32), dtype)
            b = T.alloc_shared((32, 32), dtype)
            c = T.alloc_fragment((block, 32), F)
            start = Starts[bz] + by * block
            T.clear(c)
            for k in T.Pipelined(K // 32, num_stages=2):
                T.copy(A[start : start + block, k * 32 : (k + 1) * 32], a)
                T.copy(B[bz, k * 32 : (k + 1) * 32, bx * 32 : (bx + 1) * 32], b)
                T.gemm(a, b, c)
            for i, j in T.Parallel(block, 32):
                if by * block + i < Sizes[bz]:
                    C[start + i, bx * 32 + j] = c[i, j]

    a, b = random(rows, K, dtype=dtype), random(groups, K, N, dtype=dtype)
    expected = torch.full((rows, N), BEFORE, dtype=torch.double)
    for group, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        expected[start : start + size] = a[start : start + size].double() @ b[group].double()
    return kernel, [a, b, integers(*starts), integers(*sizes)], [expected]


def blocks_at_any_row(rows=100, starts=(-5, 3, 37, 64, 90, 120), block=32, N=40, dtype=F):
    """Copied, also in front of the tensor and past its end; through arithmetic; summed up."""
    count = len(starts)

    @T.prim_func
    def kernel(
        A: T.Tensor((rows, N), dtype),
        Starts: T.Tensor((count,), INT),
        C: T.Tensor((count * block, N), dtype),
        E: T.Tensor((rows, N), dtype),
        S: T.Tensor((count * 32,), F),
    ):
        with T.Kernel(count, threads=128) as bx:
            a = T.alloc_shared((block, N), dtype)
            b = T.alloc_fragment((block, N), F)
            s = T.alloc_fragment((N,), F)
            t = T.alloc_fragment((1,), F)
            T.copy(A[Starts[bx] : Starts[bx] + block, :], a)
            T.copy(a, C[bx * block, 0])
            for i, j in T.Parallel(block, N):
                b[i, j] = a[i, j] + A[Starts[bx] + i, j]
            for i, j in T.Parallel(block, N):
                if i >= 2 and i < 9 and j < N - bx:
                    E[Starts[bx] + i, j] = b[i, j]
            T.reduce_sum(a, s, dim=0)
            T.reduce_sum(s, t, dim=0)
            for i in T.Parallel(32):
                S[bx * 32 + i] = t[0]

    a = random(rows, N, dtype=dtype)
    wide = torch.cat([torch.zeros(64, N), a.float(), torch.zeros(block + 64, N)]).double()
    blocks = [wide[64 + start : 64 + start + block] for start in starts]
    expected = torch.full((rows, N), BEFORE, dtype=torch.double)
    for number, start in enumerate(starts):
        for row in range(max(0, start + 2), min(rows, start + 9)):
            expected[row, : N - number] = 2 * a[row, : N - number].double()
    sums = torch.stack([each.sum() for each in blocks]).repeat_interleave(32)
    return kernel, [a, integers(*starts)], [torch.cat(blocks), expected, sums]


def vectors_at_any_place(length=100, starts=(-7, 3, 40, 64, 71, 99), dtype=F):
    """Vectors, and rows of a matrix, read from and written to where they begin anywhere."""
    count = len(starts)

    @T.prim_func
    def kernel(
        V: T.Tensor((length,), dtype),
        M: T.Tensor((3, length), dtype),
        Starts: T.Tensor((count,), INT),
        A: T.Tensor((count * 64, 32), F),
        W: T.Tensor((length,), dtype),
        R: T.Tensor((3, length), dtype),
    ):
        with T.Kernel(count, threads=128) as bx:
            v = T.alloc_shared((64,), dtype)
            m = T.alloc_shared((64,), dtype)
            a = T.alloc_fragment((64, 32), F)
            T.copy(V[Starts[bx] : Starts[bx] + 64], v)
            T.copy(M[1, Starts[bx] : Starts[bx] + 64], m)
            for i, j in T.Parallel(64, 32):
                a[i, j] = v[i] + m[i] * 2
            T.copy(a, A[bx * 64, 0])
            for i in T.Parallel(64):
                v[i] = v[i] - m[i]
            for i in T.Parallel(64):
                if i < 5 - bx // 5:
                    W[Starts[bx] + i] = v[i]
            for i in T.Parallel(64):
                if i >= 1 and i <= 2:
                    R[2, Starts[bx] + i] = v[i]

    v, m = random(length, dtype=dtype), random(3, length, dtype=dtype)
    zeros = torch.zeros(128)
    wide_v, wide_m = (torch.cat([zeros, each.float(), zeros]).double() for each in (v, m[1]))
    both = [(wide_v[128 + s : 192 + s], wide_m[128 + s : 192 + s]) for s in starts]
    w, r = (torch.full(shape, BEFORE, dtype=torch.double) for shape in ((length,), (3, length)))
    for number, start in enumerate(starts):
        for i in range(64):
            if 0 <= start + i < length:
                difference = v[start + i].double() - m[1, start + i].double()
                if i < 5 - number // 5:
                    w[start + i] = difference
                if 1 <= i <= 2:
                    r[2, start + i] = difference
    a = torch.cat([(x + 2 * y)[:, None].expand(64, 32) for x, y in both])
    return kernel, [v, m, integers(*starts)], [a, w, r]


def columns_at_any_place(columns=100, starts=(-3, 20, 64, 87), rows_at=(5, 0, 33, 60), dtype=D):
    """Blocks that begin anywhere along both dimensions."""
    count = len(starts)

    @T.prim_func
    def kernel(
        A: T.Tensor((96, columns), dtype),
        Starts: T.Tensor((count,), INT),
        Rows: T.Tensor((count,), INT),
        C: T.Tensor((count * 32, 64), F),
        E: T.Tensor((96, columns), dtype),
    ):
        with T.Kernel(count, threads=128) as bx:
            a = T.alloc_shared((32, 64), dtype)
            T.copy(A[Rows[bx] : Rows[bx] + 32, Starts[bx] : Starts[bx] + 64], a)
            T.copy(a, C[bx * 32, 0])
            for i, j in T.Parallel(32, 64):
                a[i, j] = a[i, j] * 2
            for i, j in T.Parallel(32, 64):
                if i < 25 and not (j < 3 or j >= 15):
                    E[Rows[bx] + i, Starts[bx] + j] = a[i, j]

    a = random(96, columns, dtype=dtype)
    wide = torch.nn.functional.pad(a.double(), (64, 128, 0, 64))
    blocks = [wide[r : r + 32, 64 + s : 128 + s] for r, s in zip(rows_at, starts, strict=True)]
    e = torch.full((96, columns), BEFORE, dtype=torch.double)
    for r, s in zip(rows_at, starts, strict=True):
        part = slice(max(0, s + 3), min(columns, s + 15))
        e[r : min(96, r + 25), part] = 2 * a[r : min(96, r + 25), part].double()
    return kernel, [a, integers(*starts), integers(*rows_at)], [torch.cat(blocks), e]


def attention(heads=2, dim=64, block=64, total=200, dtype=D):
    """Packed sequences, causal, each of queries aligned with the last of its keys; the longest's length is a number."""
    scale = dim**-0.5 * 1.44269504

    @T.prim_func
    def kernel(
        Q: T.Tensor((total, heads, dim), dtype),
        K: T.Tensor((total, heads, dim), dtype),
        V: T.Tensor((total, heads, dim), dtype),
        Queries: T.Tensor((4,), INT),
        Keys: T.Tensor((4,), INT),
        longest: T.int32,
        O: T.Tensor((total, heads, dim), dtype),  # noqa: E741
    ):
        with T.Kernel(T.ceildiv(longest, block), heads, 3, threads=128) as (bx, by, bz):
            q = T.alloc_shared((block, dim), dtype)
            k = T.alloc_shared((block, dim), dtype)
            v = T.alloc_shared((block, dim), dtype)
            s = T.alloc_fragment((block, block), F)
            p = T.alloc_fragment((block, block), dtype)
            o = T.alloc_fragment((block, dim), F)
            largest = T.alloc_fragment((block,), F)
            before = T.alloc_fragment((block,), F)
            part = T.alloc_fragment((block,), F)
            total_of = T.alloc_fragment((block,), F)
            queries = Queries[bz + 1] - Queries[bz]
            keys = Keys[bz + 1] - Keys[bz]
            T.copy(Q[Queries[bz] + bx * block : Queries[bz] + bx * block + block, by, :], q)
            T.fill(o, 0)
            T.fill(total_of, 0)
            T.fill(largest, -1e30)
            for step in T.Pipelined(T.ceildiv(keys, block), num_stages=2):
                T.copy(K[Keys[bz] + step * block : Keys[bz] + step * block + block, by, :], k)
                T.copy(V[Keys[bz] + step * block : Keys[bz] + step * block + block, by, :], v)
                for i, j in T.Parallel(block, block):
                    s[i, j] = T.if_then_else(
                        bx * block + i + keys - queries < step * block + j or step * block + j >= keys, -1e30, 0
                    )
                T.gemm(q, k, s, transpose_B=True)
                T.copy(largest, before)
                T.reduce_max(s, largest, dim=1, clear=False)
                for i, j in T.Parallel(block, block):
                    s[i, j] = T.exp2((s[i, j] - largest[i]) * scale)
                T.reduce_sum(s, part, dim=1)
                for i in T.Parallel(block):
                    total_of[i] = total_of[i] * T.exp2((before[i] - largest[i]) * scale) + part[i]
                for i, j in T.Parallel(block, dim):
                    o[i, j] *= T.exp2((before[i] - largest[i]) * scale)
                T.copy(s, p)
                T.gemm(p, v, o)
            for i, j in T.Parallel(block, dim):
                o[i, j] /= total_of[i]
            for i, j in T.Parallel(block, dim):
                if bx * block + i < queries:
                    O[Queries[bz] + bx * block + i, by, j] = o[i, j]

    return kernel


def attention_call(queries, keys, longest=None, heads=2, dim=64, total=200, dtype=D):
    """Inputs of :func:`attention` for sequences that begin and end there, and its output."""
    q, k, v = (random(total, heads, dim, dtype=dtype) for _ in range(3))
    longest = max(b - a for a, b in pairwise(queries)) if longest is None else longest
    expected = torch.full((total, heads, dim), BEFORE, dtype=torch.double)
    for (a, b), (c, d) in zip(pairwise(queries), pairwise(keys), strict=True):
        own_q, own_k, own_v = (x.double().transpose(0, 1) for x in (q[a:b], k[c:d], v[c:d]))
        hidden = torch.ones(b - a, d - c).tril(d - c - (b - a)) == 0
        weights = (own_q @ own_k.mT / dim**0.5).masked_fill(hidden, -torch.inf).softmax(-1)
        expected[a:b] = (weights @ own_v).transpose(0, 1)
    return [q, k, v, integers(*queries), integers(*keys), longest], expected
