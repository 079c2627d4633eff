"""int32 tensors and buffers, against torch on the emulator; and what integers are refused for."""

import operator

import pytest
import tilelang.language as T
import torch
from constructs import check, random_tensor, refused, supported

import tilelang_tt as tt
from tilelang_tt.errors import Code, UnsupportedError

Z, F, D = "int32", "float32", "bfloat16"
EXTREMES = torch.tensor([0, 1, -1, 2**24 + 1, -(2**24) - 1, 2**31 - 1, -(2**31), -(2**31) + 1], dtype=torch.int32)


def wide(shape):
    """int32 of all magnitudes."""
    values = torch.randint(-(2**31), 2**31 - 1, shape, dtype=torch.int64).to(torch.int32)
    values[0, : len(EXTREMES)] = EXTREMES
    return values


def wrapped(values):
    return values.long().to(torch.int32)


def element_wise(expression, dtypes=(Z, Z, Z)):
    """C = expression(A, B, row, column), in blocks of 32 x 64."""
    first, second, out = dtypes

    @T.prim_func
    def kernel(A: T.Tensor((96, 64), first), B: T.Tensor((96, 64), second), C: T.Tensor((96, 64), out)):
        with T.Kernel(3, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), first)
            B_shared = T.alloc_shared((32, 64), second)
            C_local = T.alloc_fragment((32, 64), out)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(B[bx * 32, 0], B_shared)
            for i, j in T.Parallel(32, 64):
                C_local[i, j] = expression(A_shared[i, j], B_shared[i, j], bx * 32 + i, j)
            T.copy(C_local, C[bx * 32, 0])

    return kernel


def check_integers(expression, reference, dtypes=(Z, Z, Z), inputs=None):
    """``reference`` is of int64 (or float64) inputs and of row and column numbers; the result must be exact."""
    program = tt.compile(element_wise(expression, dtypes), out_idx=-1)
    torch.manual_seed(0)
    given = inputs or [wide((96, 64)) if dtype == Z else random_tensor((96, 64), dtype) * 50 for dtype in dtypes[:2]]
    row, column = torch.arange(96)[:, None].expand(96, 64), torch.arange(64).expand(96, 64)
    wanted = reference(*(x.long() if x.dtype == torch.int32 else x.double() for x in given), row, column)
    found = program(*given)
    assert torch.equal(found, wrapped(wanted) if dtypes[2] == Z else wanted.to(found.dtype))


# ---- copies and constants ------------------------------------------------------------------------------------------


@supported("Integers", "int32 tensors: loaded, copied between buffers, stored; past their end; filled with a constant")
@pytest.mark.parametrize("through", ["tensor to tensor", "two buffers"])
def test_copies(through):
    @T.prim_func
    def kernel(A: T.Tensor((70, 100), Z), B: T.Tensor((70, 100), Z)):
        with T.Kernel(2, 3, threads=128) as (bx, by):
            first = T.alloc_shared((32, 64), Z)
            second = T.alloc_fragment((32, 64), Z)
            T.copy(A[by * 32, bx * 64], first)
            T.copy(first, second)
            T.copy(first if through == "tensor to tensor" else second, B[by * 32, bx * 64])

    check(kernel, lambda a: a, inputs=[wide((70, 100))])


def test_constants():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), Z), B: T.Tensor((64, 64), Z)):
        with T.Kernel(2, threads=128) as bx:
            minus, large = T.alloc_fragment((32, 64), Z), T.alloc_fragment((32, 64), Z)
            T.fill(minus, -7)
            T.fill(large, 2**31 - 1)
            T.copy(minus, A[bx * 32, 0])
            T.copy(large, B[bx * 32, 0])

    minus, large = tt.compile(kernel, out_idx=[0, 1])()
    assert (minus == -7).all()
    assert (large == 2**31 - 1).all()


@supported("Integers", "copies between int32 and float buffers; floats are cut towards zero")
@pytest.mark.parametrize("dtype", [F, D])
def test_copies_with_a_change_of_dtype(dtype):
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), dtype), B: T.Tensor((64, 64), Z), C: T.Tensor((64, 64), dtype)):
        with T.Kernel(1, threads=128) as bx:
            floats = T.alloc_shared((64, 64), dtype)
            integers = T.alloc_fragment((64, 64), Z)
            T.copy(A[0, 0], floats)
            T.copy(floats, integers)
            T.copy(integers, B[0, 0])
            T.copy(integers, C[0, 0])

    torch.manual_seed(0)
    given = (torch.randn(64, 64) * 100).to(getattr(torch, dtype))
    check(kernel, lambda a: [a.trunc(), a.trunc()], (-2, -1), inputs=[given])


