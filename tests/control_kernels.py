"""Kernels with branches and loops: (kernel, what it computes on float64 tensors, number of outputs).

Their outputs are their last tensors. tests/test_control_flow.py runs them on the emulator, tests/device on chips.
"""

import tilelang.language as T
import torch

D, F = "bfloat16", "float32"


def branches_on_the_block():
    @T.prim_func
    def kernel(A: T.Tensor((256, 64), D), C: T.Tensor((256, 64), D)):
        with T.Kernel(1, 4, threads=128) as (_bx, by):
            a = T.alloc_shared((64, 64), D)
            c = T.alloc_fragment((64, 64), F)
            T.copy(A[by * 64, 0], a)
            if by == 0:
                for i, j in T.Parallel(64, 64):
                    c[i, j] = a[i, j] * 2
            elif by - 1 < 1:
                T.copy(A[0, 0], a)
                T.gemm(a, a, c, clear_accum=True)
            else:
                T.fill(c, 3.0)
            for i, j in T.Parallel(64, 64):
                c[i, j] = c[i, j] + a[i, j]
            T.copy(c, C[by * 64, 0])

    def reference(a):
        first = a[:64]
        return torch.cat([first * 3, first @ first + first, 3 + a[128:]])

    return kernel, reference, 1


def branches_in_a_loop():
    @T.prim_func
    def kernel(A: T.Tensor((6, 32, 64), D), C: T.Tensor((32, 64), F), E: T.Tensor((32,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((32, 64), D)
            total = T.alloc_fragment((32, 64), F)
            largest = T.alloc_fragment((32,), F)
            T.clear(total)
            for k in T.Pipelined(6, num_stages=2):
                if k != 4:
                    T.copy(A[k, 0, 0], a)
                if k == 0:
                    T.reduce_max(a, largest, dim=1)
                elif k % 2 == 1:
                    for i, j in T.Parallel(32, 64):
                        total[i, j] += a[i, j] * largest[i]
                    T.reduce_max(a, largest, dim=1, clear=False)
            T.copy(total, C[0, 0])
            T.copy(largest, E[0])

    def reference(a):
        rows = a.amax(2)
        first, second, third = rows[0], rows[:2].amax(0), rows[[0, 1, 3]].amax(0)
        total = a[1] * first[:, None] + a[3] * second[:, None] + a[5] * third[:, None]
        return [total, rows[[0, 1, 3, 5]].amax(0)]

    return kernel, reference, 2


def branches_inside_branches():
    @T.prim_func
    def kernel(A: T.Tensor((128, 128), D), B: T.Tensor((128, 64), D), C: T.Tensor((128, 64), F)):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            a = T.alloc_shared((64, 32), D)
            b = T.alloc_shared((32, 32), D)
            c = T.alloc_fragment((64, 32), F)
            T.clear(c)
            for k in T.serial(4):
                if k * 32 < (by + 1) * 64:
                    T.copy(A[by * 64, k * 32], a)
                    T.copy(B[k * 32, bx * 32], b)
                    if T.Or(bx == 0, k > 0):
                        T.gemm(a, b, c)
                    if k == 3:
                        T.copy(c, C[by * 64, bx * 32])
                        for _ in T.serial(bx):
                            for i, j in T.Parallel(64, 32):
                                c[i, j] = -c[i, j]
            if by == 0:
                T.copy(c, C[0, bx * 32])
            elif bx == 1:
                T.copy(c, C[by * 64, 32])

    def reference(a, b):
        seen = torch.ones(128, 128, dtype=torch.double)
        seen[:64, 64:] = 0
        full, short = (a * seen) @ b, (a * seen)[:, 32:] @ b[32:]
        result = torch.cat([full[:, :32], short[:, 32:]], 1)
        result[64:, 32:] *= -1
        return result

    return kernel, reference, 1


def signed_conditions():
    @T.prim_func
    def kernel(A: T.Tensor((160, 32), D), C: T.Tensor((160, 32), F)):
        with T.Kernel(5, threads=128) as bx:
            a = T.alloc_shared((32, 32), D)
            c = T.alloc_fragment((32, 32), F)
            T.clear(c)
            for k in T.serial(T.max(0, (bx * 32 - 48) // 32), bx + 1):
                if k - bx < -1:
                    T.clear(c)
                elif (k - 3) // 2 >= -1:
                    T.copy(A[k * 32, 0], a)
                    for i, j in T.Parallel(32, 32):
                        c[i, j] += a[i, j]
            T.copy(c, C[bx * 32, 0])

    def reference(a):
        blocks = a.view(5, 32, 32)
        kept = [[k for k in range(max(0, (x * 32 - 48) // 32), x + 1) if k - x >= -1 and k >= 1] for x in range(5)]
        return torch.cat([blocks[ks].sum(0) if ks else torch.zeros(32, 32).double() for ks in kept])

    return kernel, reference, 1


def loads_that_loops_carry(count):
    @T.prim_func
    def kernel(A: T.Tensor((4, 64, 32), D), C: T.Tensor((192, 32), F), E: T.Tensor((192, 32), D)):
        with T.Kernel(3, threads=128) as bx:
            a = T.alloc_shared((64, 32), D)
            total = T.alloc_fragment((64, 32), F)
            T.copy(A[0, 0, 0], a)
            T.clear(total)
            for k in T.serial(3 if count == "constant" else bx):
                for i, j in T.Parallel(64, 32):
                    total[i, j] = total[i, j] * 0.5 + a[i, j]
                T.copy(A[k + 1, 0, 0], a)
            T.copy(total, C[bx * 64, 0])
            T.copy(a, E[bx * 64, 0])

    def reference(a):
        totals, last = [], []
        for x in range(3):
            total = torch.zeros_like(a[0])
            steps = 3 if count == "constant" else x
            for k in range(steps):
                total = total * 0.5 + a[k]
            totals.append(total)
            last.append(a[steps])
        return [torch.cat(totals), torch.cat(last)]

    return kernel, reference, 2


def reload_of_a_buffer_in_use():
    @T.prim_func
    def kernel(A: T.Tensor((3, 64, 64), D), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            kept = T.alloc_shared((64, 64), D)
            c = T.alloc_fragment((64, 64), F)
            T.copy(A[0, 0, 0], a)
            T.copy(a, kept)
            for i, j in T.Parallel(64, 64):
                c[i, j] = a[i, j] * 2
            T.copy(A[1, 0, 0], a)
            for i, j in T.Parallel(64, 64):
                c[i, j] = c[i, j] + a[i, j] * kept[i, j]
            for k in T.serial(2):
                T.copy(A[k + 1, 0, 0], a)
                T.gemm(a, kept, c)
            T.copy(c, C[0, 0])

    return kernel, lambda a: 2 * a[0] + a[1] * a[0] + (a[1] + a[2]) @ a[0], 1
