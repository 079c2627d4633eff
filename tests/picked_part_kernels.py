"""Kernels on rows, columns, elements and first rows of on-chip buffers: each with its reference and its number of
outputs, for the emulator's tests and for those on chips."""

import tilelang.language as T
import torch

D, F, N = "bfloat16", "float32", "int32"


def rows_one_by_one():
    """A recurrence along the rows of a matrix, and what is summed of a row and a column."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 64), D), C: T.Tensor((128, 64), F), E: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            c = T.alloc_fragment((64, 64), F)
            e = T.alloc_fragment((64, 64), F)
            h = T.alloc_fragment((64,), F)
            T.copy(A[bx * 64, 0], a)
            T.clear(h)
            T.clear(e)
            for t in T.serial(64):
                for j in T.Parallel(64):
                    h[j] = h[j] * 0.5 + a[t, j]
                for j in T.Parallel(64):
                    c[t, j] = h[j]
            for i, j in T.Parallel(64, 64):
                e[i, j] = a[i, 37] * c[bx + 32, j] + c[63, 5]
            T.copy(c, C[bx * 64, 0])
            T.copy(e, E[bx * 64, 0])

    def reference(a):
        outs, products = [], []
        for bx, x in enumerate(a.split(64)):
            h, rows = torch.zeros(64, dtype=a.dtype), []
            for row in x:
                h = h * 0.5 + row
                rows.append(h)
            c = torch.stack(rows)
            outs.append(c)
            products.append(x[:, 37:38] * c[bx + 32] + c[63, 5])
        return [torch.cat(outs), torch.cat(products)]

    return kernel, reference, 2


def elements_of_vectors():
    """Read and written, of a vector along rows, of one along columns, and of a matrix."""

    @T.prim_func
    def kernel(v: T.Tensor((96,), F), A: T.Tensor((64, 96), D), C: T.Tensor((64, 96), F), V: T.Tensor((2, 96), F)):
        with T.Kernel(2, threads=128) as bx:
            row = T.alloc_shared((96,), F)
            col = T.alloc_fragment((64,), F)
            a = T.alloc_shared((64, 96), D)
            c = T.alloc_fragment((64, 96), F)
            T.copy(v, row)
            T.copy(A, a)
            T.reduce_sum(a, col, dim=1)
            for k in T.serial(3):
                row[k * 20 + bx] = row[k + 50] * 2
            col[33] = col[2] + row[95]
            for i, j in T.Parallel(64, 96):
                c[i, j] = a[i, j] * col[i] + row[j] + row[7] * col[40]
            c[3, 70] = 1.5
            c[bx + 40, 31] = c[3, 70] + a[0, 0]
            if bx == 0:
                T.copy(c, C)
            for j in T.Parallel(96):
                V[bx, j] = row[j]

    def reference(v, a):
        vectors = []
        for bx in range(2):
            row, col = v.clone(), a.sum(1)
            for k in range(3):
                row[k * 20 + bx] = row[k + 50] * 2
            col[33] = col[2] + row[95]
            vectors.append(row)
            if bx == 0:
                c = a * col[:, None] + row + row[7] * col[40]
                c[3, 70] = 1.5
                c[40, 31] = 1.5 + a[0, 0]
        return [c, torch.stack(vectors)]

    return kernel, reference, 2


def first_rows():
    """Parts that begin at a hardware tile and end inside one: read, written, multiplied, summed."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), C: T.Tensor((64, 96), F), E: T.Tensor((16, 16), F), S: T.Tensor((16,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 96), D)
            c = T.alloc_fragment((64, 96), F)
            e = T.alloc_fragment((16, 16), F)
            s = T.alloc_fragment((16,), F)
            T.copy(A, a)
            T.fill(c, 2.0)
            T.fill(c[0:8, 32:96], 3.0)
            for i, j in T.Parallel(40, 20):
                c[i, j + 64] = a[i, j] + c[i, j + 32]
            T.copy(a[32:48, 0:96], c[32:48, :])
            T.gemm(a[0:16, 0:40], a[32:48, 0:40], e, transpose_B=True, clear_accum=True)
            T.reduce_max(a[32:48, 32:60], s, dim=1)
            T.copy(c, C)
            T.copy(e, E)
            T.copy(s, S)

    def reference(a):
        c = torch.full((64, 96), 2.0, dtype=a.dtype)
        c[:8, 32:] = 3
        c[:40, 64:84] = a[:40, :20] + c[:40, 32:52]
        c[32:48] = a[32:48]
        return [c, a[:16, :40] @ a[32:48, :40].T, a[32:48, 32:60].amax(1)]

    return kernel, reference, 3


