"""Rows, columns, elements and first rows of on-chip buffers, against torch on the emulator."""

import picked_part_kernels
import pytest
import tilelang.language as T
from constructs import check, supported

import tilelang_tt as tt
from tilelang_tt.errors import Code, UnsupportedError

D, F = "bfloat16", "float32"


def run(name, **options):
    kernel, reference, outputs = picked_part_kernels.ALL[name]()
    return check(kernel, reference, tuple(range(-outputs, 0)), **options)


@supported("Expressions", "rows, columns and elements of on-chip buffers: `x[t, j]` in `for t in T.serial(...)`")
@supported("Loops", "one row of an on-chip buffer at a time, written too")
def test_rows_one_by_one():
    run("rows_one_by_one")


@supported("Vectors", "elements of on-chip vectors, read and written: `v[k + 1] = v[k] * 2`")
@supported("Loops", "loops over single elements")
def test_elements_of_vectors():
    run("elements_of_vectors")


@supported("Expressions", "parts that begin at a hardware tile and end inside one, read and written")
def test_first_rows():
    run("first_rows")


@supported("Copies", "to and from rows and columns of on-chip buffers")
def test_rows_copied():
    run("rows_copied")


def test_picked_integers_keep_all_bits():
    run("picked_integers")


@supported("Vectors", "one that a loop goes past the end of: it is as long as the loop")
def test_one_element_for_all():
    run("one_element_for_all")


def test_float32_is_picked_bit_for_bit():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), F), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), F)
            c = T.alloc_fragment((64, 64), F)
            T.copy(A, a)
            for t in T.serial(64):
                for j in T.Parallel(64):
                    c[63 - t, j] = a[t, j]
            T.copy(c, C)

    check(kernel, lambda a: a.flip(0), tolerance=1e-12)


@pytest.mark.parametrize("row", [-1, 64])
def test_a_row_outside_the_buffer_is_refused(row):
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), F), C: T.Tensor((64,), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), F)
            c = T.alloc_fragment((64,), F)
            T.copy(A, a)
            for t in T.serial(2):
                for j in T.Parallel(64):
                    c[j] = a[t + row, j]
            T.copy(c, C)

    with pytest.raises(UnsupportedError, match="a part of on-chip buffer a does not") as error:
        tt.compile(kernel)
    assert error.value.code is Code.UNSUPPORTED
    assert "inside the buffer" in str(error.value)
