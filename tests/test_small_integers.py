"""Masks and integers of 8 bits, which no engine has tiles of: stored as bfloat16, or as int32 where they are
conditions."""

import numpy as np
import pytest
import small_integer_kernels as examples
import tilelang.language as T
import torch
from constructs import check, supported

import tilelang_tt as tt
from tilelang_tt.errors import Code, ProgramError, UnsupportedError

D, F, Z = "bfloat16", "float32", "int32"


@supported("Tensors", "dtypes bool, int8 and uint8, on chip too: masks, choices, comparisons, casts, bits")
@pytest.mark.parametrize("name", ["masks", "wrapping", "largest"])
def test_small_integers(name):
    kernel, reference, outputs = examples.ALL[name]()
    check(kernel, reference, list(range(-outputs, 0)))


@supported("Conditions", "of integers and bool in an on-chip buffer that is a copy of a tensor's")
@pytest.mark.parametrize("name", [name for name in examples.ALL if name.startswith("blocks")])
def test_blocks_left_out(name):
    kernel, reference, _ = examples.ALL[name]()
    program = check(kernel, lambda *given: reference(*given)[0])
    assert program.spec.tensors[2].data_format == "Int32"


@supported("Tensors", "dtype tfloat32, as float32")
def test_tfloat32():
    kernel, reference, _ = examples.ALL["tfloat32"]()
    program = check(kernel, lambda *given: reference(*given)[0])
    assert program.spec.tensors[1].dtype == F


def element_wise(store, dtype, extra=D):
    @T.prim_func
    def kernel(A: T.Tensor((32, 32), dtype), C: T.Tensor((32, 32), dtype), E: T.Tensor((32, 32), extra)):
        with T.Kernel(1, threads=128) as bx:
            a, c = T.alloc_fragment((32, 32), dtype), T.alloc_fragment((32, 32), dtype)
            e = T.alloc_fragment((32, 32), extra)
            T.copy(A, a)
            T.copy(E, e)
            for i, j in T.Parallel(32, 32):
                c[i, j] = store(a[i, j], e[i, j], i, j)
            T.copy(c, C)

    return kernel


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_value_of_8_bits(dtype):
    """Comparisons with each kind of number, on both sides, and bits of both signs."""

    def store(a, e, i, j):
        same = T.Select(T.cast(a, Z) * 2 == T.cast(e, Z), T.cast(3, dtype), T.cast(a >> T.cast(2, dtype), dtype))
        return T.if_then_else(T.cast(i, dtype) < a, same, a | T.cast(4, dtype))

    values = torch.arange(1024).reshape(32, 32).to(getattr(torch, dtype))
    twice = (values.int() * 2).bfloat16()
    twice[::3] += 2
    found = tt.compile(element_wise(store, dtype), out_idx=1)(values, twice)
    rows, whole = torch.arange(32)[:, None], values.long()
    same = torch.where(whole * 2 == twice.long(), 3, whole >> 2)
    assert torch.equal(found.long(), torch.where(rows < whole, same, whole | 4))
    assert found.dtype == getattr(torch, dtype)


def test_beside_float16():
    """Masks have its exponents: the engines take one kind of 16-bit floats at a time."""
    kernel = element_wise(lambda a, e, i, j: (e > 0) & a, "bool", "float16")
    e, a = torch.randn(32, 32).half(), torch.rand(32, 32) > 0.5
    program = tt.compile(kernel, out_idx=1)
    assert [tensor.data_format for tensor in program.spec.tensors] == ["Float16"] * 3
    assert torch.equal(program(a, e), (e > 0) & a)
    narrow = tt.compile(kernel, schedule={"float16_as": "bfloat16"}, out_idx=1)
    assert torch.equal(narrow(a, e), (e > 0) & a)
    assert [tensor.data_format for tensor in narrow.spec.tensors] == ["Float16_b"] * 3


