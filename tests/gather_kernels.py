"""Kernels that pick rows and elements of tensors by computed indices, or take regions between computed ends: each with
its reference and its number of outputs, for the emulator's tests and for those on chips."""

import tilelang.language as T

D, F = "bfloat16", "float32"


def regions_between_names():
    """Attention over one split of the keys: its ends are names, of other names."""

    @T.prim_func
    def kernel(K: T.Tensor((2, 128, 1, 64), D), C: T.Tensor((2, 4, 32, 64), D)):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            k = T.alloc_shared((32, 64), D)
            for step in T.serial(2):
                half = by * 64
                first = half + step * 32
                last = half + (step + 1) * 32
                T.copy(K[bx, first:last, 0, :], k)
                T.copy(k, C[bx, by * 2 + step, :, :])

    return kernel, lambda k: k.reshape(2, 4, 32, 64), 1
