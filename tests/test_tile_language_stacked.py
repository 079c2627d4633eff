"""On-chip buffers of three and more dimensions, against torch on the emulator."""

import pytest
import stacked_kernels
import tilelang.language as T
from constructs import check, supported

import tilelang_tt as tt
from tilelang_tt.errors import UnsupportedError
from tilelang_tt.layout import height_sharded

D, F = "bfloat16", "float32"


def run(name, **options):
    kernel, reference, outputs = stacked_kernels.ALL[name]()
    return check(kernel, reference, tuple(range(-outputs, 0)), **options)


@supported("Products", "of one stage of several: `T.alloc_shared((2, 64, 64))`, `T.gemm(a[k % 2, :, :], ...)`")
@pytest.mark.parametrize("mode", ["global", "local_shard"])
def test_stages_by_hand(mode):
    layout = {"A": height_sharded((128, 256), 2), "C": height_sharded((128, 64), 2)} if mode == "local_shard" else None
    assert run("stages_by_hand", layout=layout).spec.partition.mode == mode


@supported("Copies", "blocks of three dimensions")
@supported("Expressions", "`T.Parallel` over three dimensions, with buffers of two and three")
@supported("Reductions", "of buffers of three dimensions, along one of the last two")
def test_matrices_at_once():
    run("matrices_at_once", tolerance=2**-8)


def test_small_matrices():
    run("small_matrices")


def test_four_dimensions():
    @T.prim_func
    def kernel(A: T.Tensor((2, 3, 32, 32), F), C: T.Tensor((2, 3, 32, 32), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((2, 3, 32, 32), F)
            T.copy(A, a)
            for s, t in T.Parallel(2, 3):
                a[s, t, 31, 5] = 7.0
            for s, t, i, j in T.Parallel(2, 2, 32, 32):
                a[s, t, i, j] = a[s, t + 1, i, j] * (s + 1)
            T.copy(a, C)

    def reference(a):
        a = a.clone()
        a[:, :, 31, 5] = 7
        factors = [1, 2]
        for s, factor in enumerate(factors):
            for t in range(2):
                a[s, t] = a[s, t + 1] * factor
        return a

    check(kernel, reference)


def refusal(statement):
    @T.prim_func
    def kernel(A: T.Tensor((2, 32, 32), F), C: T.Tensor((32, 32), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((2, 32, 32), F)
            c = T.alloc_fragment((32, 32), F)
            T.copy(A, a)
            statement(a, c)
            T.copy(c, C)

    with pytest.raises(UnsupportedError) as error:
        tt.compile(kernel)
    assert error.value.location is not None
    return str(error.value)


def test_a_reduction_over_the_matrices_is_refused():
    words = refusal(lambda a, c: T.reduce_sum(a, c, dim=0))
    assert "a is more than one matrix" in words
    assert "matrix by matrix" in words
