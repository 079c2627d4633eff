"""Kernels on on-chip buffers of three dimensions: each with its reference and its number of outputs, for the
emulator's tests and for those on chips."""

import tilelang.language as T
import torch

D, F = "bfloat16", "float32"


def stages_by_hand():
    """Two stages of both operands, filled one step ahead of the product."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 256), D), B: T.Tensor((256, 64), D), C: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((2, 64, 64), D)
            b = T.alloc_shared((2, 64, 64), D)
            acc = T.alloc_fragment((64, 64), F)
            T.clear(acc)
            T.copy(A[bx * 64 : bx * 64 + 64, 0:64], a[0, :, :])
            T.copy(B[0:64, :], b[0, :, :])
            for k in T.serial(4):
                if k < 3:
                    T.copy(A[bx * 64 : bx * 64 + 64, k * 64 + 64 : k * 64 + 128], a[(k + 1) % 2, :, :])
                    T.copy(B[k * 64 + 64 : k * 64 + 128, :], b[(k + 1) % 2, :, :])
                T.gemm(a[k % 2, :, :], b[k % 2, :, :], acc)
            T.copy(acc, C[bx * 64, 0])

    return kernel, lambda a, b: a @ b, 1


def matrices_at_once():
    """Loaded, computed in a loop over three dimensions, reduced along either of the last two, and stored as one."""

    @T.prim_func
    def kernel(
        A: T.Tensor((8, 40, 48), F), v: T.Tensor((4, 48), F), C: T.Tensor((8, 40, 48), F), S: T.Tensor((8, 40), F)
    ):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((4, 40, 48), F)
            c = T.alloc_fragment((4, 40, 48), F)
            w = T.alloc_shared((4, 48), F)
            rows = T.alloc_fragment((4, 40), F)
            cols = T.alloc_fragment((4, 48), F)
            T.copy(A[bx * 4 : bx * 4 + 4, :, :], a)
            T.copy(v, w)
            T.clear(c)
            T.reduce_max(a, cols, dim=1)
            for t, i, j in T.Parallel(4, 40, 48):
                c[t, i, j] = a[t, i, j] * w[t, j] + cols[t, j] * (t + 1)
            T.fill(c[1, :, :], 2.0)
            T.reduce_sum(c, rows, dim=-1)
            for t, i in T.Parallel(4, 40):
                rows[t, i] = rows[t, i] + 1
            T.copy(a[0, 0:32, :], c[3, 0:32, :])
            T.copy(c, C[bx * 4 : bx * 4 + 4, :, :])
            T.copy(rows, S[bx * 4 : bx * 4 + 4, :])

    def reference(a, v):
        outs, sums = [], []
        for x in a.split(4):
            c = x * v[:, None] + x.amax(1)[:, None] * torch.arange(1, 5, dtype=a.dtype)[:, None, None]
            c[1] = 2
            sums.append(c.sum(2) + 1)
            c[3, :32] = x[0, :32]
            outs.append(c)
        return [torch.cat(outs), torch.cat(sums)]

    return kernel, reference, 2


def small_matrices():
    """Many matrices smaller than a hardware tile, by element-wise work alone."""

    @T.prim_func
    def kernel(A: T.Tensor((32, 4, 4), F), B: T.Tensor((32, 4), F), C: T.Tensor((32, 4, 4), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_fragment((16, 4, 4), F)
            b = T.alloc_shared((16, 4), F)
            T.copy(A[bx * 16 : bx * 16 + 16, :, :], a)
            T.copy(B[bx * 16 : bx * 16 + 16, :], b)
            for t, i, j in T.Parallel(16, 4, 4):
                a[t, i, j] = a[t, i, j] * b[t, j] - b[t, i]
            T.copy(a, C[bx * 16 : bx * 16 + 16, :, :])

    return kernel, lambda a, b: a * b[:, None] - b[:, :, None], 1


KERNELS = (stages_by_hand, matrices_at_once, small_matrices)
ALL = {made.__name__: made for made in KERNELS}
