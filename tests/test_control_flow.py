"""Branches and loops outside of T.Parallel, and what buffers hold behind them: rows of docs/coverage.md."""

import control_kernels
import pytest
import tilelang.language as T
import torch
from constructs import check, random_tensor, supported

from tilelang_tt.language.kernel import read_kernel
from tilelang_tt.layout import block_sharded


def check_example(example, **options):
    outputs, inputs = tuple(range(-example.outputs, 0)), list(example.all_inputs().values())
    return check(example.kernel, example.reference, outputs, inputs=inputs, **options)


@supported("Conditions", "`if`, `elif`, `else` around statements, on block indices; what they set is read after them")
@pytest.mark.parametrize("layout", [None, {"C": block_sharded((256, 64), (4, 1))}], ids=["global", "local_shard"])
def test_branches_on_the_block(layout):
    check_example(control_kernels.branches_on_the_block(), layout=layout)


@supported("Conditions", "`if` on loop variables; what only one arm sets keeps its old value in the other")
def test_branches_in_a_loop():
    check_example(control_kernels.branches_in_a_loop())


@supported("Conditions", "`if` around loads, products, stores and loops, one inside the other")
def test_branches_inside_branches():
    check_example(control_kernels.branches_inside_branches())


@supported("Conditions", "`if` and bounds on indices that may be negative")
def test_signed_conditions():
    check_example(control_kernels.signed_conditions())


@supported("Loops", "a block loaded in a loop, read in the next iteration and after the loop")
@pytest.mark.parametrize("count", ["constant", "block"])
def test_loads_that_loops_carry(count):
    check_example(control_kernels.loads_that_loops_carry(count))


@supported("Copies", "into a buffer whose old value is still needed, by a value computed from it or a copy of it")
def test_reload_of_a_buffer_in_use():
    check_example(control_kernels.reload_of_a_buffer_in_use())


@supported("Loops", "bounds, conditions and masks by elements of an int32 tensor; a negative bound counts as 0")
@pytest.mark.parametrize("which", control_kernels.LENGTHS)
def test_lengths_of_batches(which):
    check_example(control_kernels.lengths_of_batches(which))


@supported("Loops", "a name for a tensor's element, in front of the grid, as a bound")
def test_a_name_in_front_of_the_grid():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float32"), n: T.Tensor((1,), "int32"), C: T.Tensor((64, 64), "float32")):
        rounds = n[0] + 1
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((32, 64), "float32")
            c = T.alloc_fragment((32, 64), "float32")
            T.copy(A[bx * 32, 0], a)
            T.clear(c)
            for _ in T.serial(rounds):
                for i, j in T.Parallel(32, 64):
                    c[i, j] += a[i, j]
            T.copy(c, C[bx * 32, 0])

    inputs = [random_tensor((64, 64), "float32"), torch.tensor([2], dtype=torch.int32)]
    check(kernel, lambda a, n: 3 * a, inputs=inputs)


@supported("Copies", "of blocks whose place is an element of an int32 tensor; outside the tensor they read as zeros")
def test_pages_of_a_table():
    check_example(control_kernels.pages_of_a_table())


def test_the_same_element_of_two_tensors_of_integers():
    @T.prim_func
    def kernel(
        A: T.Tensor((128, 64), "float32"),
        first: T.Tensor((2,), "int32"),
        second: T.Tensor((2,), "int32"),
        C: T.Tensor((64, 64), "float32"),
    ):
        with T.Kernel(1, 2, threads=128) as (_bx, by):
            a = T.alloc_shared((32, 64), "float32")
            b = T.alloc_shared((32, 64), "float32")
            T.copy(A[first[by] * 32, 0], a)
            T.copy(A[second[by] * 32, 0], b)
            for i, j in T.Parallel(32, 64):
                a[i, j] = T.if_then_else(i < first[by], a[i, j], T.if_then_else(i < second[by], b[i, j], 0.0))
            T.copy(a, C[by * 32, 0])

    a = random_tensor((128, 64), "float32")
    first, second = (torch.tensor(places, dtype=torch.int32) for places in ((0, 2), (3, 1)))

    def reference(a, first, second):
        rows = torch.arange(32)[:, None]
        halves = [
            torch.where(rows < f, a[32 * f : 32 * f + 32], torch.where(rows < s, a[32 * s : 32 * s + 32], 0.0))
            for f, s in ((0, 3), (2, 1))
        ]
        return torch.cat(halves)

    check(kernel, reference, inputs=[a, first, second])


@supported("Loops", "`while`, `break`, `continue`, and integers of `T.alloc_var`")
def test_variables_and_exits():
    check_example(control_kernels.variables_and_exits())


@supported("Edges", "indices of leading dimensions that are outside: copies read zeros, and write nothing")
def test_a_batch_index_outside():
    @T.prim_func
    def kernel(A: T.Tensor((2, 32, 64), "bfloat16"), C: T.Tensor((5, 32, 64), "bfloat16")):
        with T.Kernel(1, 1, 7, threads=128) as (_bx, _by, bz):
            a = T.alloc_shared((32, 64), "bfloat16")
            b = T.alloc_shared((32, 64), "bfloat16")
            T.copy(A[bz - 2, 0, 0], a)
            T.copy(A[(bz - 3) // 2, 0, 0], b)
            for i, j in T.Parallel(32, 64):
                a[i, j] = a[i, j] * 2 + b[i, j]
            T.copy(a, C[bz - 1, 0, 0])

    zeros = torch.zeros(1, 32, 64, dtype=torch.double)

    def reference(a):
        shifted = torch.cat([zeros, a, zeros, zeros])
        return shifted * 2 + torch.cat([zeros, zeros, a[[0, 0, 1]]])

    check(kernel, reference)


def test_what_a_hint_is_around_is_part_of_the_kernel():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "bfloat16"), C: T.Tensor((64, 64), "bfloat16")):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            a = T.alloc_shared((32, 32), "bfloat16")
            T.use_swizzle(10)
            T.copy(A[by * 32, bx * 32], a)
            T.copy(a, C[by * 32, bx * 32])

    assert [tensor.roles for tensor in read_kernel(kernel).tensors] == [("M", "N"), ("M", "N")]


@supported("Threads", "`T.Persistent`, and loops over tiles of the kernel's own")
@pytest.mark.parametrize("form", ["T.Persistent", "loop"])
def test_persistent_kernels(form):
    check_example(control_kernels.persistent_kernels(form))
