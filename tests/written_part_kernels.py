"""Kernels that write parts of on-chip buffers, of whole hardware tiles: each with its reference and its number of
outputs, for the emulator's tests and for those on chips."""

import tilelang.language as T
import torch

D, F, N = "bfloat16", "float32", "int32"


def copied_to_parts():
    """From a tensor, from a buffer and from a fragment of another dtype; the parts move with a loop and the block."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 128), D), W: T.Tensor((64, 64), F), C: T.Tensor((256, 128), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            w = T.alloc_shared((64, 64), F)
            c = T.alloc_fragment((128, 128), F)
            T.copy(W, w)
            T.fill(c, 3.0)
            for k in T.serial(2):
                T.copy(A[bx * 64, k * 64], a)
                T.copy(a, c[k * 64 : k * 64 + 64, bx * 64 : bx * 64 + 64])
            T.copy(w[0:32, 32:64], c[96:128, 64:96])
            T.copy(A[bx * 64 : bx * 64 + 32, 0:32], c[0:32, 96:128])
            T.copy(c[32:64, 0:64], c[64:96, 32:96])
            T.copy(c, C[bx * 128, 0])

    def reference(a, w):
        blocks = []
        for bx in range(2):
            c = torch.full((128, 128), 3.0, dtype=a.dtype)
            for k in range(2):
                c[k * 64 : k * 64 + 64, bx * 64 : bx * 64 + 64] = a[bx * 64 : bx * 64 + 64, k * 64 : k * 64 + 64]
            c[96:, 64:96] = w[:32, 32:]
            c[:32, 96:] = a[bx * 64 : bx * 64 + 32, :32]
            c[64:96, 32:96] = c[32:64, :64].clone()
            blocks.append(c)
        return torch.cat(blocks)

    return kernel, reference, 1


def loaded_by_parts():
    """Operands of products that are loaded part by part, in a loop and one after the other, and stay on chip."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 256), D), B: T.Tensor((256, 64), D), C: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 128), D)
            b = T.alloc_shared((128, 64), D)
            acc = T.alloc_fragment((64, 64), F)
            T.clear(acc)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(A[bx * 64 : bx * 64 + 64, k * 128 : k * 128 + 64], a[:, 0:64])
                T.copy(A[bx * 64 : bx * 64 + 64, k * 128 + 64 : k * 128 + 128], a[:, 64:128])
                for s in T.unroll(4):
                    T.copy(B[k * 128 + s * 32 : k * 128 + s * 32 + 32, :], b[s * 32 : s * 32 + 32, :])
                T.gemm(a, b, acc)
            T.copy(acc, C[bx * 64, 0])

    return kernel, lambda a, b: a @ b, 1


def rotated_in_place():
    """Rotary embedding, both halves stored by one loop, from a copy; under a condition; what was read before stays."""

    @T.prim_func
    def kernel(
        X: T.Tensor((128, 128), D), W: T.Tensor((64, 64), F), Y: T.Tensor((128, 128), D), Z: T.Tensor((128, 64), D)
    ):
        with T.Kernel(2, threads=128) as bx:
            x = T.alloc_shared((64, 128), D)
            w = T.alloc_shared((64, 64), F)
            y = T.alloc_fragment((64, 128), F)
            before = T.alloc_fragment((64, 64), F)
            T.copy(W, w)
            T.copy(X[bx * 64, 0], x)
            T.copy(x, y)
            T.copy(y[:, 64:128], before)
            for i, j in T.Parallel(64, 64):
                y[i, j] = x[i, j] * w[i, j] - x[i, j + 64]
                y[i, j + 64] = x[i, j + 64] * w[i, j] + y[i, j]
            for i, j in T.Parallel(32, 32):
                if w[i, j] > 0:
                    y[i + 32, j + 96] = y[i, j + 32] * 2
            T.copy(y, Y[bx * 64, 0])
            T.copy(before, Z[bx * 64, 0])

    def reference(x, w):
        y = []
        for block in x.split(64):
            a, b = block.split(64, 1)
            first = a * w - b
            c = torch.cat([first, b * w + first], 1)
            c[32:, 96:] = torch.where(w[:32, :32] > 0, c[:32, 32:64] * 2, c[32:, 96:])
            y.append(c)
        return [torch.cat(y), x[:, 64:]]

    return kernel, reference, 2


