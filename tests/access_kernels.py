"""Kernels on buffers of one row, column or element, on rows, columns and elements of tensors, and on indices: each
with its reference and its number of outputs, for the emulator's tests and for those on chips."""

import tilelang.language as T
import torch

D, F = "bfloat16", "float32"
M, N = 64, 96


def buffers_of_one_column():
    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), C: T.Tensor((M, N), F), S: T.Tensor((M, 1), F), V: T.Tensor((M,), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_fragment((32, N), F)
            s = T.alloc_fragment((32, 1), F)
            m = T.alloc_fragment((32, 1), F)
            T.copy(A[bx * 32, 0], a)
            T.reduce_max(a, m, dim=1)
            for i, j in T.Parallel(32, N):
                a[i, j] = T.exp(a[i, j] - m[i, 0])
            T.reduce_sum(a, s, dim=1)
            for i, j in T.Parallel(32, N):
                a[i, j] = a[i, j] / s[i, 0]
            for i in T.Parallel(32):
                s[i, 0] = s[i, 0] * 2
            T.copy(a, C[bx * 32, 0])
            T.copy(s, S[bx * 32, 0])
            for i in T.Parallel(32):
                V[bx * 32 + i] = s[i, 0]

    def reference(a):
        m = a.amax(1, keepdim=True)
        s = (a - m).exp().sum(1, keepdim=True)
        return [torch.softmax(a, 1), 2 * s, 2 * s[:, 0]]

    return kernel, reference, 3


def buffers_of_one_row():
    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), C: T.Tensor((M, N), F), S: T.Tensor((1, N), F), V: T.Tensor((N,), F)):
        with T.Kernel(3, threads=128) as bx:
            a = T.alloc_fragment((M, 32), F)
            s = T.alloc_fragment((1, 32), F)
            T.copy(A[0, bx * 32], a)
            T.reduce_sum(a, s, dim=0)
            for i, j in T.Parallel(M, 32):
                a[i, j] = a[i, j] * s[0, j]
            for i, j in T.Parallel(1, 32):
                s[i, j] = s[i, j] + 1
            T.copy(a, C[0, bx * 32])
            T.copy(s, S[0, bx * 32])
            for i in T.Parallel(32):
                V[bx * 32 + i] = s[0, i]

    return kernel, lambda a: [a * a.sum(0), a.sum(0, keepdim=True) + 1, a.sum(0) + 1], 3


