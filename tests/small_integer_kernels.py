"""Kernels on masks and integers of 8 bits: each with its reference and its number of outputs, for the emulator's tests
and for those on chips."""

import tilelang.language as T
import torch

D, F, Z = "bfloat16", "float32", "int32"


def masks():
    """Of vectors and matrices, read, made, chosen by and stored."""

    @T.prim_func
    def kernel(
        A: T.Tensor((100, 96), D),
        M: T.Tensor((96,), "uint8"),
        S: T.Tensor((100, 96), "int8"),
        B: T.Tensor((100,), "bool"),
        C: T.Tensor((100, 96), D),
        P: T.Tensor((100, 96), "bool"),
        R: T.Tensor((100, 96), "int8"),
    ):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_fragment((64, 96), D)
            columns = T.alloc_shared((96,), "uint8")
            few = T.alloc_fragment((96,), "bool")
            rows = T.alloc_shared((64,), "bool")
            s = T.alloc_shared((64, 96), "int8")
            p = T.alloc_shared((64, 96), "bool")
            r = T.alloc_fragment((64, 96), "int8")
            T.copy(A[bx * 64, 0], a)
            T.copy(M, columns)
            T.copy(B[bx * 64], rows)
            T.copy(S[bx * 64, 0], s)
            T.fill(p, False)
            for j in T.Parallel(96):
                few[j] = columns[j] <= T.uint8(3)
            for i, j in T.Parallel(64, 96):
                low = columns[j] & T.uint8(15)
                chosen = rows[i] | ((columns[j] != 0) & few[j] & (j < 60))
                a[i, j] = T.if_then_else(chosen, a[i, j], T.cast(low, D) - T.cast(columns[j] >> T.uint8(4), D) * 16)
                p[i, j] = (a[i, j] > 0) | (s[i, j] == -128)
                r[i, j] = T.if_then_else(p[i, j], T.max(s[i, j], T.int8(-5)), T.int8(7))
            T.copy(a, C[bx * 64, 0])
            T.copy(p, P[bx * 64, 0])
            T.copy(r, R[bx * 64, 0])

    def reference(a, m, s, b):
        m, b = m.long(), b != 0
        chosen = b[:, None] | ((m != 0) & (m <= 3) & (torch.arange(96) < 60))
        c = torch.where(chosen, a, ((m & 15) - (m >> 4) * 16).double())
        p = (c > 0) | (s == -128)
        return [c, p.double(), torch.where(p, s.clamp(min=-5), 7.0)]

    return kernel, reference, 3


def wrapping():
    """Casts to 8 bits wrap around; to bool they ask for zero; floats are cut."""

    @T.prim_func
    def kernel(
        K: T.Tensor((64, 64), Z),
        S: T.Tensor((64, 64), "int8"),
        A: T.Tensor((64, 64), F),
        X: T.Tensor((64, 64), "int8"),
        Y: T.Tensor((64, 64), "uint8"),
        W: T.Tensor((64, 64), "uint8"),
        V: T.Tensor((64, 64), Z),
        U: T.Tensor((64, 64), "bool"),
    ):
        with T.Kernel(2, threads=128) as bx:
            n = T.alloc_fragment((32, 64), Z)
            s, x = T.alloc_fragment((32, 64), "int8"), T.alloc_fragment((32, 64), "int8")
            y, w = T.alloc_fragment((32, 64), "uint8"), T.alloc_fragment((32, 64), "uint8")
            v = T.alloc_fragment((32, 64), Z)
            a, o = T.alloc_fragment((32, 64), F), T.alloc_fragment((32, 64), "bool")
            T.copy(K[bx * 32, 0], n)
            T.copy(S[bx * 32, 0], s)
            T.copy(A[bx * 32, 0], a)
            T.copy(s, v)
            for i, j in T.Parallel(32, 64):
                x[i, j] = T.cast(n[i, j] + T.cast(s[i, j], Z), "int8")
                y[i, j] = T.cast(n[i, j] * 3, "uint8")
                w[i, j] = ~T.cast(T.abs(a[i, j]) * 20, "uint8")
                o[i, j] = T.cast(s[i, j] & T.int8(6), "bool")
                v[i, j] = v[i, j] * 1000 + T.cast(y[i, j], Z)
            T.copy(x, X[bx * 32, 0])
            T.copy(y, Y[bx * 32, 0])
            T.copy(w, W[bx * 32, 0])
            T.copy(v, V[bx * 32, 0])
            T.copy(o, U[bx * 32, 0])

    def reference(n, s, a):
        n, s = n.long(), s.long()
        y = (n * 3) % 256
        results = [(n + s + 128) % 256 - 128, y, 255 - (a.abs() * 20).long(), s * 1000 + y, (s & 6) != 0]
        return [result.double() for result in results]

    return kernel, reference, 5