def carried_parts():
    """What loops and branches leave in parts, and what they read of them an iteration later."""

    @T.prim_func
    def kernel(A: T.Tensor((4, 128, 64), D), C: T.Tensor((128, 128), F), E: T.Tensor((128, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            c = T.alloc_fragment((64, 128), F)
            e = T.alloc_fragment((64, 64), F)
            kept = T.alloc_fragment((64, 64), F)
            T.clear(c)
            T.clear(kept)
            for k in T.serial(4):
                T.copy(A[k, bx * 64, 0], a)
                T.copy(c[:, 64:128], e)
                for i, j in T.Parallel(64, 64):
                    c[i, j + 64] = c[i, j + 64] + a[i, j]
                if k % 2 == bx:
                    for i, j in T.Parallel(64, 64):
                        c[i, j] = c[i, j] + c[i, j + 64]
                else:
                    for i, j in T.Parallel(32, 64):
                        c[i + 32, j] = c[i, j] * 0.5
                for i, j in T.Parallel(64, 64):
                    kept[i, j] = kept[i, j] + e[i, j]
            T.copy(c, C[bx * 64, 0])
            T.copy(kept, E[bx * 64, 0])

    def reference(a):
        outs, kepts = [], []
        for bx in range(2):
            c, kept = torch.zeros(64, 128, dtype=a.dtype), torch.zeros(64, 64, dtype=a.dtype)
            for k in range(4):
                kept += c[:, 64:]
                c[:, 64:] += a[k, bx * 64 : bx * 64 + 64]
                if k % 2 == bx:
                    c[:, :64] += c[:, 64:]
                else:
                    c[32:, :64] = c[:32, :64] * 0.5
            outs.append(c)
            kepts.append(kept)
        return [torch.cat(outs), torch.cat(kepts)]

    return kernel, reference, 2


def results_in_parts():
    """Products and reductions whose result is a part: anew, and onto what it holds; a transposed one."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 128), D), C: T.Tensor((128, 128), F), S: T.Tensor((2, 128), F)):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 128), D)
            c = T.alloc_fragment((64, 128), F)
            s = T.alloc_fragment((128,), F)
            T.clear(c)
            T.fill(s, 1.0)
            T.fill(c[:, 64:128], 2.0)
            T.copy(A[bx * 64, 0], a)
            for k in T.serial(2):
                T.gemm(a[:, k * 64 : k * 64 + 64], a[:, 0:64], c[:, 64:128], transpose_B=True)
            T.gemm(a[:, 0:64], a[:, 64:128], c[:, 0:64], clear_accum=True)
            T.transpose(a[0:32, 32:64], c[32:64, 96:128])
            T.reduce_max(c[:, 0:64], s[64:128], dim=1)
            T.reduce_sum(c[:, 64:96], s[0:64], dim=1, clear=False)
            T.copy(c, C[bx * 64, 0])
            for j in T.Parallel(128):
                S[bx, j] = s[j]

    def reference(a):
        outs, sums = [], []
        for x in a.split(64):
            c = torch.zeros(64, 128, dtype=a.dtype)
            c[:, 64:] = 2 + (x[:, :64] + x[:, 64:]) @ x[:, :64].T
            c[:, :64] = x[:, :64] @ x[:, 64:]
            c[32:, 96:] = x[:32, 32:64].T
            outs.append(c)
            sums.append(torch.cat([1 + c[:, 64:96].sum(1), c[:, :64].amax(1)]))
        return [torch.cat(outs), torch.stack(sums)]

    return kernel, reference, 2


def parts_of_vectors_written():
    """Of vectors along rows and along columns, from tensors, buffers and reductions, and by element-wise stores."""

    @T.prim_func
    def kernel(
        A: T.Tensor((128, 128), D), v: T.Tensor((128,), F), C: T.Tensor((128, 128), F), V: T.Tensor((2, 128), F)
    ):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((64, 128), D)
            row = T.alloc_fragment((128,), F)
            col = T.alloc_fragment((64,), F)
            part = T.alloc_fragment((32,), F)
            c = T.alloc_fragment((64, 128), F)
            T.copy(A[bx * 64, 0], a)
            T.copy(v[64:128], row[0:64])
            T.copy(v[0:32], part)
            T.copy(part, row[96:128])
            for j in T.Parallel(32):
                row[j + 64] = part[j] * 2 + row[j + 32]
            T.reduce_sum(a[0:32, :], col[32:64], dim=1)
            T.copy(v[bx * 32 : bx * 32 + 32], col[0:32])
            for i, j in T.Parallel(64, 128):
                c[i, j] = a[i, j] * col[i] + row[j]
            T.copy(c, C[bx * 64, 0])
            for j in T.Parallel(128):
                V[bx, j] = row[j]

    def reference(a, v):
        row = torch.cat([v[64:], v[:32] * 2 + v[96:], v[:32]])
        outs = []
        for bx, x in enumerate(a.split(64)):
            col = torch.cat([v[bx * 32 : bx * 32 + 32], x[:32].sum(1)])
            outs.append(x * col[:, None] + row)
        return [torch.cat(outs), torch.stack([row, row])]

    return kernel, reference, 2


def parts_of_integers():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), N), C: T.Tensor((64, 96), N)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 96), N)
            c = T.alloc_fragment((64, 96), N)
            T.copy(A, a)
            T.fill(c, 7)
            T.copy(a[:, 32:96], c[:, 0:64])
            for i, j in T.Parallel(32, 32):
                c[i + 32, j + 64] = c[i, j] * 3 + 70000 + j
            T.copy(c, C)

    def reference(a):
        c = torch.full((64, 96), 7, dtype=a.dtype)
        c[:, :64] = a[:, 32:]
        c[32:, 64:] = c[:32, :32] * 3 + 70000 + torch.arange(32)
        return c

    return kernel, reference, 1


def parts_at_an_odd_end():
    """Buffers that end inside a hardware tile, their last parts written; what lies past the end is not summed."""

    @T.prim_func
    def kernel(A: T.Tensor((80, 80), D), C: T.Tensor((80, 80), F), S: T.Tensor((80,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((80, 80), D)
            c = T.alloc_fragment((80, 80), F)
            s = T.alloc_fragment((80,), F)
            T.fill(c, 5.0)
            T.copy(A[0:64, 0:80], a[0:64, :])
            T.copy(A[64:80, 0:80], a[64:80, :])
            T.copy(A[0:80, 32:80], c[:, 32:80])
            for i, j in T.Parallel(16, 64):
                c[i + 64, j] = a[i + 64, j] + 1
            T.reduce_sum(c, s, dim=1)
            T.gemm(a, a, c, transpose_B=True)
            T.copy(c, C)
            T.copy(s, S)

    def reference(a):
        c = torch.full((80, 80), 5.0, dtype=a.dtype)
        c[:, 32:] = a[:, 32:]
        c[64:, :64] = a[64:, :64] + 1
        return [c + a @ a.T, c.sum(1)]

    return kernel, reference, 2


ALL = {
    made.__name__: made
    for made in (
        copied_to_parts,
        loaded_by_parts,
        rotated_in_place,
        carried_parts,
        results_in_parts,
        parts_of_vectors_written,
        parts_of_integers,
        parts_at_an_odd_end,
    )
}
