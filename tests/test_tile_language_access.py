"""Buffers of one row, column or element, rows and elements of tensors, transposed access and stores under conditions,
against torch on the emulator."""

import access_kernels
import numpy as np
import pytest
import tilelang
import tilelang.language as T
import torch
from constructs import check, supported

import tilelang_tt as tt

D, F = "bfloat16", "float32"


def run(name, tolerance=None):
    kernel, reference, outputs = getattr(access_kernels, name)()
    check(kernel, reference, tuple(range(-outputs, 0)), tolerance=tolerance)


@supported("Reductions", "to a buffer of one column `(M, 1)` or one row `(1, N)`, used as `s[i, 0]` and `s[0, j]`")
@pytest.mark.parametrize("name", ["buffers_of_one_column", "buffers_of_one_row"])
def test_buffers_of_one_column_or_row(name):
    run(name)


@supported("Reductions", "of a vector to one element; buffers of one element `(1,)`, `(1, 1)`, `T.alloc_var`")
def test_buffers_of_one_element():
    run("buffers_of_one_element")


@supported("Tensors", "of one row or one column, copied and stored")
def test_tensors_of_one_row_or_column():
    run("tensors_of_one_row_or_column")


@supported(
    "Vectors", "a tensor's element for all, also at a block index: `S[0]`, `B[bx]`; its rows and columns: `A[i, 0]`"
)
def test_elements_of_tensors():
    run("elements_of_tensors")


@supported("Vectors", "loaded from a row of a matrix, and stored to one")
def test_rows_of_tensors():
    run("rows_of_tensors", tolerance=2**-7)


@supported("Conditions", "on what is stored under them; names of values, used after what they are of was stored to")
def test_values_kept():
    run("values_kept")


def test_a_value_kept_for_both_arms_of_a_branch():
    @T.prim_func
    def kernel(A: T.Tensor((32, 32), F), C: T.Tensor((32, 32), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((32, 32), F)
            c = T.alloc_fragment((32, 32), F)
            T.copy(A, a)
            for i, j in T.Parallel(32, 32):
                x = T.abs(a[i, j])
                if a[i, j] > 0:
                    c[i, j] = x * 2
                    a[i, j] = 3
                    c[i, j] = c[i, j] + x * a[i, j]
                else:
                    a[i, j] = 5
                    c[i, j] = x + a[i, j]
                c[i, j] = c[i, j] - x
            T.copy(c, C)

    check(kernel, lambda a: torch.where(a > 0, 4 * a, 5))


@supported("Tensors", "rows, columns and elements written, among others in a hardware tile: `C[i, k] = v[i]`")
def test_parts_of_tiles_written():
    run("parts_of_tiles_written", tolerance=2**-7)


@supported("Vectors", "one vector along both the rows and the columns")
def test_vectors_both_ways():
    run("vectors_both_ways", tolerance=4e-3)


@supported("Vectors", "with indices as values, however they lie")
def test_indices_along_a_column():
    run("indices_along_a_column")


@supported("Expressions", "transposed access `A[j, i]`, of buffers and tensors, read and written; `T.transpose`")
def test_transposed_access():
    run("transposed_access")


@supported("Conditions", "remainders and quotients of indices, as values too")
def test_remainders_of_indices():
    run("remainders_of_indices", tolerance=1e-6)


def test_parts_of_one_tensor_of_several_sizes():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((2, 64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            c = T.alloc_fragment((64, 64), F)
            for k in T.serial(2):
                for i, j in T.Parallel(64, 64):
                    c[i, j] = A[3, 4] + A[5, 6] * A[i, j]
                for i, j in T.Parallel(64, 64):
                    c[i, j] = c[i, j] + A[i, 7] * A[8, j]
                T.copy(c, C[k, 0, 0])

    check(kernel, lambda a: (a[3, 4] + a[5, 6] * a + a[:, 7, None] * a[8]).expand(2, 64, 64))


def test_maxima_of_columns_keep_tf32():
    run("maxima_of_columns", tolerance=2**-10)


@supported(
    "Conditions", "`if` and `else` around stores in `T.Parallel`: where they do not hold, elements keep what they held"
)
def test_stores_under_conditions():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), C: T.Tensor((64, 96), F), E: T.Tensor((64, 96), F), G: T.Tensor((64, 96), D)):
        with T.Kernel(3, 2, threads=128) as (bx, by):
            a = T.alloc_fragment((32, 32), F)
            b = T.alloc_fragment((32, 32), F)
            T.copy(A[by * 32, bx * 32], a)
            for i, j in T.Parallel(32, 32):
                if a[i, j] > 0:
                    a[i, j] = a[i, j] * 2
            for i, j in T.Parallel(32, 32):
                if i >= j:
                    b[i, j] = a[i, j]
                else:
                    b[i, j] = 0
            for i, j in T.Parallel(32, 32):
                if i > j:
                    if a[i, j] < 0:
                        b[i, j] = 5
                    E[by * 32 + i, bx * 32 + j] = b[i, j]
            for i, j in T.Parallel(32, 32):
                if by * 32 + i < 40:
                    G[by * 32 + i, bx * 32 + j] = 1.0
            T.copy(b, C[by * 32, bx * 32])

    torch.manual_seed(0)
    a, g = torch.randn(64, 96).bfloat16(), torch.randn(64, 96).bfloat16()
    c, e = torch.zeros(64, 96), torch.randn(64, 96)
    e_before, g_before = e.clone(), g.clone()
    tt.compile(kernel)(a, c, e, g)
    row, column = torch.arange(64)[:, None], torch.arange(96)
    i, j = row % 32, column % 32
    doubled = torch.where(a > 0, a * 2, a).float()
    b = torch.where((i > j) & (doubled < 0), 5.0, torch.where(i >= j, doubled, 0.0))
    assert torch.equal(c, b)
    assert torch.equal(e, torch.where(i > j, b, e_before))
    assert torch.equal(g, torch.where(row < 40, torch.ones_like(g), g_before))


@supported("Tensors", "parameters that are numbers, as values of elements: `s: T.float32`, `n: T.int32`")
def test_parameters_that_are_numbers():
    kernel, reference = access_kernels.numbers()
    program, a, c = tt.compile(kernel), torch.randn(64, 96).bfloat16(), torch.zeros(64, 96)
    for s, n in ((0.25, 50), (np.float32(-2), np.int64(7))):
        program(a, s, c, n)
        assert torch.equal(c, reference(a.float(), float(s), int(n)))
    tilelang.compile(kernel, target="tenstorrent")(a, 1.5, c, 40)
    assert torch.equal(c, reference(a.float(), 1.5, 40))


def test_a_buffer_is_transposed_in_place():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), F), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((64, 64), F)
            T.copy(A[0, 0], a)
            for _ in T.serial(3):
                for i, j in T.Parallel(64, 64):
                    a[i, j] = a[j, i] + 1
            T.copy(a, C[0, 0])

    check(kernel, lambda a: a.T + 3)


def test_store_of_what_was_loaded_transposed():
    run("stored_transposed")