def blocks_left_out(dtype, through):
    """A product of the blocks that a mask of blocks leaves, read from the tensor or by way of an on-chip copy of it."""

    @T.prim_func
    def kernel(
        A: T.Tensor((128, 128), D), B: T.Tensor((128, 64), D), M: T.Tensor((2, 4), dtype), C: T.Tensor((128, 64), D)
    ):
        with T.Kernel(2, threads=128) as bx:
            a, b = T.alloc_shared((64, 32), D), T.alloc_shared((32, 64), D)
            c = T.alloc_fragment((64, 64), F)
            mask = T.alloc_fragment((4,), dtype)
            T.clear(c)
            if through:
                T.copy(M[bx, 0:4], mask)
            for k in T.Pipelined(4, num_stages=2):
                if (mask[k] if through else M[bx, k]) != 0:
                    T.copy(A[bx * 64, k * 32], a)
                    T.copy(B[k * 32, 0], b)
                    T.gemm(a, b, c)
            T.copy(c, C[bx * 64, 0])

    def reference(a, b, m):
        kept = (m != 0).repeat_interleave(64, 0).repeat_interleave(32, 1)
        return [(a * kept) @ b]

    return kernel, reference, 1


def largest():
    """Whether any element of a row holds, and the largest of a column."""

    @T.prim_func
    def kernel(
        B: T.Tensor((64, 64), "bool"), S: T.Tensor((64, 64), "int8"), C: T.Tensor((64,), "bool"), E: T.Tensor((64,), D)
    ):
        with T.Kernel(1, threads=128) as bx:
            b, s = T.alloc_fragment((64, 64), "bool"), T.alloc_fragment((64, 64), "int8")
            some, most = T.alloc_fragment((64,), "bool"), T.alloc_fragment((64,), "int8")
            T.copy(B, b)
            T.copy(S, s)
            for i, j in T.Parallel(64, 64):
                b[i, j] = T.if_then_else(i % 2 == 0, b[i, j], T.bool(False))
            T.reduce_max(b, some, dim=1)
            T.reduce_max(s, most, dim=0)
            T.copy(some, C)
            T.copy(most, E)

    return kernel, lambda b, s: [(b.amax(1) * (torch.arange(64) % 2 == 0)).double(), s.amax(0)], 2


def products_in_tfloat32():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), B: T.Tensor((64, 96), T.tfloat32), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            a, b = T.alloc_shared((64, 96), D), T.alloc_shared((64, 96), T.tfloat32)
            wide, c = T.alloc_fragment((64, 96), T.tfloat32), T.alloc_fragment((64, 64), F)
            T.copy(A, a)
            T.copy(B, b)
            T.copy(a, wide)
            for i, j in T.Parallel(64, 96):
                wide[i, j] = wide[i, j] * wide[i, j] + T.cast(0.5, T.tfloat32)
            T.gemm(wide, b, c, transpose_B=True, clear_accum=True)
            T.copy(c, C)

    return kernel, lambda a, b: [(a * a + 0.5) @ b.T], 1


ALL = {
    "masks": masks,
    "wrapping": wrapping,
    **{
        f"blocks_left_out_{dtype}_{'through' if through else 'direct'}": lambda dtype=dtype, through=through: (
            blocks_left_out(dtype, through)
        )
        for dtype, through in (("bool", False), ("uint8", True), ("int8", False), ("bool", True))
    },
    "largest": largest,
    "tfloat32": products_in_tfloat32,
}
