"""Kernels of int32."""

import operator

import numpy as np
import tilelang
import tilelang.language as T

# name -> of two int32 elements in a kernel, and the same of numpy arrays
INTEGER_OPS = {
    "add": (operator.add, operator.add),
    "sub": (operator.sub, operator.sub),
    "mul": (operator.mul, operator.mul),
    "max": (lambda a, b: T.max(a, b), np.maximum),
    "min": (lambda a, b: T.min(a, b), np.minimum),
    "and": (operator.and_, operator.and_),
    "or": (operator.or_, operator.or_),
    "xor": (operator.xor, operator.xor),
    "abs": (lambda a, b: T.abs(a) - b, lambda a, b: np.abs(a) - b),
    "shift": (lambda a, b: (a >> 7) ^ (b << 3), lambda a, b: (a >> 7) ^ (b << 3)),
    "modulo": (lambda a, b: a // 16 - b % 64, lambda a, b: a // 16 - b % 64),
    "lt": (lambda a, b: T.if_then_else(a < b, a, -b), lambda a, b: np.where(a < b, a, -b)),
    "le": (lambda a, b: T.if_then_else(a <= b, a, -b), lambda a, b: np.where(a <= b, a, -b)),
    "gt": (lambda a, b: T.if_then_else(a > b, a, -b), lambda a, b: np.where(a > b, a, -b)),
    "ge": (lambda a, b: T.if_then_else(a >= b, a, -b), lambda a, b: np.where(a >= b, a, -b)),
    "eq": (lambda a, b: T.if_then_else(a == b, a, -b), lambda a, b: np.where(a == b, a, -b)),
    "ne": (lambda a, b: T.if_then_else(a != b, a, -b), lambda a, b: np.where(a != b, a, -b)),
}


@tilelang.jit
def integer_binary(M, N, bm, bn, op, dtype="int32"):
    @T.prim_func
    def main(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), dtype), C: T.Tensor((M, N), "int32")):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bn), dtype)
            B_shared = T.alloc_shared((bm, bn), dtype)
            C_local = T.alloc_fragment((bm, bn), "int32")
            T.copy(A[by * bm, bx * bn], A_shared)
            T.copy(B[by * bm, bx * bn], B_shared)
            for i, j in T.Parallel(bm, bn):
                C_local[i, j] = INTEGER_OPS[op][0](T.cast(A_shared[i, j], "int32"), T.cast(B_shared[i, j], "int32"))
            T.copy(C_local, C[by * bm, bx * bn])

    return main


@tilelang.jit
def integer_casts(M, N, bm, bn, dtype):
    """B = int32(A), C = B * 3 + an integer of the element's indices."""

    @T.prim_func
    def main(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), "int32"), C: T.Tensor((M, N), "int32")):
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
            A_shared = T.alloc_shared((bm, bn), dtype)
            B_local = T.alloc_fragment((bm, bn), "int32")
            C_local = T.alloc_fragment((bm, bn), "int32")
            T.copy(A[by * bm, bx * bn], A_shared)
            T.copy(A_shared, B_local)
            for i, j in T.Parallel(bm, bn):
                C_local[i, j] = T.cast(A_shared[i, j], "int32") * 3 + ((by * bm + i) * 1000001 + (bx * bn + j) * 7)
            T.copy(B_local, B[by * bm, bx * bn])
            T.copy(C_local, C[by * bm, bx * bn])

    return main