def test_numpy_and_other_dtypes_of_arguments():
    program = tt.compile(element_wise(lambda a, e, i, j: (e > 0) & a, "bool"))
    a, c, e = np.ones((32, 32), bool), np.zeros((32, 32), bool), torch.randn(32, 32).bfloat16()
    program(torch.from_numpy(a), torch.from_numpy(c), e)
    assert (c == (e.float() > 0).numpy()).all()
    with pytest.raises(ProgramError, match="argument 'A' has another dtype") as refused:
        program(torch.ones(32, 32).bfloat16(), torch.from_numpy(c), e)
    assert refused.value.code is Code.ARGUMENT_DTYPE
    assert "bool" in str(refused.value)


@pytest.mark.parametrize(
    ("store", "words"),
    [
        (lambda a, e, i, j: a + T.int8(1), "Add of int8"),
        (lambda a, e, i, j: a * a, "Mul of int8"),
        (lambda a, e, i, j: a << T.int8(1), "shift_left of int8"),
    ],
)
def test_arithmetic_that_may_leave_the_range_is_refused(store, words):
    with pytest.raises(UnsupportedError, match=f"{words} is not supported: it may leave the range") as refused:
        tt.compile(element_wise(store, "int8"))
    assert refused.value.location is not None
    assert "int32" in refused.value.hint


def of_blocks(action, dtype="int8"):
    @T.prim_func
    def kernel(A: T.Tensor((32, 32), dtype), C: T.Tensor((32, 32), F)):
        with T.Kernel(1, threads=128) as bx:
            a, b = T.alloc_shared((32, 32), dtype), T.alloc_shared((32, 32), dtype)
            c, v = T.alloc_fragment((32, 32), F), T.alloc_fragment((32,), dtype)
            T.copy(A, a)
            T.copy(A, b)
            T.clear(c)
            T.clear(v)
            action(a, b, c, v)
            T.copy(c, C)

    return kernel


@T.macro
def multiplied(a, b, c, v):
    T.gemm(a, b, c)


@T.macro
def summed(a, b, c, v):
    T.reduce_sum(a, v, dim=1)


@T.macro
def converted(a, b, c, v):
    T.copy(c, a)


@pytest.mark.parametrize(
    ("action", "words"),
    [(multiplied, "T.gemm of int8"), (summed, "T.reduce of int8"), (converted, "a copy that converts to int8")],
)
def test_tile_operations_that_compute_are_refused(action, words):
    with pytest.raises(UnsupportedError, match=words) as refused:
        tt.compile(of_blocks(action))
    assert refused.value.location is not None


@pytest.mark.parametrize("how", ["written", "in front", "in a branch", "in a loop", "of another loop"])
def test_what_is_no_plain_copy_is_not_read_through(how):
    """Conditions on what a buffer may hold from elsewhere."""

    @T.prim_func
    def kernel(M: T.Tensor((4, 4), Z), A: T.Tensor((32, 32), D), C: T.Tensor((32, 32), D)):
        with T.Kernel(1, threads=128) as bx:
            a, mask = T.alloc_shared((32, 32), D), T.alloc_fragment((4,), Z)
            T.copy(A, a)
            if how != "in front" and how != "in a branch":
                for n in T.serial(4 if how in ("in a loop", "of another loop") else 1):
                    T.copy(M[n, 0:4], mask)
                    if how == "in a loop":  # noqa: SIM102 - the one is known while the kernel is made
                        if mask[n] > 0:
                            for i, j in T.Parallel(32, 32):
                                a[i, j] = a[i, j] + T.cast(1, D)
            elif how == "in a branch":  # noqa: SIM102
                if M[0, 0] > 0:
                    T.copy(M[0, 0:4], mask)
            if how == "written":
                T.fill(mask, 1)
            if how != "in a loop":  # noqa: SIM102
                if mask[1] > 0:
                    for i, j in T.Parallel(32, 32):
                        a[i, j] = a[i, j] * 2
            if how == "in front":
                T.copy(M[0, 0:4], mask)
            T.copy(a, C)

    if how != "in a loop":
        with pytest.raises(UnsupportedError):
            tt.compile(kernel)
        return
    a, m = torch.randn(32, 32).bfloat16(), torch.tensor([[1, 0, 0, 0], [1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 1, 0]])
    found = tt.compile(kernel, out_idx=-1)(m.int(), a)
    assert torch.allclose(found.float(), a.float() + 2, atol=2**-6)