def tensors_of_one_row_or_column():
    @T.prim_func
    def kernel(
        A: T.Tensor((M, N), D),
        S: T.Tensor((M, 1), D),
        R: T.Tensor((1, N), D),
        B: T.Tensor((4, 1), D),
        C: T.Tensor((M, N), F),
    ):
        with T.Kernel(3, 2, threads=128) as (bx, by):
            a = T.alloc_fragment((32, 32), F)
            s = T.alloc_shared((32, 1), D)
            r = T.alloc_shared((1, 32), D)
            o = T.alloc_fragment((1,), F)
            b = T.alloc_shared((1,), D)
            T.copy(A[by * 32, bx * 32], a)
            T.copy(S[by * 32, 0], s)
            T.copy(R[0, bx * 32], r)
            T.copy(B[bx + by, 0], b)
            for i, j in T.Parallel(32, 32):
                a[i, j] = a[i, j] * s[i, 0] + r[0, j] * b[0]
            T.copy(a, C[by * 32, bx * 32])

    def reference(a, s, r, b):
        c = torch.stack([b[x // 32 + y // 32, 0] for y in range(M) for x in range(N)]).reshape(M, N)
        return a * s + r * c

    return kernel, reference, 1


def elements_of_tensors():
    @T.prim_func
    def kernel(
        A: T.Tensor((M, N), D),
        S: T.Tensor((5,), F),
        B: T.Tensor((40,), D),
        Q: T.Tensor((70, 50), F),
        C: T.Tensor((M, N), F),
    ):
        with T.Kernel(3, 2, threads=128) as (bx, by):
            a = T.alloc_fragment((32, 32), F)
            T.copy(A[by * 32, bx * 32], a)
            for i, j in T.Parallel(32, 32):
                a[i, j] = (
                    a[i, j] * S[3]
                    + B[bx + 33 + by] * A[by * 32 + i, 0]
                    + Q[by * 32 + i, bx * 16 + 1]
                    + Q[by + 40, bx * 32 // 2 + 0]
                    + A[by + 7, bx * 32 + j]
                )
            T.copy(a, C[by * 32, bx * 32])

    def reference(a, s, b, q):
        out = torch.zeros(M, N).double()
        for y in range(M):
            for x in range(N):
                by, bx = y // 32, x // 32
                out[y, x] = (
                    a[y, x] * s[3] + b[bx + 33 + by] * a[y, 0] + q[y, bx * 16 + 1] + q[by + 40, bx * 16] + a[by + 7, x]
                )
        return out

    return kernel, reference, 1


def buffers_of_one_element():
    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), v: T.Tensor((N,), F), C: T.Tensor((M, N), F), out: T.Tensor((1,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((M, N), F)
            c = T.alloc_fragment((M,), F)
            r = T.alloc_fragment((N,), F)
            o = T.alloc_fragment((1,), F)
            p = T.alloc_fragment((1, 1), F)
            q = T.alloc_fragment((1,), F)
            w = T.alloc_shared((N,), F)
            x = T.alloc_var(F)
            z = T.alloc_fragment((1,), F)
            T.copy(A[0, 0], a)
            T.copy(v[0], w)
            T.reduce_sum(a, c, dim=1)
            T.reduce_sum(c, o, dim=0)
            T.reduce_max(a, r, dim=0)
            T.reduce_max(r, q, dim=0)
            T.reduce_sum(w, z, dim=0)
            o[0] = o[0] * 2 + z[0]
            x = 0.5
            p[0, 0] = o[0] + x
            for i, j in T.Parallel(M, N):
                a[i, j] = a[i, j] * q[0] + p[0, 0] * x
            T.copy(a, C[0, 0])
            out[0] = p[0, 0]

    def reference(a, v):
        o = a.sum() * 2 + v.sum()
        return [a * a.max() + (o + 0.5) * 0.5, (o + 0.5).reshape(1)]

    return kernel, reference, 2


def rows_of_tensors():
    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), out: T.Tensor((2, N), F), P: T.Tensor((2, M), D)):
        with T.Kernel(2, threads=128) as bx:
            v = T.alloc_shared((N,), D)
            acc = T.alloc_fragment((1,), F)
            r = T.alloc_fragment((N,), F)
            c = T.alloc_fragment((32,), F)
            a = T.alloc_fragment((32, N), F)
            T.clear(acc)
            for k in T.serial(3):
                T.copy(A[bx + k * 7, 0:N], v)
                T.reduce_sum(v, acc, dim=0, clear=False)
            for j in T.Parallel(N):
                r[j] = v[j] * acc[0]
            T.copy(r, out[bx, 0])
            for k in T.serial(2):
                T.copy(A[k * 32, 0], a)
                T.reduce_sum(a, c, dim=1)
                for i in T.Parallel(32):
                    c[i] = c[i] + acc[0]
                T.copy(c, P[bx, k * 32])

    def reference(a):
        acc = torch.stack([sum(a[b + k * 7].sum() for k in range(3)) for b in range(2)])
        return [a[[14, 15]] * acc[:, None], a.sum(1) + acc[:, None]]

    return kernel, reference, 2


def values_kept():
    """Names and conditions of what is stored to before they are used."""

    @T.prim_func
    def kernel(A: T.Tensor((64, N), F), C: T.Tensor((64, N), F), E: T.Tensor((64, N), F), V: T.Tensor((64,), F)):
        with T.Kernel(3, threads=128) as bx:
            a = T.alloc_shared((64, 32), F)
            b = T.alloc_fragment((64, 32), F)
            c = T.alloc_fragment((64, 32), F)
            v = T.alloc_fragment((64,), F)
            T.copy(A[0, bx * 32], a)
            for i in T.Parallel(64):
                v[i] = A[i, 0]
            for i, j in T.Parallel(64, 32):
                x = a[i, j]
                positive = x > 0
                a[i, j] = x * 2
                b[i, j] = T.if_then_else(positive, a[i, j], x)
            T.copy(b, C[0, bx * 32])
            for i, j in T.Parallel(64, 32):
                if a[i, j] > b[i, j]:
                    y = a[i, j] + v[i]
                    a[i, j] = -1
                    b[i, j] = 0
                    c[i, j] = y
                else:
                    c[i, j] = b[i, j]
                    a[i, j] = 1
                b[i, j] = b[i, j] + a[i, j] * c[i, j]
            T.copy(b, E[0, bx * 32])
            for i in T.Parallel(64):
                z = v[i]
                v[i] = v[i] * v[i]
                v[i] = v[i] + z
            if bx == 0:
                T.copy(v, V)

    def reference(a):
        b, v = torch.where(a > 0, 2 * a, a), a[:, :1]
        grows = 2 * a > b
        c = torch.where(grows, 2 * a + v, b)
        return [b, torch.where(grows, -c, b + c), (v * v + v)[:, 0]]

    return kernel, reference, 3


def parts_of_tiles_written():
    """Columns, elements and rows of tensors among others, by blocks that share their hardware tiles."""

    @T.prim_func
    def kernel(A: T.Tensor((64, N), D), C: T.Tensor((64, 6), F), E: T.Tensor((3, 3), D), G: T.Tensor((9,), F)):
        with T.Kernel(3, threads=128) as bx:
            a = T.alloc_fragment((64, 32), F)
            most = T.alloc_fragment((64,), F)
            least = T.alloc_fragment((64, 1), F)
            total = T.alloc_fragment((1,), F)
            T.copy(A[0, bx * 32], a)
            T.reduce_max(a, most, dim=1)
            T.reduce_min(a, least, dim=1)
            T.copy(most, C[0:64, bx])
            for i in T.Parallel(64):
                C[i, bx + 3] = least[i, 0]
            for k in T.serial(3):
                T.reduce_sum(most, total, dim=0)
                total[0] = total[0] + k
                E[k, bx] = total[0]
                G[bx * 3 + k] = total[0] * 2

    def reference(a):
        parts = a.reshape(64, 3, 32)
        most, least = parts.amax(2), parts.amin(2)
        sums = most.sum(0) + torch.arange(3).reshape(3, 1)
        return [torch.cat([most, least], 1), sums, 2 * sums.T.reshape(9)]

    return kernel, reference, 3


def vectors_both_ways():
    @T.prim_func
    def kernel(
        A: T.Tensor((64, 64), D),
        v: T.Tensor((64,), D),
        w: T.Tensor((64,), F),
        C: T.Tensor((64, 64), F),
        E: T.Tensor((64,), F),
    ):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((64, 64), F)
            m = T.alloc_fragment((64,), F)
            p = T.alloc_shared((64,), D)
            n = T.alloc_fragment((64,), F)
            T.copy(A[0, 0], a)
            T.copy(v[0], p)
            T.reduce_sum(a, m, dim=1)
            T.reduce_max(a, n, dim=0)
            for i, j in T.Parallel(64, 64):
                a[i, j] = a[i, j] - m[i] + m[j] + p[i] * p[j] + w[i] - w[j] * n[i]
            for i in T.Parallel(64):
                m[i] = m[i] * n[i] + p[i] + w[i] + T.cast(i, F)
            T.copy(a, C[0, 0])
            T.copy(m, E[0])

    def reference(a, v, w):
        m = a.sum(1)
        n = a.amax(0)
        return [a - m[:, None] + m + v[:, None] * v + w[:, None] - w * n[:, None], m * n + v + w + torch.arange(64)]

    return kernel, reference, 2


def indices_along_a_column():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), E: T.Tensor((64,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((64, 64), F)
            m = T.alloc_fragment((64,), F)
            T.copy(A[0, 0], a)
            T.reduce_sum(a, m, dim=1)
            for i in T.Parallel(64):
                m[i] = m[i] * T.cast(i, F) + T.if_then_else(i < 10, 1.0, 0.0)
            T.copy(m, E[0])

    return kernel, lambda a: a.sum(1) * torch.arange(64) + (torch.arange(64) < 10), 1


def transposed_access():
    @T.prim_func
    def kernel(
        A: T.Tensor((64, 96), D),
        B: T.Tensor((96, 64), F),
        C: T.Tensor((96, 64), F),
        E: T.Tensor((96, 64), F),
        G: T.Tensor((96, 64), F),
    ):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 96), D)
            b = T.alloc_fragment((96, 64), F)
            t = T.alloc_shared((96, 64), D)
            c = T.alloc_fragment((64, 96), F)
            T.copy(A[0, 0], a)
            T.copy(B[0, 0], b)
            T.transpose(a, t)
            for i, j in T.Parallel(96, 64):
                b[i, j] = b[i, j] * a[j, i] + A[j, i] * 2
            for i, j in T.Parallel(64, 96):
                c[i, j] = a[i, j] * b[j, i]
            for i, j in T.Parallel(64, 96):
                E[j, i] = c[i, j] + T.cast(i, F) * 2 + j
            T.copy(b, C[0, 0])
            T.copy(t, G[0, 0])

    def reference(a, b):
        b2 = b * a.T + a.T * 2
        return [b2, (a * b2.T).T + torch.arange(64) * 2 + torch.arange(96)[:, None], a.T]

    return kernel, reference, 3


def remainders_of_indices():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), C: T.Tensor((64, 96), F)):
        with T.Kernel(3, 2, threads=128) as (bx, by):
            a = T.alloc_fragment((32, 32), F)
            T.copy(A[by * 32, bx * 32], a)
            for i, j in T.Parallel(32, 32):
                a[i, j] = (
                    T.if_then_else((i + by * 32 + j + bx * 32) % 2 == 0, a[i, j], 0.0)
                    + T.cast((by * 32 + i) // 8 * ((bx * 32 + j) % 5), F)
                    + T.cast(T.max(i, j) - T.min(i, (j * 3 + bx) % 7), F)
                )
            T.copy(a, C[by * 32, bx * 32])

    def reference(a):
        i = torch.arange(64)[:, None]
        j = torch.arange(96)
        return (
            torch.where((i + j) % 2 == 0, a, 0)
            + (i // 8) * (j % 5)
            + torch.maximum(i % 32, j % 32)
            - torch.minimum(i % 32, ((j % 32) * 3 + j // 32) % 7)
        )

    return kernel, reference, 1


def maxima_of_columns():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), F), E: T.Tensor((96,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((64, 96), F)
            m = T.alloc_fragment((96,), F)
            T.copy(A[0, 0], a)
            T.reduce_max(a, m, dim=0)
            T.copy(m, E[0])

    return kernel, lambda a: a.amax(0), 1


def numbers():
    """Parameters that are numbers: a factor, and a column up to which it counts."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), s: T.float32, C: T.Tensor((64, 96), F), n: T.int32):
        with T.Kernel(3, 2, threads=128) as (bx, by):
            a = T.alloc_fragment((32, 32), F)
            T.copy(A[by * 32, bx * 32], a)
            for _ in T.serial(2):
                for i, j in T.Parallel(32, 32):
                    a[i, j] = T.if_then_else(bx * 32 + j < n, a[i, j] * s, T.cast(n, F))
            T.copy(a, C[by * 32, bx * 32])

    def reference(a, s, n):
        for _ in range(2):
            a = torch.where(torch.arange(96) < n, a * s, float(n))
        return a

    return kernel, reference


def stored_transposed():
    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), C: T.Tensor((N, M), D)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((M, N), D)
            T.copy(A[0, 0], a)
            for i, j in T.Parallel(N, M):
                C[i, j] = a[j, i]

    return kernel, lambda a: a.T, 1