@pytest.mark.parametrize(("own", "outer"), [(Z, F), (F, Z)])
def test_a_load_and_a_store_that_both_cast(own, outer):
    @T.prim_func
    def kernel(A: T.Tensor((32, 64), outer), B: T.Tensor((32, 64), outer)):
        with T.Kernel(1, threads=128) as bx:
            block = T.alloc_shared((32, 64), own)
            T.copy(A[0, 0], block)
            T.copy(block, B[0, 0])

    given = [torch.randn(32, 64) * 9] if outer == F else [random_tensor((32, 64), Z)]
    check(kernel, lambda a: a.trunc(), inputs=given)


# ---- arithmetic ----------------------------------------------------------------------------------------------------

ARITHMETIC = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}


@supported("Integers", "`+ - *`, wrapping around; `& | ^`")
@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic(op):
    check_integers(lambda a, b, i, j: ARITHMETIC[op](a, b), lambda a, b, i, j: ARITHMETIC[op](a, b))


@supported("Integers", "`T.max`, `T.min`, `T.abs`, negation")
def test_extremes():
    check_integers(
        lambda a, b, i, j: T.max(a, b) ^ T.min(-a, T.abs(b)),
        lambda a, b, i, j: torch.maximum(a, b) ^ torch.minimum(wrapped(-a).long(), wrapped(b.abs()).long()),
    )


@supported("Integers", "`<< >>`; `//` and `%` by a constant power of two")
def test_shifts():
    check_integers(
        lambda a, b, i, j: ((a >> 5) ^ (b << 3)) + a // 16 - b % 64,
        lambda a, b, i, j: (wrapped(a >> 5) ^ wrapped(b << 3)).long() + a // 16 - b % 64,
    )


@supported("Integers", "constants and indices in integer expressions")
def test_indices():
    check_integers(
        lambda a, b, i, j: a * 3 + (i * 100000 + j * 7 - 5) + b, lambda a, b, i, j: a * 3 + i * 100000 + j * 7 - 5 + b
    )


def test_an_index_alone_is_exact_beyond_24_bits():
    check_integers(lambda a, b, i, j: i * 1000001 + j, lambda a, b, i, j: i * 1000001 + j)


@supported("Integers", "comparisons of all integers; `T.if_then_else` between integers")
@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons(op):
    compare = getattr(operator, op)
    torch.manual_seed(1)
    inputs = [wide((96, 64)), wide((96, 64))]
    inputs[1][::2] = inputs[0][::2]
    inputs[1][0, : len(EXTREMES)] = EXTREMES.flip(0)
    check_integers(
        lambda a, b, i, j: T.if_then_else(compare(a, b), a, b - 1),
        lambda a, b, i, j: torch.where(compare(a, b), a, b - 1),
        inputs=inputs,
    )


@supported(
    "Integers", "casts between int32 and floats in an expression; conditions of integers on floats, and as integers"
)
def test_mixed_expressions():
    small = [torch.randint(-1000, 1000, (96, 64), dtype=torch.int32), torch.randn(96, 64) * 50]
    check_integers(
        lambda a, b, i, j: T.if_then_else(T.And(a > 10, j <= i), T.cast(a, F) * 0.5, T.cast(T.cast(b, Z), F)),
        lambda a, b, i, j: torch.where((a > 10) & (j <= i), a * 0.5, b.trunc()),
        (Z, F, F),
        small,
    )
    check_integers(
        lambda a, b, i, j: T.cast(b, Z) + T.cast(a > 10, Z) + j,
        lambda a, b, i, j: b.trunc().long() + (a > 10) + j,
        (Z, F, Z),
        small,
    )


@supported("Integers", "in place, in loops that carry them")
def test_carried_integers():
    @T.prim_func
    def kernel(A: T.Tensor((64, 256), Z), B: T.Tensor((64, 64), Z)):
        with T.Kernel(2, threads=128) as bx:
            block = T.alloc_shared((32, 64), Z)
            total = T.alloc_fragment((32, 64), Z)
            T.clear(total)
            for k in T.Pipelined(4, num_stages=2):
                T.copy(A[bx * 32, k * 64], block)
                for i, j in T.Parallel(32, 64):
                    total[i, j] = total[i, j] * 3 + block[i, j]
            T.copy(total, B[bx * 32, 0])

    check(kernel, lambda a: sum(block * 3 ** (3 - k) for k, block in enumerate(a.split(64, dim=1))))


