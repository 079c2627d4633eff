"""Kernels with T.cumsum: each with its reference and its number of outputs, for the emulator's tests and for those on
chips."""

import tilelang.language as T

D, F = "bfloat16", "float32"


def running(a, dim, reverse):
    return a.flip(dim).cumsum(dim).flip(dim) if reverse else a.cumsum(dim)


def of_matrices(dim, reverse, shape=(64, 96), dtype=D):
    """In place and to another buffer, of blocks that a loop brings."""
    M, N = shape

    @T.prim_func
    def kernel(A: T.Tensor((2, M, N), dtype), C: T.Tensor((2, M, N), F), E: T.Tensor((2, M, N), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((M, N), dtype)
            own = T.alloc_fragment((M, N), F)
            c = T.alloc_fragment((M, N), F)
            for k in T.serial(2):
                T.copy(A[k, 0, 0], a)
                T.copy(a, own)
                T.cumsum(a, c, dim=dim, reverse=reverse)
                T.cumsum(own, dim=dim, reverse=reverse)
                T.copy(c, C[k, 0, 0])
                T.copy(own, E[k, 0, 0])

    return kernel, lambda a: [running(a, dim + 1, reverse)] * 2, 2


def of_vectors(reverse, length=64):
    """Of a vector, of a row (1, N) and of a column (M, 1), used on in an expression."""

    @T.prim_func
    def kernel(A: T.Tensor((3, length), D), C: T.Tensor((3, length), F)):
        with T.Kernel(1, threads=128) as bx:
            v = T.alloc_shared((length,), F)
            row = T.alloc_shared((1, length), F)
            column = T.alloc_fragment((length, 1), F)
            T.copy(A[0, 0:length], v)
            T.copy(A[1, 0], row)
            for i in T.Parallel(length):
                column[i, 0] = A[2, i] * 2
            T.cumsum(v, reverse=reverse)
            T.cumsum(row, dim=1, reverse=reverse)
            T.cumsum(column, dim=0, reverse=reverse)
            for i in T.Parallel(length):
                v[i] = v[i] + 1
            T.copy(v, C[0, 0:length])
            T.copy(row, C[1, 0])
            for i in T.Parallel(length):
                C[2, i] = column[i, 0]

    def reference(a):
        sums = running(a, 1, reverse)
        sums[0] += 1
        sums[2] *= 2
        return sums

    return kernel, reference, 1
