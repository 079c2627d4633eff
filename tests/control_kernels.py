"""Kernels with branches and loops, and what they compute.

Their outputs are their last tensors. tests/test_control_flow.py runs them on the emulator, tests/device on chips.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tilelang.language as T
import torch

D, F, INT = "bfloat16", "float32", "int32"


@dataclass
class Example:
    """``reference`` is given the inputs as float64; ``inputs`` are those that are not random, by name."""

    kernel: Any
    reference: Callable[..., Any]
    outputs: int = 1
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)

    def all_inputs(self) -> dict[str, torch.Tensor]:
        """Every input, drawn where it is not given."""
        torch.manual_seed(0)
        buffers = [self.kernel.buffer_map[param] for param in self.kernel.params]
        drawn = {}
        for buffer in buffers[: -self.outputs]:
            shape, name = [int(dim) for dim in buffer.shape], str(buffer.name)
            dtype = getattr(torch, str(buffer.dtype).replace("custom[tfloat32]", "float32"))
            numbers = torch.randn(shape) if dtype.is_floating_point else torch.randint(0, 256, shape) % 250
            drawn[name] = self.inputs.get(name, (numbers % 2 if dtype == torch.bool else numbers).to(dtype))
        return drawn


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

    return Example(kernel, reference, 1)


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

    return Example(kernel, reference, 2)


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

    return Example(kernel, reference, 1)


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

    return Example(kernel, reference, 1)


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

    return Example(kernel, reference, 2)


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

    return Example(kernel, lambda a: 2 * a[0] + a[1] * a[0] + (a[1] + a[2]) @ a[0], 1)


# ---- numbers that the kernel reads ----------------------------------------------------------------------------------


LENGTHS = {
    "some": torch.tensor([128, 1, 65, 32], dtype=torch.int32),
    "odd": torch.tensor([0, -5, 127, 200], dtype=torch.int32),
}


def lengths_of_batches(which):
    """Bounds, masks and conditions by a tensor's elements; "odd": none, fewer than none, more than there are."""

    @T.prim_func
    def kernel(
        A: T.Tensor((4, 128, 64), D), lengths: T.Tensor((4,), INT), C: T.Tensor((4, 32, 64), F), E: T.Tensor((128,), F)
    ):
        with T.Kernel(1, 4, threads=128) as (_bx, bz):
            a = T.alloc_shared((32, 64), D)
            c = T.alloc_fragment((32, 64), F)
            s = T.alloc_fragment((32,), F)
            T.clear(c)
            T.clear(s)
            for k in T.Pipelined(T.ceildiv(lengths[bz], 32), num_stages=2):
                T.copy(A[bz, k * 32, 0], a)
                for i, j in T.Parallel(32, 64):
                    c[i, j] = c[i, j] * 0.5 + T.if_then_else(k * 32 + i < lengths[bz], a[i, j], 0)
                if k * 32 + 32 > lengths[bz]:
                    T.reduce_max(c, s, dim=1)
            T.copy(c, C[bz, 0, 0])
            T.copy(s, E[bz * 32])

    def reference(a, lengths):
        c, s = torch.zeros(4, 32, 64, dtype=torch.double), torch.zeros(4, 32, dtype=torch.double)
        for z, length in enumerate(int(x) for x in lengths):
            padded = torch.cat([a[z], torch.zeros(128, 64).double()])
            padded[max(length, 0) :] = 0
            for k in range(max(0, -(-length // 32))):
                c[z] = c[z] * 0.5 + padded[k * 32 : k * 32 + 32]
                if k * 32 + 32 > length:
                    s[z] = c[z].amax(1)
        return [c, s.view(-1)]

    return Example(kernel, reference, 2, {"lengths": LENGTHS[which]})


def pages_of_a_table():
    """Blocks taken from where a table says, by row and by matrix, also past the end and before the beginning."""

    @T.prim_func
    def kernel(
        A: T.Tensor((320, 64), D),
        B: T.Tensor((6, 32, 64), D),
        table: T.Tensor((3, 40), INT),
        C: T.Tensor((96, 64), F),
        E: T.Tensor((320, 64), D),
    ):
        with T.Kernel(3, threads=128) as bx:
            a = T.alloc_shared((32, 64), D)
            b = T.alloc_shared((32, 64), D)
            c = T.alloc_fragment((32, 64), F)
            T.clear(c)
            for k in T.serial(table[bx, 39]):
                T.copy(A[table[bx, k] * 32, 0], a)
                T.copy(B[table[bx, k + 33], 0, 0], b)
                for i, j in T.Parallel(32, 64):
                    c[i, j] += a[i, j] * (k + 1) + b[i, j] * table[bx, 32]
                if table[bx, k] >= 0:
                    T.copy(a, E[table[bx, k] * 32, 0])
            T.copy(c, C[bx * 32, 0])

    table = torch.zeros(3, 40, dtype=torch.int32)
    table[:, :4] = torch.tensor([[3, 9, 0, -1], [7, 2, 1, 2**30], [4, 5, 6, 8]])
    table[:, 32:37] = torch.tensor([[2, 0, 5, 1, 3], [-3, 6, 1, -1, 0], [1, 2, 2, 2, 2]])
    table[:, 39] = 4

    def reference(a, b, table):
        def block(x, number):
            return x[number] if 0 <= number < len(x) else torch.zeros(32, 64).double()

        c, e, rows = torch.zeros(3, 32, 64).double(), torch.zeros(10, 32, 64).double(), a.view(10, 32, 64)
        for x, entries in enumerate(table.long().tolist()):
            for k in range(entries[39]):
                c[x] += block(rows, entries[k]) * (k + 1) + block(b, entries[k + 33]) * entries[32]
                if 0 <= entries[k] < 10:
                    e[entries[k]] = rows[entries[k]]
        return [c.view(96, 64), e.view(320, 64)]

    return Example(kernel, reference, 2, {"table": table})


def variables_and_exits():
    """T.alloc_var, while, break and continue; a value that depends on a variable that changes later."""

    @T.prim_func
    def kernel(A: T.Tensor((8, 32, 32), F), stop: T.Tensor((4,), INT), C: T.Tensor((4, 32, 32), F)):
        with T.Kernel(4, threads=128) as bx:
            a = T.alloc_shared((32, 32), F)
            c = T.alloc_fragment((32, 32), F)
            d = T.alloc_fragment((32, 32), F)
            count = T.alloc_var("int32")
            place = T.alloc_var("int32", init=1)
            T.clear(c)
            count = 0
            for k in T.serial(8):
                if k == stop[bx]:
                    break
                T.copy(A[k, 0, 0], a)
                if (k + bx) % 3 == 0:
                    continue
                count = count + 1
                for i, j in T.Parallel(32, 32):
                    c[i, j] = c[i, j] * 0.5 + a[i, j] * count
            for i, j in T.Parallel(32, 32):
                d[i, j] = place * 100 + i
            while place < count:
                place = place * 2
                for i, j in T.Parallel(32, 32):
                    c[i, j] += place
            for i, j in T.Parallel(32, 32):
                c[i, j] += d[i, j] + a[i, j]
            T.copy(c, C[bx, 0, 0])

    def reference(a, stop):
        out = []
        for x in range(4):
            c, count, last, place = torch.zeros(32, 32).double(), 0, torch.zeros(32, 32).double(), 1
            for k in range(8):
                if k == int(stop[x]):
                    break
                last = a[k]
                if (k + x) % 3 == 0:
                    continue
                count += 1
                c = c * 0.5 + a[k] * count
            while place < count:
                place *= 2
                c = c + place
            out.append(c + 100 + torch.arange(32)[:, None] + last)
        return torch.stack(out)

    return Example(kernel, reference, 1, {"stop": torch.tensor([3, 9, 0, 7], dtype=torch.int32)})


def persistent_kernels(form):
    """A kernel that goes over its tiles itself."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 192), D), C: T.Tensor((128, 192), D)):
        with T.Kernel(5, threads=128) as block:
            a = T.alloc_shared((32, 64), D)
            if form == "loop":
                for wave in T.serial(3):
                    if block + wave * 5 < 12:
                        T.copy(A[(block + wave * 5) // 3 * 32, (block + wave * 5) % 3 * 64], a)
                        T.copy(a, C[(block + wave * 5) // 3 * 32, (block + wave * 5) % 3 * 64])
            else:
                for by, bx in T.Persistent([4, 3], 5, block):
                    T.copy(A[by * 32, bx * 64], a)
                    T.copy(a, C[by * 32, bx * 64])

    return Example(kernel, lambda a: a)