def rows_copied():
    """Between tensors, vectors and rows and columns of buffers, of other dtypes too."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), F), v: T.Tensor((64,), D), C: T.Tensor((64, 64), D), R: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), F)
            c = T.alloc_shared((64, 64), D)
            w = T.alloc_fragment((64,), F)
            r = T.alloc_fragment((64, 64), F)
            T.copy(A, a)
            T.fill(c, 1.0)
            T.clear(r)
            T.copy(a[5, :], w)
            T.copy(w, c[0, :])
            T.copy(v, c[33, :])
            T.copy(A[7, :], c[40, :])
            T.copy(a[62, :], c[3, :])
            for i in T.Parallel(64):
                r[i, 9] = a[i, 50] + a[11, i]
            for i in T.Parallel(64):
                if w[i] > 0:
                    r[i, 63] = w[i]
            T.fill(r[:, 3], 4.0)
            T.reduce_sum(a, r[:, 40], dim=1)
            T.copy(c, C)
            T.copy(r, R)

    def reference(a, v):
        c, r = torch.ones(64, 64, dtype=a.dtype), torch.zeros(64, 64, dtype=a.dtype)
        c[0], c[33], c[40], c[3] = a[5], v, a[7], a[62]
        r[:, 9] = a[:, 50] + a[11]
        r[:, 63] = a[5].clamp(min=0)
        r[:, 3] = 4
        r[:, 40] = a.sum(1)
        return [c, r]

    return kernel, reference, 2


def picked_integers():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), N), C: T.Tensor((64, 64), N)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), N)
            c = T.alloc_fragment((64, 64), N)
            T.copy(A, a)
            for i, j in T.Parallel(64, 64):
                c[i, j] = a[i, j] + a[33, j] * 3 - a[7, 40]
            for j in T.Parallel(64):
                c[50, j] = a[51, j] + 70000
            T.copy(c, C)

    def reference(a):
        c = a + a[33] * 3 - a[7, 40]
        c[50] = a[51] + 70000
        return c

    return kernel, reference, 1


def one_element_for_all():
    """A vector shorter than the loop that fills it: TileLang keeps such a fragment in each thread's registers."""

    @T.prim_func
    def kernel(S: T.Tensor((2,), D), A: T.Tensor((128, 64), D), C: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            sinks = T.alloc_fragment((2,), D)
            a = T.alloc_fragment((64, 64), F)
            sums = T.alloc_fragment((64,), F)
            T.copy(A[bx * 64, 0], a)
            T.reduce_sum(a, sums, dim=1)
            for i in T.Parallel(64):
                sinks[i] = S[bx]
            for i in T.Parallel(64):
                sums[i] += sinks[i] * 1.5
            for i, j in T.Parallel(64, 64):
                a[i, j] += sums[i]
            T.copy(a, C[bx * 64, 0])

    def reference(s, a):
        return torch.cat([x + x.sum(1, keepdim=True) + s[i] * 1.5 for i, x in enumerate(a.split(64))])

    return kernel, reference, 1


KERNELS = (rows_one_by_one, elements_of_vectors, first_rows, rows_copied, picked_integers, one_element_for_all)
ALL = {made.__name__: made for made in KERNELS}
