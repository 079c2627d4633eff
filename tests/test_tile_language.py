"""One focused kernel per construct of the tile language, against torch on the emulator."""

import operator

import kernels
import pytest
import tilelang
import tilelang.language as T
import torch
from constructs import assert_close, check, supported

import tilelang_tt as tt
from tilelang_tt.layout import height_sharded

D, F = "bfloat16", "float32"

# ---- reductions ----------------------------------------------------------------------------------------------------

REDUCE = {
    "sum": (T.reduce_sum, torch.Tensor.sum, torch.add),
    "max": (T.reduce_max, torch.Tensor.amax, torch.maximum),
    "min": (T.reduce_min, torch.Tensor.amin, torch.minimum),
    "abssum": (T.reduce_abssum, lambda x, dim: x.abs().sum(dim), torch.add),
    "absmax": (T.reduce_absmax, lambda x, dim: x.abs().amax(dim), torch.maximum),
}


@supported(
    "Reductions",
    "`T.reduce_sum`, `_max`, `_min`, `_abssum`, `_absmax`; along rows or columns; `clear` or onto what was there",
)
@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("kind", REDUCE)
def test_reductions(kind, dim, clear):
    reduce, reference, combine = REDUCE[kind]
    flags = {} if kind == "abssum" else {"clear": clear}
    kept = 96 if dim == 0 else 64

    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), out: T.Tensor((kept,), F)):
        with T.Kernel(1, threads=128) as bx:
            A_local = T.alloc_fragment((64, 96), F)
            result = T.alloc_fragment((kept,), F)
            T.copy(A[0, 0], A_local)
            T.fill(result, 1.5)
            reduce(A_local, result, dim=dim, **flags)
            T.copy(result, out[0])

    clear = flags.get("clear", True)
    start = torch.full((kept,), 1.5, dtype=torch.double)
    check(kernel, lambda a: reference(a, dim) if clear else combine(start, reference(a, dim)))


@supported("Reductions", "of a shared buffer, with `dim=-1`")
def test_reduction_of_a_shared_buffer_along_its_last_dimension():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), out: T.Tensor((64,), F)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 96), D)
            result = T.alloc_fragment((32,), F)
            T.copy(A[bx * 32, 0], A_shared)
            T.reduce_max(A_shared, result, dim=-1)
            T.copy(result, out[bx * 32])

    check(kernel, lambda a: a.amax(1))


@supported("Reductions", "onto a vector that a loop carries")
@pytest.mark.parametrize("kind", ["sum", "max", "min"])
def test_reduction_onto_a_carried_vector(kind):
    reduce, reference, _ = REDUCE[kind]
    neutral = {"sum": 0.0, "max": -T.infinity(F), "min": T.infinity(F)}[kind]

    @T.prim_func
    def kernel(A: T.Tensor((64, 256), D), out: T.Tensor((64,), F)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            result = T.alloc_fragment((32,), F)
            T.fill(result, neutral)
            for k in T.Pipelined(4, num_stages=2):
                T.copy(A[bx * 32, k * 64], A_shared)
                reduce(A_shared, result, dim=1, clear=False)
            T.copy(result, out[bx * 32])

    check(kernel, lambda a: reference(a, 1))


@supported("Reductions", "of what a T.Parallel body computed, twice")
def test_mean_and_variance():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), mean: T.Tensor((64,), F), variance: T.Tensor((64,), F)):
        with T.Kernel(1, threads=128) as bx:
            A_local = T.alloc_fragment((64, 64), F)
            m = T.alloc_fragment((64,), F)
            v = T.alloc_fragment((64,), F)
            T.copy(A[0, 0], A_local)
            T.reduce_sum(A_local, m, dim=1)
            for i in T.Parallel(64):
                m[i] = m[i] / 64
            for i, j in T.Parallel(64, 64):
                A_local[i, j] = (A_local[i, j] - m[i]) * (A_local[i, j] - m[i])
            T.reduce_sum(A_local, v, dim=1)
            for i in T.Parallel(64):
                v[i] = v[i] / 64
            T.copy(m, mean[0])
            T.copy(v, variance[0])

    check(kernel, lambda a: [a.mean(1), a.var(1, correction=0)], (-2, -1))


# ---- vectors -------------------------------------------------------------------------------------------------------


@supported("Vectors", "rows `v[j]` and columns `v[i]` of a matrix: loaded, computed, or of a tensor; in `+ - * /`")
@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv", "rsub"])
@pytest.mark.parametrize("origin", ["loaded", "computed", "tensor"])
@pytest.mark.parametrize("along", ["row", "col"])
def test_vector_broadcasts(along, origin, op):
    size = 128 if along == "row" else 64
    apply = (lambda x, y: y - x) if op == "rsub" else getattr(operator, op)
    block = 64 if along == "row" else 32

    @T.prim_func
    def kernel(A: T.Tensor((64, 128), D), v: T.Tensor((size,), D), C: T.Tensor((64, 128), D)):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            A_shared = T.alloc_shared((32, 64), D)
            v_shared = T.alloc_shared((block,), D)
            v_local = T.alloc_fragment((block,), F)
            T.copy(A[by * 32, bx * 64], A_shared)
            if origin != "tensor":
                T.copy(v[bx * 64 if along == "row" else by * 32], v_shared)
            if origin == "computed":
                for i in T.Parallel(block):
                    v_local[i] = v_shared[i] * 2 + 3
            for i, j in T.Parallel(32, 64):
                if origin == "tensor":
                    A_shared[i, j] = apply(A_shared[i, j], v[bx * 64 + j] if along == "row" else v[by * 32 + i])
                elif origin == "computed":
                    A_shared[i, j] = apply(A_shared[i, j], v_local[j if along == "row" else i])
                else:
                    A_shared[i, j] = apply(A_shared[i, j], v_shared[j if along == "row" else i])
            T.copy(A_shared, C[by * 32, bx * 64])

    def reference(a, v):
        used = v * 2 + 3 if origin == "computed" else v
        return apply(a, used if along == "row" else used[:, None])

    torch.manual_seed(1)
    away_from_zero = torch.rand(size) + 0.5
    check(kernel, reference, inputs=[torch.randn(64, 128).bfloat16(), away_from_zero.bfloat16()])


@supported("Vectors", "element-wise work on vectors, loaded and stored")
@pytest.mark.parametrize("dtype", [D, F])
def test_vector_element_wise(dtype):
    @T.prim_func
    def kernel(x: T.Tensor((128,), dtype), y: T.Tensor((128,), dtype), z: T.Tensor((128,), dtype)):
        with T.Kernel(2, threads=128) as bx:
            x_shared = T.alloc_shared((64,), dtype)
            y_shared = T.alloc_shared((64,), dtype)
            z_local = T.alloc_fragment((64,), F)
            T.copy(x[bx * 64], x_shared)
            T.copy(y[bx * 64], y_shared)
            for i in T.Parallel(64):
                z_local[i] = x_shared[i] * y_shared[i] + T.exp(x_shared[i])
            T.copy(z_local, z[bx * 64])

    check(kernel, lambda x, y: x * y + x.exp())


