"""Kernels on parts of on-chip buffers, of whole hardware tiles: each with its reference and its number of outputs, for
the emulator's tests and for those on chips."""

import tilelang.language as T
import torch

D, F = "bfloat16", "float32"


def copied_parts():
    @T.prim_func
    def kernel(A: T.Tensor((128, 192), D), C: T.Tensor((128, 96), D), E: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 192), D)
            b = T.alloc_shared((32, 64), D)
            c = T.alloc_fragment((32, 64), F)
            T.copy(A[bx * 64, 0], a)
            T.copy(a[0:64, 96:192], C[bx * 64 : bx * 64 + 64, 0:96])
            T.copy(a[32:64, 64:128], b)
            for i, j in T.Parallel(32, 64):
                c[i, j] = b[i, j] * 2
            T.copy(c, E[bx * 64, 0])
            T.copy(a[0:32, 0:64], c)
            T.copy(c, E[bx * 64 + 32, 0])

    def reference(a):
        blocks = [part for x in a.split(64) for part in (2 * x[32:, 64:128], x[:32, :64])]
        return [a[:, 96:], torch.cat(blocks)]

    return kernel, reference, 2


def rotated_halves():
    """Rotary embedding: of halves of what a loop loads, of tables, and of what was computed."""

    @T.prim_func
    def kernel(
        X: T.Tensor((256, 128), D), cos: T.Tensor((64, 64), F), sin: T.Tensor((64, 64), F), Y: T.Tensor((256, 128), D)
    ):
        with T.Kernel(2, threads=128) as bx:
            x = T.alloc_shared((64, 128), D)
            scaled = T.alloc_fragment((64, 128), F)
            first = T.alloc_fragment((64, 64), F)
            second = T.alloc_fragment((64, 64), F)
            c = T.alloc_shared((64, 64), F)
            s = T.alloc_shared((64, 64), F)
            T.copy(cos, c)
            T.copy(sin, s)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(X[(bx * 2 + k) * 64, 0], x)
                for i, j in T.Parallel(64, 128):
                    scaled[i, j] = x[i, j] * 0.5
                for i, j in T.Parallel(64, 64):
                    first[i, j] = scaled[i, j] * c[i, j] - scaled[i, j + 64] * s[i, j]
                    second[i, j] = scaled[i, j + 64] * c[i, j] + x[i, j] * 0.5 * s[i, j]
                T.copy(first, Y[(bx * 2 + k) * 64, 0])
                T.copy(second, Y[(bx * 2 + k) * 64, 64])

    def reference(x, cos, sin):
        a, b = (x * 0.5).split(64, 1)
        c, s = cos.repeat(4, 1), sin.repeat(4, 1)
        return torch.cat([a * c - b * s, b * c + a * s], 1)

    return kernel, reference, 1


def products_of_parts():
    """Slices of both operands by a loop's variable, the second one also transposed, summed in one accumulator."""

    @T.prim_func
    def kernel(
        A: T.Tensor((128, 256), D), B: T.Tensor((256, 64), D), W: T.Tensor((128, 64), D), C: T.Tensor((128, 64), F)
    ):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 128), D)
            b = T.alloc_shared((128, 64), D)
            w = T.alloc_shared((128, 64), D)
            acc = T.alloc_fragment((64, 64), F)
            T.clear(acc)
            T.copy(W, w)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(A[bx * 64, k * 128], a)
                T.copy(B[k * 128, 0], b)
                for s in T.serial(2):
                    T.gemm(a[:, s * 64 : s * 64 + 64], b[s * 64 : s * 64 + 64, :], acc)
                T.gemm(a[:, 32:96], w[64:128, :], acc, transpose_B=True)
            T.copy(acc, C[bx * 64, 0])

    def reference(a, b, w):
        return a @ b + (a[:, 32:96] + a[:, 160:224]) @ w[64:].T

    return kernel, reference, 1


