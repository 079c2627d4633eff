"""What a caller left past a tensor's end, in its last hardware tiles, never reaches a result."""

import kernels
import ml_dtypes
import numpy as np
import pytest
import tilelang.language as T
from tilelang import jit

import tilelang_tt as tt
from tilelang_tt.layout import block_sharded, height_sharded, nd_sharded
from tilelang_tt.runtime.emulator import job
from tilelang_tt.runtime.tiles import tile_shape

BF16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture(autouse=True)
def garbage(monkeypatch):
    """Tensors reach the emulator with padding that no kernel may use: no number, or a large integer."""
    to_pages = job.to_pages

    def padded(array, data_format, out):
        shape = tile_shape(array.shape)
        rows, columns = -(-shape.rows // 32) * 32, shape.tile_columns * 32
        filled = np.full((shape.batch, rows, columns), np.nan if array.dtype.kind not in "iu" else 1 << 20, array.dtype)
        filled[:, : shape.rows, : shape.columns] = array.reshape(shape.batch, shape.rows, shape.columns)
        to_pages(filled, data_format, out)

    monkeypatch.setattr(job, "to_pages", padded)


def random(shape, seed, dtype=BF16):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def f32(array):
    return array.astype(np.float32)


def call(func, inputs, expected, layout=None, **options):
    program = tt.compile(func, None, layout, **options)
    out = np.zeros(expected.shape, BF16)
    program(*inputs, out)
    np.testing.assert_allclose(f32(out), expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())
    return program


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("k", [50, 33, 95])
def test_the_summed_dimension_of_a_product(trans_a, trans_b, k):
    a, b = random((100, k), 1), random((k, 70), 2)
    func = kernels.gemm_transposed.get_tir(100, 70, k, 64, 64, 32, trans_a, trans_b)
    stored = [np.ascontiguousarray(x.T) if t else x for x, t in ((a, trans_a), (b, trans_b))]
    call(func, stored, f32(a) @ f32(b))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_bias_vector(dtype, residual):
    kind = BF16 if dtype == "bfloat16" else np.dtype(np.float32)
    a, b, v, r = (random(s, i, kind) for i, s in enumerate([(64, 32), (32, 100), (100,), (64, 100)]))
    program = tt.compile(kernels.gemm_bias.get_tir(64, 100, 32, 32, 64, 32, dtype=dtype, residual=residual))
    c = np.zeros((64, 100), kind)
    program(a, b, v, r, c)
    expected = np.maximum(f32(a) @ f32(b) + f32(v), 0)
    expected = expected * 0.5 - f32(r) if residual else expected
    np.testing.assert_allclose(f32(c), expected, atol=2e-2 * np.abs(expected).max())


@jit(out_idx=None)
def reduced(rows, columns, axis, op="sum"):
    size = rows if axis == 1 else columns

    @T.prim_func
    def main(A: T.Tensor((rows, columns), "bfloat16"), B: T.Tensor((size,), "bfloat16")):
        with T.Kernel(1) as _:
            block = T.alloc_fragment((64, 96), "bfloat16")
            total = T.alloc_fragment((64,) if axis == 1 else (96,), "bfloat16")
            T.copy(A[0, 0], block)
            if op == "sum":
                T.reduce_sum(block, total, dim=axis)
            else:
                T.reduce_max(block, total, dim=axis)
            T.copy(total, B[0])

    return main


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", ["sum", "max"])
def test_reductions_take_zeros(axis, op):
    a = random((50, 70), 1)
    padded = np.zeros((64, 96), np.float32)
    padded[:50, :70] = a
    expected = getattr(padded, op)(axis=axis)[: (70, 50)[axis]]
    call(reduced.get_tir(50, 70, axis, op), [a], expected)


@jit(out_idx=None)
def shifted(columns, wide):
    @T.prim_func
    def main(A: T.Tensor((64, columns), "bfloat16"), B: T.Tensor((64, wide), "bfloat16")):
        with T.Kernel(T.ceildiv(wide, 64)) as bx:
            block = T.alloc_shared((64, 64), "bfloat16")
            T.copy(A[0, bx * 64], block)
            T.copy(block, B[0, bx * 64])

    return main


def test_a_copy_into_a_wider_tensor():
    a = random((64, 70), 1)
    expected = np.zeros((64, 100), np.float32)
    expected[:, :70] = a
    program = call(shifted.get_tir(70, 100), [a], expected)
    assert "zero_past(" in program.kernels["reader"]


def test_a_copy_into_the_same_place_clears_nothing():
    a = random((64, 70), 1)
    program = call(shifted.get_tir(70, 70), [a], f32(a))
    assert "zero_past(" not in program.kernels["reader"]
    program = call(
        kernels.binary.get_tir(50, 70, 32, 64, "add"), [random((50, 70), 1)] * 2, 2 * f32(random((50, 70), 1))
    )
    assert "zero_past(" not in program.kernels["reader"]


@jit(out_idx=None)
def through_an_expression(columns, wide):
    @T.prim_func
    def main(A: T.Tensor((64, columns), "bfloat16"), B: T.Tensor((64, wide), "bfloat16")):
        with T.Kernel(T.ceildiv(wide, 64)) as bx:
            for i, j in T.Parallel(64, 64):
                B[i, bx * 64 + j] = A[i, bx * 64 + j] + 1.0

    return main


def test_a_tensor_read_in_an_expression():
    a = random((64, 70), 1)
    expected = np.ones((64, 100), np.float32)
    expected[:, :70] += f32(a)
    call(through_an_expression.get_tir(70, 100), [a], expected)


SHARDED = {
    "rows": height_sharded((96, 50), 3, axes=("M", "K")),
    "in turn": nd_sharded((96, 50), (32, 64), axes=("M", "K"), distribution="round_robin", core_ranges=[[0, 0, 1, 0]]),
    "dram": nd_sharded((96, 50), (32, 32), "DRAM", axes=("M", "K")),
}


@pytest.mark.parametrize("layout", SHARDED)
def test_an_operand_in_shards(layout):
    """A shard is no place to clear: its blocks are copied, and the copy is cleared."""
    a, b = random((96, 50), 1), random((50, 70), 2)
    func = kernels.gemm.get_tir(96, 70, 50, 32, 32, 32)
    program = call(func, [a, b], f32(a) @ f32(b), {"A": SHARDED[layout]})
    assert program.partition.mode == ("global" if layout == "dram" else "local_shard")


def test_elementwise_work_on_shards_stays_in_place():
    a, b = random((90, 70), 1), random((90, 70), 2)
    layout = block_sharded((90, 70), (3, 3))
    program = call(kernels.binary.get_tir(90, 70, 32, 32, "add"), [a, b], f32(a) + f32(b), dict.fromkeys("ABC", layout))
    assert "noc_async_read" not in program.kernels["reader"]


def test_batches():
    a, b = random((3, 50, 40), 1), random((3, 40, 70), 2)
    call(kernels.batched_gemm.get_tir(3, 50, 70, 40, 32, 32, 32), [a, b], f32(a) @ f32(b))


@jit(out_idx=None)
def integers(columns, wide):
    @T.prim_func
    def main(A: T.Tensor((32, columns), "int32"), B: T.Tensor((32, wide), "int32")):
        with T.Kernel(1) as _:
            block = T.alloc_shared((32, 96), "int32")
            T.copy(A[0, 0], block)
            T.copy(block, B[0, 0])

    return main


def test_integers():
    a = np.arange(32 * 70, dtype=np.int32).reshape(32, 70)
    b = np.ones((32, 90), np.int32)
    tt.compile(integers.get_tir(70, 90))(a, b)
    np.testing.assert_array_equal(b[:, :70], a)
    assert not b[:, 70:].any()