@supported("Vectors", "of rows and of columns in one expression")
def test_outer_product_of_two_vectors():
    @T.prim_func
    def kernel(x: T.Tensor((64,), D), y: T.Tensor((96,), D), C: T.Tensor((64, 96), D)):
        with T.Kernel(1, threads=128) as bx:
            x_shared = T.alloc_shared((64,), D)
            y_shared = T.alloc_shared((96,), D)
            C_local = T.alloc_fragment((64, 96), F)
            T.copy(x[0], x_shared)
            T.copy(y[0], y_shared)
            for i, j in T.Parallel(64, 96):
                C_local[i, j] = x_shared[i] * y_shared[j]
            T.copy(C_local, C[0, 0])

    check(kernel, lambda x, y: x[:, None] * y)


@supported("Vectors", "copied from one buffer to another")
def test_copy_of_a_vector():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), out: T.Tensor((64,), F), doubled: T.Tensor((64,), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            total = T.alloc_fragment((64,), F)
            other = T.alloc_fragment((64,), F)
            T.copy(A[0, 0], A_shared)
            T.reduce_sum(A_shared, total, dim=1)
            T.copy(total, other)
            for i in T.Parallel(64):
                total[i] = total[i] * 2
            T.copy(other, out[0])
            T.copy(total, doubled[0])

    check(kernel, lambda a: [a.sum(1), 2 * a.sum(1)], (-2, -1))


# ---- values that loops carry -----------------------------------------------------------------------------------------


@supported("Loops", "`T.serial`, `range`, `T.Pipelined`, `T.unroll`; a matrix carried from one iteration to the next")
@pytest.mark.parametrize("kind", ["serial", "range", "pipelined", "unroll"])
def test_carried_matrix(kind):
    @T.prim_func
    def kernel(A: T.Tensor((4, 64, 64), D), C: T.Tensor((64, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            total = T.alloc_fragment((32, 64), F)
            T.clear(total)
            if kind == "serial":
                for k in T.serial(4):
                    T.copy(A[k, bx * 32, 0], A_shared)
                    for i, j in T.Parallel(32, 64):
                        total[i, j] = total[i, j] * 0.5 + A_shared[i, j]
            elif kind == "range":
                for k in range(4):
                    T.copy(A[k, bx * 32, 0], A_shared)
                    for i, j in T.Parallel(32, 64):
                        total[i, j] = total[i, j] * 0.5 + A_shared[i, j]
            elif kind == "unroll":
                for k in T.unroll(4):
                    T.copy(A[k, bx * 32, 0], A_shared)
                    for i, j in T.Parallel(32, 64):
                        total[i, j] = total[i, j] * 0.5 + A_shared[i, j]
            else:
                for k in T.Pipelined(4, num_stages=3):
                    T.copy(A[k, bx * 32, 0], A_shared)
                    for i, j in T.Parallel(32, 64):
                        total[i, j] = total[i, j] * 0.5 + A_shared[i, j]
            T.copy(total, C[bx * 32, 0])

    check(kernel, lambda a: a[0] / 8 + a[1] / 4 + a[2] / 2 + a[3])


@supported("Loops", "several carried values that need each other's old value")
def test_carried_values_that_swap():
    @T.prim_func
    def kernel(A: T.Tensor((32, 32), F), B: T.Tensor((32, 32), F), C: T.Tensor((32, 32), F), E: T.Tensor((32, 32), F)):
        with T.Kernel(1, threads=128) as bx:
            x = T.alloc_fragment((32, 32), F)
            y = T.alloc_fragment((32, 32), F)
            kept = T.alloc_fragment((32, 32), F)
            T.copy(A[0, 0], x)
            T.copy(B[0, 0], y)
            for _ in T.serial(5):
                T.copy(x, kept)
                for i, j in T.Parallel(32, 32):
                    x[i, j] = y[i, j]
                for i, j in T.Parallel(32, 32):
                    y[i, j] = kept[i, j] + y[i, j]
            T.copy(x, C[0, 0])
            T.copy(y, E[0, 0])

    check(kernel, lambda a, b: [3 * a + 5 * b, 5 * a + 8 * b], (-2, -1))


@supported("Loops", "a value set in a loop, read after it")
def test_last_value_of_a_loop():
    @T.prim_func
    def kernel(A: T.Tensor((3, 32, 32), D), C: T.Tensor((32, 32), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 32), D)
            last = T.alloc_fragment((32, 32), F)
            for k in T.serial(3):
                T.copy(A[k, 0, 0], A_shared)
                for i, j in T.Parallel(32, 32):
                    last[i, j] = A_shared[i, j] * 2
            T.copy(last, C[0, 0])

    check(kernel, lambda a: 2 * a[2])


@supported("Loops", "bounds that depend on the block")
def test_block_dependent_bound():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), D), C: T.Tensor((128, 64), F)):
        with T.Kernel(4, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            total = T.alloc_fragment((32, 64), F)
            T.clear(total)
            for k in T.serial(bx + 1):
                T.copy(A[k * 32, 0], A_shared)
                for i, j in T.Parallel(32, 64):
                    total[i, j] += A_shared[i, j]
            T.copy(total, C[bx * 32, 0])

    check(kernel, lambda a: a.view(4, 32, 64).cumsum(0).view(128, 64))


@supported("Loops", "bounds that may be zero")
def test_a_loop_that_some_blocks_skip():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), D), B: T.Tensor((64, 64), D), C: T.Tensor((128, 64), F)):
        with T.Kernel(4, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            total = T.alloc_fragment((32, 64), F)
            T.copy(B[0, 0], B_shared)
            T.clear(total)
            for k in T.serial(bx):
                T.copy(A[k * 32, 0], A_shared)
                T.gemm(A_shared, B_shared, total)
            T.copy(total, C[bx * 32, 0])

    def reference(a, b):
        blocks = (a @ b).view(4, 32, 64)
        return (blocks.cumsum(0) - blocks).view(128, 64)

    check(kernel, reference)


@supported("Loops", "a first index that is not 0: `T.serial(1, n)`")
def test_a_loop_from_one():
    @T.prim_func
    def kernel(A: T.Tensor((4, 32, 64), D), C: T.Tensor((32, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            total = T.alloc_fragment((32, 64), F)
            T.clear(total)
            for k in T.serial(1, 3):
                T.copy(A[k, 0, 0], A_shared)
                for i, j in T.Parallel(32, 64):
                    total[i, j] += A_shared[i, j] * k
            T.copy(total, C[0, 0])

    check(kernel, lambda a: a[1] + 2 * a[2])


@supported("Loops", "nested, with values that both carry")
def test_nested_loops():
    @T.prim_func
    def kernel(A: T.Tensor((2, 3, 32, 64), D), C: T.Tensor((32, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            inner = T.alloc_fragment((32, 64), F)
            outer = T.alloc_fragment((32, 64), F)
            T.clear(outer)
            for y in T.serial(2):
                T.clear(inner)
                for x in T.serial(3):
                    T.copy(A[y, x, 0, 0], A_shared)
                    for i, j in T.Parallel(32, 64):
                        inner[i, j] += A_shared[i, j]
                for i, j in T.Parallel(32, 64):
                    outer[i, j] = T.max(outer[i, j], inner[i, j])
            T.copy(outer, C[0, 0])

    check(kernel, lambda a: a.sum(1).amax(0).clamp(min=0))


@supported("Loops", "nested, around a product that accumulates over all of them")
def test_product_over_nested_loops():
    @T.prim_func
    def kernel(A: T.Tensor((2, 3, 64, 64), D), B: T.Tensor((2, 3, 64, 64), D), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), F)
            T.clear(C_local)
            for y in T.serial(2):
                for x in T.serial(3):
                    T.copy(A[y, x, 0, 0], A_shared)
                    T.copy(B[y, x, 0, 0], B_shared)
                    T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[0, 0])

    check(kernel, lambda a, b: (a @ b).sum((0, 1)))


# ---- conditions ----------------------------------------------------------------------------------------------------


@supported("Conditions", "masks of indices: causal, before a bound, on a diagonal")
@pytest.mark.parametrize("mask", ["causal", "bound", "diagonal", "window"])
def test_index_masks(mask):
    @T.prim_func
    def kernel(A: T.Tensor((128, 128), D), C: T.Tensor((128, 128), D)):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            A_shared = T.alloc_shared((64, 64), D)
            T.copy(A[by * 64, bx * 64], A_shared)
            for i, j in T.Parallel(64, 64):
                if mask == "causal":
                    A_shared[i, j] = T.if_then_else(by * 64 + i >= bx * 64 + j, A_shared[i, j], 0)
                elif mask == "bound":
                    A_shared[i, j] = T.if_then_else(bx * 64 + j < 77, A_shared[i, j], -1)
                elif mask == "diagonal":
                    A_shared[i, j] = T.if_then_else(by * 64 + i == bx * 64 + j, 1, A_shared[i, j])
                else:
                    A_shared[i, j] = T.if_then_else(
                        T.And(by * 64 + i >= bx * 64 + j, by * 64 + i - (bx * 64 + j) < 9), A_shared[i, j], 0
                    )
            T.copy(A_shared, C[by * 64, bx * 64])

    row, column = torch.arange(128)[:, None], torch.arange(128)
    conditions = {"causal": row >= column, "bound": column < 77, "diagonal": row != column}
    conditions["window"] = (row >= column) & (row - column < 9)
    other = {"causal": 0, "bound": -1, "diagonal": 1, "window": 0}[mask]
    check(kernel, lambda a: torch.where(conditions[mask], a, other))


COMPARE = ["gt", "ge", "lt", "le", "eq", "ne"]


@supported("Conditions", "`> >= < <= == !=` of values")
@pytest.mark.parametrize("name", COMPARE)
def test_value_comparisons(name):
    compare = getattr(operator, name)

    @T.prim_func
    def kernel(A: T.Tensor((32, 64), D), B: T.Tensor((32, 64), D), C: T.Tensor((32, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            B_shared = T.alloc_shared((32, 64), D)
            T.copy(A[0, 0], A_shared)
            T.copy(B[0, 0], B_shared)
            for i, j in T.Parallel(32, 64):
                A_shared[i, j] = T.if_then_else(compare(A_shared[i, j], B_shared[i, j]), A_shared[i, j], 7)
            T.copy(A_shared, C[0, 0])

    torch.manual_seed(0)
    a, b = (torch.randint(-2, 3, (32, 64)).bfloat16() for _ in range(2))
    check(kernel, lambda a, b: torch.where(compare(a, b), a, 7), inputs=[a, b], tolerance=1e-9)


@supported("Conditions", "comparisons with infinity, of values that are infinite")
@pytest.mark.parametrize("name", COMPARE)
def test_comparisons_of_infinities(name):
    compare = getattr(operator, name)

    @T.prim_func
    def kernel(A: T.Tensor((32, 64), F), C: T.Tensor((32, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), F)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(32, 64):
                A_shared[i, j] = T.if_then_else(compare(A_shared[i, j], -T.infinity(F)), 1, 2)
            T.copy(A_shared, C[0, 0])

    a = torch.randn(32, 64)
    a[:, ::3] = -torch.inf
    a[:, ::5] = torch.inf
    check(kernel, lambda a: torch.where(compare(a, -torch.inf), 1.0, 2.0), inputs=[a], tolerance=1e-9)


@supported("Conditions", "`T.And`, `T.Or`, `T.Not` of conditions; conditions inside conditions")
@pytest.mark.parametrize("kind", ["and", "or", "not", "nested"])
def test_combined_conditions(kind):
    @T.prim_func
    def kernel(A: T.Tensor((32, 64), D), C: T.Tensor((32, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(32, 64):
                if kind == "and":
                    A_shared[i, j] = T.if_then_else(T.And(A_shared[i, j] > -1, A_shared[i, j] < 1), A_shared[i, j], 0)
                elif kind == "or":
                    A_shared[i, j] = T.if_then_else(T.Or(A_shared[i, j] < -1, A_shared[i, j] > 1), A_shared[i, j], 0)
                elif kind == "not":
                    A_shared[i, j] = T.if_then_else(T.Not(A_shared[i, j] > 0.5), A_shared[i, j], 0)
                else:
                    A_shared[i, j] = T.if_then_else(
                        A_shared[i, j] > 0, T.if_then_else(i > j, A_shared[i, j], 3), A_shared[i, j] * 2
                    )
            T.copy(A_shared, C[0, 0])

    lower = torch.arange(32)[:, None] > torch.arange(64)
    references = {
        "and": lambda a: torch.where((a > -1) & (a < 1), a, 0),
        "or": lambda a: torch.where((a < -1) | (a > 1), a, 0),
        "not": lambda a: torch.where(a > 0.5, 0, a),
        "nested": lambda a: torch.where(a > 0, torch.where(lower, a, 3), a * 2),
    }
    check(kernel, references[kind])


@supported("Conditions", "masking with infinity, then a maximum and exponentials")
def test_masked_softmax():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_local = T.alloc_fragment((64, 64), F)
            m = T.alloc_fragment((64,), F)
            s = T.alloc_fragment((64,), F)
            T.copy(A[0, 0], A_local)
            for i, j in T.Parallel(64, 64):
                A_local[i, j] = T.if_then_else(i >= j, A_local[i, j], -T.infinity(F))
            T.reduce_max(A_local, m, dim=1)
            for i, j in T.Parallel(64, 64):
                A_local[i, j] = T.exp(A_local[i, j] - m[i])
            T.reduce_sum(A_local, s, dim=1)
            for i, j in T.Parallel(64, 64):
                A_local[i, j] = A_local[i, j] / s[i]
            T.copy(A_local, C[0, 0])

    mask = torch.ones(64, 64).tril().bool()
    check(kernel, lambda a: torch.softmax(torch.where(mask, a, -torch.inf), 1))


# ---- element-wise expressions ----------------------------------------------------------------------------------------

UNARY = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "log": torch.log,
    "log2": torch.log2,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "abs": torch.abs,
}


@supported("Expressions", f"{', '.join(f'`T.{name}`' for name in UNARY)}")
@pytest.mark.parametrize("dtype", [D, F])
@pytest.mark.parametrize("name", UNARY)
def test_unary_functions(name, dtype):
    function = getattr(T, name)

    @T.prim_func
    def kernel(A: T.Tensor((32, 64), dtype), C: T.Tensor((32, 64), dtype)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), dtype)
            C_local = T.alloc_fragment((32, 64), F)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(32, 64):
                C_local[i, j] = function(A_shared[i, j])
            T.copy(C_local, C[0, 0])

    torch.manual_seed(0)
    signed = name in ("exp", "exp2", "tanh", "sigmoid", "abs")
    a = torch.randn(32, 64) * 2 if signed else torch.rand(32, 64) * 4 + 0.1
    check(kernel, UNARY[name], inputs=[a.to(getattr(torch, dtype))])


@supported("Expressions", "`+ - * /`, `T.max`, `T.min`, negation, of buffers and constants on either side")
@pytest.mark.parametrize("number", range(8))
def test_arithmetic(number):
    forms = [
        lambda x, y, big, small: x + y * 2 - 1,
        lambda x, y, big, small: 3 - x / 4,
        lambda x, y, big, small: 1 / (y * y + 1),
        lambda x, y, big, small: x / (y * y + 1),
        lambda x, y, big, small: big(x, small(y, 0.5)),
        lambda x, y, big, small: small(big(-x, -1), 1) * y,
        lambda x, y, big, small: (x + y) * (x - y) + (x * y - 2) * (y - x),
        lambda x, y, big, small: -(x * x * x),
    ]

    @T.prim_func
    def kernel(A: T.Tensor((32, 64), F), B: T.Tensor((32, 64), F), C: T.Tensor((32, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), F)
            B_shared = T.alloc_shared((32, 64), F)
            C_local = T.alloc_fragment((32, 64), F)
            T.copy(A[0, 0], A_shared)
            T.copy(B[0, 0], B_shared)
            for i, j in T.Parallel(32, 64):
                C_local[i, j] = forms[number](A_shared[i, j], B_shared[i, j], T.max, T.min)
            T.copy(C_local, C[0, 0])

    def number_or_tensor(function):
        return lambda x, y: function(torch.as_tensor(x).double(), torch.as_tensor(y).double())

    big, small = number_or_tensor(torch.maximum), number_or_tensor(torch.minimum)
    check(kernel, lambda a, b: forms[number](a, b, big, small), tolerance=1e-5)


@supported("Expressions", "casts in an expression")
def test_casts():
    @T.prim_func
    def kernel(A: T.Tensor((32, 64), D), C: T.Tensor((32, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            C_local = T.alloc_fragment((32, 64), F)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(32, 64):
                C_local[i, j] = T.cast(A_shared[i, j], F) * 1.001
            T.copy(C_local, C[0, 0])

    check(kernel, lambda a: a * 1.001, tolerance=1e-6)


@supported("Expressions", "indices as values")
def test_indices_as_values():
    @T.prim_func
    def kernel(C: T.Tensor((64, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            C_local = T.alloc_fragment((32, 64), F)
            for i, j in T.Parallel(32, 64):
                C_local[i, j] = T.cast((bx * 32 + i) * 64 + j, F)
            T.copy(C_local, C[bx * 32, 0])

    c = torch.zeros(64, 64)
    tt.compile(kernel)(c)
    assert torch.equal(c, torch.arange(4096.0).view(64, 64))


@supported("Expressions", "several stores in one `T.Parallel` body")
def test_several_stores_in_one_body():
    @T.prim_func
    def kernel(A: T.Tensor((32, 64), D), C: T.Tensor((32, 64), D), E: T.Tensor((32, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            x = T.alloc_fragment((32, 64), F)
            y = T.alloc_fragment((32, 64), F)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(32, 64):
                x[i, j] = A_shared[i, j] * 2
                y[i, j] = x[i, j] + 1
            T.copy(x, C[0, 0])
            T.copy(y, E[0, 0])

    check(kernel, lambda a: [2 * a, 2 * a + 1], (-2, -1))


@supported("Expressions", "elements of tensors read and written without a copy")
def test_elements_of_tensors():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), B: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            for i, j in T.Parallel(32, 64):
                C[bx * 32 + i, j] = A[bx * 32 + i, j] * B[bx * 32 + i, j] + 1

    check(kernel, lambda a, b: a * b + 1)


@supported("Expressions", "an element of a tensor read twice in one expression")
def test_an_element_read_twice():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            for i, j in T.Parallel(32, 64):
                C[bx * 32 + i, j] = A[bx * 32 + i, j] * A[bx * 32 + i, j]

    check(kernel, lambda a: a * a)


@supported("Expressions", "a name for a value or an index in a `T.Parallel` body")
def test_names_in_a_parallel_body():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            for i, j in T.Parallel(32, 64):
                y = bx * 32 + i
                x = A[y, j]
                C[y, j] = x * T.sigmoid(x)

    check(kernel, lambda a: a * a.sigmoid())


@supported("Expressions", "a name for a number or a tensor's element, in front of `T.Parallel` bodies")
def test_names_of_numbers():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), S: T.Tensor((2,), F), C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            block = T.alloc_fragment((32, 64), F)
            third = T.float32(1.0) / T.Cast(F, 3)
            scale = S[bx]
            T.copy(A[bx * 32, 0], block)
            for i, j in T.Parallel(32, 64):
                block[i, j] = block[i, j] * scale + third
            T.copy(block, C[bx * 32, 0])

    check(kernel, lambda a, s: a * s.repeat_interleave(32)[:, None] + 1 / 3)


# ---- products ------------------------------------------------------------------------------------------------------


@supported("Products", "several `T.gemm` onto one fragment, outside and inside a loop")
@pytest.mark.parametrize("inside", [False, True])
def test_two_products_onto_one_fragment(inside):
    @T.prim_func
    def kernel(A: T.Tensor((64, 128), D), B: T.Tensor((128, 64), D), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), F)
            T.clear(C_local)
            if inside:
                for k in T.Pipelined(2, num_stages=2):
                    T.copy(A[0, k * 64], A_shared)
                    T.copy(B[k * 64, 0], B_shared)
                    T.gemm(A_shared, B_shared, C_local)
                    T.gemm(B_shared, A_shared, C_local)
            else:
                T.copy(A[0, 0], A_shared)
                T.copy(B[0, 0], B_shared)
                T.gemm(A_shared, B_shared, C_local)
                T.gemm(B_shared, A_shared, C_local)
            T.copy(C_local, C[0, 0])

    def reference(a, b):
        parts = [(a[:, k : k + 64], b[k : k + 64]) for k in ((0, 64) if inside else (0,))]
        return sum(x @ y + y @ x for x, y in parts)

    check(kernel, reference)


def test_product_of_a_copy_in_another_dtype():
    """The copy stays float16 on chip until the product, which the matrix engine takes with float16 only."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float16"), B: T.Tensor((64, 64), F), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), "float16")
            A_wide = T.alloc_fragment((64, 64), F)
            B_shared = T.alloc_shared((64, 64), F)
            C_local = T.alloc_fragment((64, 64), F)
            T.copy(A[0, 0], A_shared)
            T.copy(B[0, 0], B_shared)
            T.copy(A_shared, A_wide)
            T.gemm(A_wide, B_shared, C_local, clear_accum=True)
            T.copy(C_local, C[0, 0])

    check(kernel, lambda a, b: a @ b, tolerance=2**-9)


@supported("Products", "`clear_accum=True`, `transpose_A`, `transpose_B`")
@pytest.mark.parametrize("transposed", [(False, True), (True, False), (True, True)])
def test_product_that_clears_and_transposes(transposed):
    trans_a, trans_b = transposed

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), B: T.Tensor((64, 64), D), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), F)
            T.copy(A[0, 0], A_shared)
            T.copy(B[0, 0], B_shared)
            T.gemm(A_shared, B_shared, C_local, transpose_A=trans_a, transpose_B=trans_b, clear_accum=True)
            T.copy(C_local, C[0, 0])

    check(kernel, lambda a, b: (a.T if trans_a else a) @ (b.T if trans_b else b))


@supported("Products", "onto what was loaded or computed before")
@pytest.mark.parametrize("computed", [False, True])
def test_product_onto_initial_values(computed):
    @T.prim_func
    def kernel(
        A: T.Tensor((64, 128), D), B: T.Tensor((128, 64), D), R: T.Tensor((64, 64), F), C: T.Tensor((64, 64), F)
    ):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), F)
            T.copy(R[0, 0], C_local)
            if computed:
                for i, j in T.Parallel(64, 64):
                    C_local[i, j] = C_local[i, j] * 2 + 1
            for k in T.Pipelined(2, num_stages=2):
                T.copy(A[0, k * 64], A_shared)
                T.copy(B[k * 64, 0], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[0, 0])

    check(kernel, lambda a, b, r: a @ b + (2 * r + 1 if computed else r))


@supported("Products", "of the result of another product")
def test_chained_products():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), B: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            first = T.alloc_fragment((64, 64), F)
            first_cast = T.alloc_fragment((64, 64), D)
            second = T.alloc_fragment((64, 64), F)
            T.copy(A[0, 0], A_shared)
            T.copy(B[0, 0], B_shared)
            T.clear(first)
            T.gemm(A_shared, B_shared, first)
            T.copy(first, first_cast)
            T.clear(second)
            T.gemm(first_cast, B_shared, second)
            T.copy(second, C[0, 0])

    check(kernel, lambda a, b: a @ b @ b, tolerance=2**-7)


@supported("Products", "an accumulator read inside the loop that it accumulates over")
@pytest.mark.parametrize("use", ["store after", "store before", "element-wise", "operand"])
def test_accumulator_read_in_its_loop(use):
    @T.prim_func
    def kernel(A: T.Tensor((3, 64, 64), D), C: T.Tensor((3, 64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            total = T.alloc_fragment((64, 64), F)
            seen = T.alloc_fragment((64, 64), F)
            cast = T.alloc_fragment((64, 64), D)
            T.clear(total)
            for k in T.serial(3):
                T.copy(A[k, 0, 0], A_shared)
                if use == "store before":
                    T.copy(total, C[k, 0, 0])
                T.gemm(A_shared, A_shared, total)
                if use == "store after":
                    T.copy(total, C[k, 0, 0])
                elif use == "element-wise":
                    for i, j in T.Parallel(64, 64):
                        seen[i, j] = total[i, j] * 2
                    T.copy(seen, C[k, 0, 0])
                elif use == "operand":
                    T.copy(total, cast)
                    T.clear(seen)
                    T.gemm(A_shared, cast, seen)
                    T.copy(seen, C[k, 0, 0])

    def reference(a):
        sums = (a @ a).cumsum(0)
        before = torch.cat([torch.zeros_like(sums[:1]), sums[:-1]])
        return {"store after": sums, "store before": before, "element-wise": 2 * sums, "operand": a @ sums}[use]

    check(kernel, reference, tolerance=2**-8)


# ---- copies and tensors ----------------------------------------------------------------------------------------------


@supported("Copies", "between on-chip buffers, with a change of dtype")
@pytest.mark.parametrize("dtypes", [(D, F), (F, D), (D, D)])
def test_copy_between_buffers(dtypes):
    source, target = dtypes

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), source), C: T.Tensor((64, 64), target)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), source)
            A_local = T.alloc_fragment((32, 64), source)
            C_local = T.alloc_fragment((32, 64), target)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, A_local)
            T.copy(A_local, C_local)
            T.copy(C_local, C[bx * 32, 0])

    check(kernel, lambda a: a)


@supported("Copies", "of a region by its corner, by slices, and of a whole tensor")
@pytest.mark.parametrize("form", ["corner", "slices", "whole"])
def test_forms_of_regions(form):
    @T.prim_func
    def kernel(A: T.Tensor((2, 64, 96), D), v: T.Tensor((96,), D), C: T.Tensor((2, 64, 96), D)):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            A_shared = T.alloc_shared((32, 96), D)
            v_shared = T.alloc_shared((96,), D)
            if form == "corner":
                T.copy(A[by, bx * 32, 0], A_shared)
                T.copy(v[0], v_shared)
            elif form == "slices":
                T.copy(A[by, bx * 32 : (bx + 1) * 32, 0:96], A_shared)
                T.copy(v[0:96], v_shared)
            else:
                T.copy(A[by, bx * 32 : bx * 32 + 32, :], A_shared)
                T.copy(v, v_shared)
            for i, j in T.Parallel(32, 96):
                A_shared[i, j] += v_shared[j]
            T.copy(A_shared, C[by, bx * 32, 0])

    check(kernel, lambda a, v: a + v)


@supported("Copies", "several blocks of one tensor, read and written")
def test_several_blocks_of_one_tensor():
    @T.prim_func
    def kernel(A: T.Tensor((32, 128), D), C: T.Tensor((32, 128), D)):
        with T.Kernel(1, threads=128) as bx:
            left = T.alloc_shared((32, 64), D)
            right = T.alloc_shared((32, 64), D)
            T.copy(A[0, 0], left)
            T.copy(A[0, 64], right)
            for i, j in T.Parallel(32, 64):
                left[i, j] += right[i, j]
            T.copy(right, C[0, 0])
            T.copy(left, C[0, 64])

    check(kernel, lambda a: torch.cat([a[:, 64:], a[:, :64] + a[:, 64:]], 1))


@supported("Tensors", "an output that is read first (in place)")
@pytest.mark.parametrize("direct", [False, True])
def test_in_place(direct):
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            C_shared = T.alloc_shared((32, 64), D)
            T.copy(A[bx * 32, 0], A_shared)
            if direct:
                for i, j in T.Parallel(32, 64):
                    C[bx * 32 + i, j] = C[bx * 32 + i, j] + A_shared[i, j]
            else:
                T.copy(C[bx * 32, 0], C_shared)
                for i, j in T.Parallel(32, 64):
                    C_shared[i, j] += A_shared[i, j]
                T.copy(C_shared, C[bx * 32, 0])

    run_in_place(kernel, lambda a, c: a + c)


def run_in_place(kernel, reference):
    torch.manual_seed(0)
    a, c = torch.randn(64, 64).bfloat16(), torch.randn(64, 64).bfloat16()
    expected = reference(a.double(), c.double())
    tt.compile(kernel)(a, c)
    assert_close(c, expected)


@supported("Tensors", "several outputs")
def test_several_outputs():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), sums: T.Tensor((64,), F), C: T.Tensor((64, 64), D), E: T.Tensor((64, 64), F)):
        with T.Kernel(2, threads=128) as bx:
            A_local = T.alloc_fragment((32, 64), F)
            total = T.alloc_fragment((32,), F)
            T.copy(A[bx * 32, 0], A_local)
            T.reduce_sum(A_local, total, dim=1)
            T.copy(total, sums[bx * 32])
            for i, j in T.Parallel(32, 64):
                A_local[i, j] = A_local[i, j] * 3
            T.copy(A_local, C[bx * 32, 0])
            T.copy(A_local, E[bx * 32, 0])

    check(kernel, lambda a: [a.sum(1), 3 * a, 3 * a], (-3, -2, -1))


@supported("Tensors", "of one to four dimensions; grids of one to three")
def test_tensors_of_four_dimensions():
    @T.prim_func
    def kernel(A: T.Tensor((2, 3, 64, 32), D), v: T.Tensor((32,), D), C: T.Tensor((2, 3, 64, 32), D)):
        with T.Kernel(2, 3, 2, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((32, 32), D)
            v_shared = T.alloc_shared((32,), D)
            T.copy(A[bz, by, bx * 32, 0], A_shared)
            T.copy(v, v_shared)
            for i, j in T.Parallel(32, 32):
                A_shared[i, j] = A_shared[i, j] * v_shared[j]
            T.copy(A_shared, C[bz, by, bx * 32, 0])

    check(kernel, lambda a, v: a * v)


@supported("Tensors", "no inputs: an output filled with a constant")
def test_fill():
    @T.prim_func
    def kernel(C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            C_local = T.alloc_fragment((32, 64), D)
            T.fill(C_local, 0.5)
            T.copy(C_local, C[bx * 32, 0])

    c = torch.zeros(64, 64).bfloat16()
    tt.compile(kernel)(c)
    assert_close(c, torch.full((64, 64), 0.5).double())


@supported("Tensors", "dtypes bfloat16, float16, float32")
@pytest.mark.parametrize("dtype", [D, "float16", F])
def test_dtypes(dtype):
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), dtype), C: T.Tensor((64, 64), dtype)):
        with T.Kernel(2, threads=128) as bx:
            A_local = T.alloc_fragment((32, 64), dtype)
            T.copy(A[bx * 32, 0], A_local)
            for i, j in T.Parallel(32, 64):
                A_local[i, j] = A_local[i, j] * 2
            T.copy(A_local, C[bx * 32, 0])

    check(kernel, lambda a: 2 * a, tolerance=1e-9)


# ---- edges ---------------------------------------------------------------------------------------------------------


@supported(
    "Edges",
    "tensors that blocks or hardware tiles do not divide: copies read zeros past the end, and write nothing there",
)
@pytest.mark.parametrize("shape", [(100, 64), (64, 100), (33, 33), (96, 96), (1, 64)])
def test_edges_of_element_wise_work(shape):
    M, N = shape

    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), v: T.Tensor((N,), D), C: T.Tensor((M, N), D)):
        with T.Kernel(T.ceildiv(N, 64), T.ceildiv(M, 64), threads=128) as (bx, by):
            A_shared = T.alloc_shared((64, 64), D)
            v_shared = T.alloc_shared((64,), D)
            T.copy(A[by * 64, bx * 64], A_shared)
            T.copy(v[bx * 64], v_shared)
            for i, j in T.Parallel(64, 64):
                A_shared[i, j] = T.exp(A_shared[i, j]) + v_shared[j]
            T.copy(A_shared, C[by * 64, bx * 64])

    check(kernel, lambda a, v: a.exp() + v)


@supported("Edges", "products over such tensors")
@pytest.mark.parametrize("shape", [(100, 64, 64), (64, 70, 64), (64, 64, 70), (40, 50, 100)])
def test_edges_of_products(shape):
    M, N, K = shape

    @T.prim_func
    def kernel(A: T.Tensor((M, K), D), B: T.Tensor((K, N), D), C: T.Tensor((M, N), D)):
        with T.Kernel(T.ceildiv(N, 64), T.ceildiv(M, 64), threads=128) as (bx, by):
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), F)
            T.clear(C_local)
            for k in T.Pipelined(T.ceildiv(K, 64), num_stages=2):
                T.copy(A[by * 64, k * 64], A_shared)
                T.copy(B[k * 64, bx * 64], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[by * 64, bx * 64])

    check(kernel, torch.matmul)


@supported("Edges", "reductions over such tensors, masked by the index")
@pytest.mark.parametrize("shape", [(64, 80), (70, 64), (50, 100)])
def test_edges_of_reductions(shape):
    M, N = shape
    width = (N + 31) // 32 * 32

    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), most: T.Tensor((M,), F), total: T.Tensor((M,), F)):
        with T.Kernel(T.ceildiv(M, 32), threads=128) as bx:
            A_local = T.alloc_fragment((32, width), F)
            m = T.alloc_fragment((32,), F)
            s = T.alloc_fragment((32,), F)
            T.copy(A[bx * 32, 0], A_local)
            T.reduce_sum(A_local, s, dim=1)
            for i, j in T.Parallel(32, width):
                A_local[i, j] = T.if_then_else(j < N, A_local[i, j], -T.infinity(F))
            T.reduce_max(A_local, m, dim=1)
            T.copy(m, most[bx * 32])
            T.copy(s, total[bx * 32])

    torch.manual_seed(0)
    a = (torch.randn(M, N) - 3).bfloat16()
    check(kernel, lambda a: [a.amax(1), a.sum(1)], (-2, -1), inputs=[a])


# ---- storage and padding -------------------------------------------------------------------------------------------

HEADS_INSIDE = "blocks over any two dimensions: `Q[b, s0:s0+64, h, :]`, whose rows lie `heads` apart"


@supported("Tensors", HEADS_INSIDE)
@pytest.mark.parametrize("seq", [128, 100])
def test_heads_between_rows_and_columns(seq):
    shape = (2, seq, 3, 64)

    @T.prim_func
    def kernel(
        Q: T.Tensor(shape, D), K: T.Tensor(shape, D), S: T.Tensor((2, 3, seq, seq), D), m: T.Tensor(shape[:3], F)
    ):
        with T.Kernel(T.ceildiv(seq, 64), 3, 2, threads=128) as (bx, by, bz):
            Q_shared = T.alloc_shared((64, 64), D)
            K_shared = T.alloc_shared((64, 64), D)
            S_local = T.alloc_fragment((64, 64), F)
            most = T.alloc_fragment((64,), F)
            T.copy(Q[bz, bx * 64 : (bx + 1) * 64, by, :], Q_shared)
            for k in T.Pipelined(T.ceildiv(seq, 64), num_stages=2):
                T.copy(K[bz, k * 64 : (k + 1) * 64, by, :], K_shared)
                T.gemm(Q_shared, K_shared, S_local, transpose_B=True, clear_accum=True)
                T.copy(S_local, S[bz, by, bx * 64 : (bx + 1) * 64, k * 64 : (k + 1) * 64])
            T.reduce_max(Q_shared, most, dim=1)
            T.copy(most, m[bz, bx * 64 : (bx + 1) * 64, by])

    def reference(q, k):
        return [torch.einsum("bshd,bthd->bhst", q, k), q.amax(-1)]

    program = check(kernel, reference, (-2, -1))
    assert [tensor.shape for tensor in program.spec.tensors[:2]] == [(2, 3, seq, 64)] * 2


@supported("Tensors", "blocks that begin inside a hardware tile, at multiples of their size")
@pytest.mark.parametrize("block", [(16, 64), (8, 48), (32, 16), (1, 64)])
def test_blocks_inside_hardware_tiles(block):
    rows, cols = block
    M, N = 4 * rows, 3 * cols

    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), v: T.Tensor((N,), D), C: T.Tensor((M, N), D)):
        with T.Kernel(3, 4, threads=128) as (bx, by):
            A_shared = T.alloc_shared((rows, cols), D)
            v_shared = T.alloc_shared((cols,), D)
            T.copy(A[by * rows, bx * cols], A_shared)
            T.copy(v[bx * cols : (bx + 1) * cols], v_shared)
            for i, j in T.Parallel(rows, cols):
                A_shared[i, j] = T.exp(A_shared[i, j]) * v_shared[j]
            for i, j in T.Parallel(rows, cols):
                C[by * rows + i, bx * cols + j] = A_shared[i, j] + A[by * rows + i, bx * cols + j]

    check(kernel, lambda a, v: a.exp() * v + a)


@supported("Tensors", "rows of a tensor as vectors: `A[i, :]`, `lse[b, h, s0:s0+64]`")
def test_rows_as_vectors():
    @T.prim_func
    def kernel(A: T.Tensor((5, 64), D), w: T.Tensor((64, 3), D), C: T.Tensor((64, 5), F)):
        with T.Kernel(5, threads=128) as bx:
            row = T.alloc_shared((64,), D)
            T.copy(A[bx, :], row)
            for j in T.Parallel(64):
                C[j, bx] = row[j] * w[j, 2] + A[4 - bx, j]

    check(kernel, lambda a, w: (a * w[:, 2] + a.flip(0)).T, tolerance=2**-9)


@supported("Edges", "on-chip buffers that are not multiples of 32, in products, reductions and element-wise work")
@pytest.mark.parametrize("sizes", [(16, 48, 40), (8, 64, 16), (70, 10, 33)])
def test_small_on_chip_buffers(sizes):
    m, n, k = sizes

    @T.prim_func
    def kernel(
        A: T.Tensor((3, m, k), D),
        B: T.Tensor((n, k), D),
        C: T.Tensor((3, m, n), D),
        sums: T.Tensor((3, m), F),
        least: T.Tensor((3, k), F),
    ):
        with T.Kernel(3, threads=128) as bx:
            A_shared = T.alloc_shared((m, k), D)
            B_shared = T.alloc_shared((n, k), D)
            E = T.alloc_fragment((m, k), F)
            E_cast = T.alloc_shared((m, k), D)
            C_local = T.alloc_fragment((m, n), F)
            total = T.alloc_fragment((m,), F)
            low = T.alloc_fragment((k,), F)
            T.copy(A[bx, :, :], A_shared)
            T.copy(B, B_shared)
            for i, j in T.Parallel(m, k):
                E[i, j] = T.exp(A_shared[i, j]) + 1
            T.copy(E, E_cast)
            T.clear(C_local)
            T.gemm(E_cast, B_shared, C_local, transpose_B=True)
            T.reduce_sum(E, total, dim=1)
            T.reduce_min(E, low, dim=0)
            T.copy(C_local, C[bx, :, :])
            T.copy(total, sums[bx, :])
            T.copy(low, least[bx, :])

    def reference(a, b):
        e = a.exp() + 1
        return [e @ b.T, e.sum(2), e.amin(1)]

    check(kernel, reference, (-3, -2, -1), tolerance=2**-7)


@supported("Edges", "divisions and logarithms of what lies past such a buffer's end reach no result")
def test_infinities_past_the_end_stay_there():
    @T.prim_func
    def kernel(
        A: T.Tensor((4, 16, 40), F), V: T.Tensor((40, 24), F), C: T.Tensor((4, 16, 24), F), m: T.Tensor((4, 16), F)
    ):
        with T.Kernel(4, threads=128) as bx:
            A_local = T.alloc_fragment((16, 40), F)
            V_shared = T.alloc_shared((40, 24), F)
            C_local = T.alloc_fragment((16, 24), F)
            most = T.alloc_fragment((16,), F)
            T.copy(A[bx, 0, 0], A_local)
            T.copy(V, V_shared)
            for i, j in T.Parallel(16, 40):
                A_local[i, j] = T.log(A_local[i, j]) / A_local[i, j]
            T.reduce_max(A_local, most, dim=1)
            T.gemm(A_local, V_shared, C_local, clear_accum=True)
            T.copy(C_local, C[bx, 0, 0])
            T.copy(most, m[bx, 0])

    torch.manual_seed(0)
    a, v = torch.rand(4, 16, 40) / 4 + 0.5, torch.randn(40, 24)
    check(kernel, lambda a, v: [(a.log() / a) @ v, (a.log() / a).amax(2)], (-2, -1), inputs=[a, v])


# ---- updates -------------------------------------------------------------------------------------------------------


@supported("Updates", "`T.atomic_add` by blocks of a dimension that the elements do not depend on (split-K)")
@pytest.mark.parametrize("whole_blocks", [True, False])
@pytest.mark.parametrize("layout", [None, "sharded"])
def test_split_k(whole_blocks, layout):
    M, N, K = 128, 96, 256
    func = kernels.gemm_split_k.get_tir(M, N, K, 32, 96, 32, 4, whole_blocks)
    program = tt.compile(func, layout={"C": height_sharded((M, N), 4)} if layout else None)
    torch.manual_seed(0)
    a, b, c = torch.randn(M, K).bfloat16(), torch.randn(K, N).bfloat16(), torch.randn(M, N)
    expected = a.double() @ b.double() + c.double()
    program(a, b, c)
    assert_close(c, expected)
    assert program.partition.grid_tiles == (4, 1)


@supported("Updates", "`T.atomic_add` of blocks that move with all loops")
def test_updates_in_place():
    @T.prim_func
    def kernel(A: T.Tensor((2, 64, 2, 64), F), C: T.Tensor((2, 64, 2, 64), D)):
        with T.Kernel(4, threads=128) as bx:
            A_local = T.alloc_fragment((32, 64), F)
            for i in T.serial(2):
                T.copy(A[bx // 2, i * 32 : i * 32 + 32, bx % 2, :], A_local)
                T.atomic_add(C[bx // 2, i * 32 : i * 32 + 32, bx % 2, :], A_local)

    torch.manual_seed(0)
    a, c = torch.randn(2, 64, 2, 64), torch.randn(2, 64, 2, 64).bfloat16()
    expected = a.double() + c.double()
    tt.compile(kernel)(a, c)
    assert_close(c, expected)


@supported("Updates", "`T.atomic_add` of a vector that every block adds to")
def test_a_vector_that_every_block_adds_to():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), F), total: T.Tensor((64,), F)):
        with T.Kernel(4, threads=128) as bx:
            A_local = T.alloc_fragment((32, 64), F)
            row = T.alloc_fragment((64,), F)
            T.copy(A[bx * 32, 0], A_local)
            T.reduce_sum(A_local, row, dim=0)
            for j in T.Parallel(64):
                T.atomic_add(total[j], row[j])

    torch.manual_seed(0)
    a, total = torch.randn(128, 64), torch.randn(64)
    expected = a.double().sum(0) + total.double()
    tt.compile(kernel)(a, total)
    assert_close(total, expected)


@supported("Copies", "from tensor to tensor, with a change of dtype")
@pytest.mark.parametrize("seq", [128, 100])
def test_copies_from_tensor_to_tensor(seq):
    check(kernels.convert.get_tir(2, seq, 3, 64), lambda a: a.transpose(1, 2))


# ---- what only GPUs have ---------------------------------------------------------------------------------------------


@supported("Threads", "hints for GPUs are ignored: `T.use_swizzle`, `T.annotate_layout`, `T.sync_threads`, `policy`")
def test_hints_for_gpus():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), B: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            B_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), F)
            T.use_swizzle(panel_size=10, enable=True)
            T.annotate_layout({A_shared: tilelang.layout.make_swizzled_layout(A_shared)})
            T.copy(A[0, 0], A_shared)
            T.copy(B[0, 0], B_shared)
            T.clear(C_local)
            T.sync_threads()
            T.gemm(A_shared, B_shared, C_local, policy=T.GemmWarpPolicy.FullRow)
            T.copy(C_local, C[0, 0])

    check(kernel, torch.matmul)


# ---- sizes known at launch -----------------------------------------------------------------------------------------


@supported("Sizes known at launch", "`T.dynamic`, `T.symbolic`: grids, tensors, vectors, loops, masks")
@pytest.mark.parametrize(("m", "n"), [(64, 64), (100, 40), (1, 200)])
def test_symbolic_sizes(m, n):
    M, N = T.dynamic("m"), T.symbolic("n")

    @T.prim_func
    def kernel(A: T.Tensor((M, N), D), scale: T.Tensor((N,), D), out: T.Tensor((M,), F)):
        with T.Kernel(T.ceildiv(M, 64), threads=128) as bx:
            A_local = T.alloc_fragment((64, 32), F)
            scale_shared = T.alloc_shared((32,), D)
            total = T.alloc_fragment((64,), F)
            T.clear(total)
            for k in T.Pipelined(T.ceildiv(N, 32)):
                T.copy(A[bx * 64, k * 32], A_local)
                T.copy(scale[k * 32], scale_shared)
                for i, j in T.Parallel(64, 32):
                    A_local[i, j] = T.if_then_else(k * 32 + j < N - 1, A_local[i, j] * scale_shared[j], 1)
                for i, j in T.Parallel(64, 32):
                    A_local[i, j] = T.if_then_else(k * 32 + j < N, A_local[i, j], 0)
                T.reduce_sum(A_local, total, dim=1, clear=False)
            T.copy(total, out[bx * 64])

    given = [torch.randn(m, n).to(torch.bfloat16), torch.randn(n).to(torch.bfloat16)]
    check(kernel, lambda a, v: (a * v)[:, :-1].sum(1) + 1, inputs=given)


@supported("Sizes known at launch", "dimensions computed of them: `(M * 2, N)`, where another tensor has `M` itself")
def test_computed_dimensions():
    M = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((M, 32), D), C: T.Tensor((M * 2, 32), D)):
        with T.Kernel(T.ceildiv(M * 2, 32), threads=128) as bx:
            A_shared = T.alloc_shared((32, 32), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, C[bx * 32, 0])

    check(kernel, lambda a: torch.cat([a, torch.zeros_like(a)]), inputs=[torch.randn(50, 32).to(torch.bfloat16)])