def test_integers_sharded_in_l1():
    layout = {name: tt.layout.block_sharded((96, 64), (3, 1)) for name in "AC"}
    program = tt.compile(element_wise(lambda a, b, i, j: a - b), layout=layout, out_idx=-1)
    given = [wide((96, 64)), wide((96, 64))]
    assert torch.equal(program(*given), given[0] - given[1])


# ---- refused -------------------------------------------------------------------------------------------------------


def products(dtype, accumulator):
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), dtype), B: T.Tensor((64, 64), dtype), C: T.Tensor((64, 64), accumulator)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), dtype)
            B_shared = T.alloc_shared((64, 64), dtype)
            C_local = T.alloc_fragment((64, 64), accumulator)
            T.clear(C_local)
            T.copy(A, A_shared)
            T.copy(B, B_shared)
            T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C)

    return kernel


@refused("Integers", "`T.gemm` of int32", "T.gemm of int32 is not supported")
def test_product():
    return products(Z, Z)


@refused("Integers", "reductions of int32", "T.reduce_sum of int32 is not supported")
def test_reduction():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), Z), B: T.Tensor((64,), Z)):
        with T.Kernel(1, threads=128) as bx:
            block = T.alloc_fragment((64, 64), Z)
            total = T.alloc_fragment((64,), Z)
            T.copy(A, block)
            T.reduce_sum(block, total, dim=1)
            T.copy(total, B)

    return kernel


@refused("Integers", "`/`, and `//` and `%` by anything else", "a division of integers but by a constant power of two")
def test_division():
    return element_wise(lambda a, b, i, j: a // 3 + b)


@refused("Integers", "a vector of int32 with a matrix", "a vector of integers in an expression of matrices")
def test_broadcast():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), Z), V: T.Tensor((64,), Z), C: T.Tensor((64, 64), Z)):
        with T.Kernel(1, threads=128) as bx:
            block = T.alloc_shared((64, 64), Z)
            row = T.alloc_shared((64,), Z)
            T.copy(A, block)
            T.copy(V, row)
            for i, j in T.Parallel(64, 64):
                block[i, j] = block[i, j] + row[j]
            T.copy(block, C)

    return kernel


def test_a_cast_to_a_dtype_without_tiles_is_refused():
    with pytest.raises(UnsupportedError, match="a cast to int16 is not supported"):
        tt.compile(element_wise(lambda a, b, i, j: T.cast(T.cast(a, "int16"), Z) + b))


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        ("uint32", "use int32"),
        ("uint16", "use int32"),
        ("int16", "use int32"),
        ("int64", "use int32"),
        ("float8_e4m3fn", "use bfloat16"),
        ("float64", "use float32"),
    ],
)
def test_other_dtypes_are_refused_by_name_and_line(dtype, hint):
    @T.prim_func
    def kernel(A: T.Tensor((32, 32), dtype), B: T.Tensor((32, 32), dtype)):
        with T.Kernel(1, threads=128) as bx:
            block = T.alloc_shared((32, 32), dtype)
            T.copy(A, block)
            T.copy(block, B)

    with pytest.raises(UnsupportedError, match=f"dtype {dtype} is not supported") as error:
        tt.compile(kernel)
    assert error.value.code is Code.UNSUPPORTED
    assert hint in (error.value.hint or "")
    assert error.value.location is not None


def test_casts_and_comparisons_of_float32_take_all_of_its_bits():
    @T.prim_func
    def kernel(
        A: T.Tensor((64, 64), "float32"),
        B: T.Tensor((64, 64), "float32"),
        C: T.Tensor((64, 64), Z),
        E: T.Tensor((64, 64), "bfloat16"),
    ):
        with T.Kernel(2, threads=128) as bx:
            a, b = T.alloc_fragment((32, 64), "float32"), T.alloc_fragment((32, 64), "float32")
            c, e = T.alloc_fragment((32, 64), Z), T.alloc_fragment((32, 64), "bfloat16")
            T.copy(A[bx * 32, 0], a)
            T.copy(B[bx * 32, 0], b)
            for i, j in T.Parallel(32, 64):
                c[i, j] = T.cast(a[i, j], Z)
                e[i, j] = T.if_then_else(a[i, j] > b[i, j], T.floor(a[i, j] / 65536), T.bfloat16(-1))
            T.copy(c, C[bx * 32, 0])
            T.copy(e, E[bx * 32, 0])

    torch.manual_seed(0)
    a = torch.randint(-(2**23), 2**23, (64, 64)).float()
    b = a + torch.randint(-1, 2, (64, 64))
    c, e = tt.compile(kernel, out_idx=[2, 3])(a, b)
    assert torch.equal(c, a.int())
    assert torch.equal(e.float(), torch.where(a > b, (a / 65536).floor(), -1.0))