def reduced_parts():
    @T.prim_func
    def kernel(A: T.Tensor((128, 192), D), S: T.Tensor((128,), F), X: T.Tensor((2, 64), F), C: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_fragment((64, 192), F)
            s = T.alloc_fragment((64,), F)
            m = T.alloc_fragment((192,), F)
            x = T.alloc_fragment((64,), F)
            c = T.alloc_fragment((64, 64), F)
            T.copy(A[bx * 64, 0], a)
            T.reduce_sum(a[:, 64:160], s, dim=1)
            T.reduce_max(a, m, dim=0)
            T.copy(m[64:128], x)
            for i, j in T.Parallel(64, 64):
                c[i, j] = a[i, j + 128] + m[j + 128]
            T.copy(s, S[bx * 64])
            for j in T.Parallel(64):
                X[bx, j] = x[j]
            T.copy(c, C[bx * 64, 0])

    def reference(a):
        maxima = torch.stack([half.amax(0) for half in a.split(64)])
        added = torch.cat([half[:, 128:] + half.amax(0)[128:] for half in a.split(64)])
        return [a[:, 64:160].sum(1), maxima[:, 64:128], added]

    return kernel, reference, 3


def parts_of_vectors():
    """Of a vector as it was loaded, along columns and along rows; transposed, and of a product."""

    @T.prim_func
    def kernel(
        A: T.Tensor((64, 64), D),
        v: T.Tensor((128,), D),
        C: T.Tensor((64, 64), F),
        E: T.Tensor((64, 32), F),
        V: T.Tensor((64,), D),
    ):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            u = T.alloc_shared((128,), D)
            acc = T.alloc_fragment((64, 64), F)
            e = T.alloc_fragment((64, 32), F)
            T.copy(A, a)
            T.copy(v, u)
            T.gemm(a, a, acc, clear_accum=True)
            for i, j in T.Parallel(64, 64):
                acc[i, j] = acc[i, j] + u[j + 32] * u[i + 64]
            for i, j in T.Parallel(64, 32):
                e[i, j] = acc[j + 32, i] - a[i, j + 32]
            T.copy(acc, C)
            T.copy(e, E)
            T.copy(u[64:128], V)

    def reference(a, v):
        acc = a @ a + v[32:96] * v[64:, None]
        return [acc, acc[32:].T - a[:, 32:], v[64:]]

    return kernel, reference, 3


def parts_under_way():
    """What a part was read of is loaded again, is also the second, transposed operand of a product, ends inside a
    hardware tile, or is read under a condition; the accumulator's parts are stored, each for itself."""

    @T.prim_func
    def kernel(
        A: T.Tensor((128, 80), D), B: T.Tensor((4, 128, 80), D), C: T.Tensor((128, 128), F), E: T.Tensor((128, 48), F)
    ):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 80), D)
            b = T.alloc_shared((128, 80), D)
            acc = T.alloc_fragment((64, 128), F)
            kept = T.alloc_fragment((64, 48), F)
            end = T.alloc_fragment((64, 48), F)
            T.clear(acc)
            T.clear(end)
            T.copy(A[bx * 64, 0], a)
            for k in T.serial(4):
                T.copy(B[k, 0, 0], b)
                for i, j in T.Parallel(64, 48):
                    kept[i, j] = b[i + 64, j + 32] * 2
                T.gemm(a, b, acc, transpose_B=True)
                if k % 2 == bx:
                    for i, j in T.Parallel(64, 48):
                        end[i, j] = end[i, j] + kept[i, j] + b[i, j + 32]
            for i, j in T.Parallel(64, 128):
                acc[i, j] = acc[i, j] * 0.5
            T.copy(acc[:, 64:128], C[bx * 64 : bx * 64 + 64, 0:64])
            T.copy(acc[:, 0:64], C[bx * 64 : bx * 64 + 64, 64:128])
            T.copy(end, E[bx * 64, 0])

    def reference(a, b):
        c = 0.5 * sum(a @ x.T for x in b)
        ends = [2 * b[k, 64:, 32:] + b[k, :64, 32:] for k in range(4)]
        return [torch.cat([c[:, 64:], c[:, :64]], 1), torch.cat([ends[0] + ends[2], ends[1] + ends[3]])]

    return kernel, reference, 2
