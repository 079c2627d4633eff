"""Compiled kernels on the emulator against numpy: shapes, dtypes, block sizes, both modes."""

import kernels
import ml_dtypes
import numpy as np
import pytest
import tilelang.language as T
import torch

import tilelang_tt as tt
from tilelang_tt.layout import block_sharded, height_sharded, interleaved, width_sharded

DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}
# Of the largest output: packing rounds to half a unit of the output's mantissa, and float32 operands and accumulators
# may be cut to TF32 on their way.
TOLERANCE = {"bfloat16": 2**-8 + 2e-3, "float16": 2**-11 + 2e-3, "float32": 2e-3}


def random(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def empty(shape, dtype):
    return np.full(shape, np.nan, DTYPES[dtype])


def assert_close(found, expected, dtype):
    found, expected = found.astype(np.float64), np.asarray(expected, np.float64)
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


def f32(array):
    return array.astype(np.float32)


def check_gemm(program, dtype, shape, *, out_dtype=None, relu=False):
    m, n, k = shape
    a, b = random((m, k), dtype, 1), random((k, n), dtype, 2)
    c = empty((m, n), out_dtype or dtype)
    program(a, b, c)
    expected = f32(a) @ f32(b)
    assert_close(c, np.maximum(expected, 0) if relu else expected, out_dtype or dtype)


# ---- GEMM ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [(32, 32, 32), (64, 64, 32), (128, 128, 32), (32, 96, 64), (96, 32, 128)])
def test_gemm_of_any_block_shape(dtype, block):
    m, n, k = 384, 384, 256
    program = tt.compile(kernels.gemm.get_tir(m, n, k, *block, dtype=dtype, relu=True))
    assert program.partition.mode == "global"
    check_gemm(program, dtype, (m, n, k), relu=True)


@pytest.mark.parametrize("block", [(32, 32, 32), (64, 64, 64), (128, 64, 32)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_gemm_whose_output_is_sharded_stays_on_its_cores(dtype, block):
    m, n, k = 256, 512, 128
    func = kernels.gemm.get_tir(m, n, k, *block, dtype=dtype, relu=True)
    program = tt.compile(func, layout={"C": block_sharded((m, n), (2, 4))})
    assert program.partition.mode == "local_shard"
    assert program.partition.driving_buffer == "C"
    check_gemm(program, dtype, (m, n, k), relu=True)


@pytest.mark.parametrize(("stages", "blocks"), [(0, 2), (1, 1), (3, 3)])
def test_pipelined_stages_are_the_depth_of_the_circular_buffers(stages, blocks):
    program = tt.compile(kernels.gemm.get_tir(128, 128, 128, 64, 64, 32, stages=stages))
    depth = {cb.name: cb.num_pages for cb in program.spec.circular_buffers}
    assert depth["cb_A_shared"] == blocks * 2
    check_gemm(program, "bfloat16", (128, 128, 128))


def test_float32_accumulator_without_epilogue_is_written_as_it_is():
    program = tt.compile(kernels.gemm.get_tir(128, 128, 64, 128, 128, 32, out_dtype="float32"))
    assert "copy_tile" not in program.kernels["compute"]
    assert "cb_wait_front(cb_C_local, 16);" in program.kernels["writer"]
    check_gemm(program, "bfloat16", (128, 128, 64), out_dtype="float32")


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("block", [(64, 64, 64), (128, 96, 32)])
def test_transposed_operands(trans_a, trans_b, block):
    m, n, k = 128, 192, 128
    program = tt.compile(kernels.gemm_transposed.get_tir(m, n, k, *block, trans_a, trans_b))
    a, b = random((m, k), "bfloat16", 1), random((k, n), "bfloat16", 2)
    c = empty((m, n), "bfloat16")
    stored = [np.ascontiguousarray(x.T) if t else x for x, t in ((a, trans_a), (b, trans_b))]
    program(*stored, c)
    assert_close(c, f32(a) @ f32(b), "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("block", [(32, 64, 32), (128, 64, 32)])
def test_epilogue_of_bias_relu_and_residual(dtype, residual, block):
    m, n, k = 128, 128, 96
    program = tt.compile(kernels.gemm_bias.get_tir(m, n, k, *block, dtype=dtype, residual=residual))
    a, b, bias, r = (random(s, dtype, i) for i, s in enumerate([(m, k), (k, n), (n,), (m, n)]))
    c = empty((m, n), dtype)
    program(a, b, bias, r, c)
    expected = np.maximum(f32(a) @ f32(b) + f32(bias), 0)
    assert_close(c, expected * 0.5 - f32(r) if residual else expected, dtype)


def test_batches_are_rows_of_the_work_grid():
    program = tt.compile(kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32))
    assert program.partition.grid_tiles == (3 * 2, 3)
    a, b = random((3, 64, 64), "bfloat16", 1), random((3, 64, 96), "bfloat16", 2)
    c = empty((3, 64, 96), "bfloat16")
    program(a, b, c)
    assert_close(c, f32(a) @ f32(b), "bfloat16")


# ---- element-wise --------------------------------------------------------------------------------------------------

OPS = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_operations(op, dtype):
    program = tt.compile(kernels.binary.get_tir(128, 192, 64, 96, op, dtype))
    a, b = random((128, 192), dtype, 1), random((128, 192), dtype, 2)
    c = empty((128, 192), dtype)
    program(a, b, c)
    assert_close(c, OPS[op](f32(a), f32(b)), dtype)


def test_float32_elementwise_is_exact():
    program = tt.compile(kernels.binary.get_tir(64, 64, 32, 64, "add", "float32"))
    a, b = random((64, 64), "float32", 1), random((64, 64), "float32", 2)
    c = empty((64, 64), "float32")
    program(a, b, c)
    np.testing.assert_array_equal(c, a + b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copy_is_exact_and_leaves_the_compute_kernel_out(dtype):
    program = tt.compile(kernels.copy.get_tir(96, 128, 32, 64, dtype))
    assert "copy_tile" not in program.kernels["compute"]
    a, b = random((96, 128), dtype), empty((96, 128), dtype)
    program(a, b)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("dtype", "out_dtype"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_copy_converts(dtype, out_dtype):
    program = tt.compile(kernels.copy.get_tir(64, 64, 32, 32, dtype, out_dtype))
    a, b = random((64, 64), dtype), empty((64, 64), out_dtype)
    program(a, b)
    assert_close(b, f32(a), "bfloat16")


def test_one_buffer_as_three_kinds_of_operand():
    @T.prim_func
    def kernel(
        A: T.Tensor((96, 64), "bfloat16"),
        B: T.Tensor((96, 64), "bfloat16"),
        C: T.Tensor((96, 96), "float32"),
        D: T.Tensor((64, 64), "float32"),
        E: T.Tensor((96, 96), "float32"),
    ):
        with T.Kernel(1, threads=128):
            a, b = T.alloc_shared((96, 64), "bfloat16"), T.alloc_shared((96, 64), "bfloat16")
            c, e = T.alloc_fragment((96, 96), "float32"), T.alloc_fragment((96, 96), "float32")
            d = T.alloc_fragment((64, 64), "float32")
            T.copy(A[0, 0], a)
            T.copy(B[0, 0], b)
            T.gemm(a, b, c, transpose_B=True, clear_accum=True)
            T.gemm(a, b, d, transpose_A=True, clear_accum=True)
            T.gemm(b, a, e, transpose_B=True, clear_accum=True)
            T.copy(c, C[0, 0])
            T.copy(d, D[0, 0])
            T.copy(e, E[0, 0])

    a, b = random((96, 64), "bfloat16", 1), random((96, 64), "bfloat16", 2)
    c, d, e = empty((96, 96), "float32"), empty((64, 64), "float32"), empty((96, 96), "float32")
    tt.compile(kernel)(a, b, c, d, e)
    assert_close(c, f32(a) @ f32(b).T, "float32")
    assert_close(d, f32(a).T @ f32(b), "float32")
    assert_close(e, f32(b) @ f32(a).T, "float32")


def test_a_buffer_loaded_between_two_loops_that_load_it():
    @T.prim_func
    def kernel(
        A: T.Tensor((64, 320), "bfloat16"), B: T.Tensor((320, 64), "bfloat16"), C: T.Tensor((64, 64), "float32")
    ):
        with T.Kernel(1, threads=128):
            a, b = T.alloc_shared((64, 64), "bfloat16"), T.alloc_shared((64, 64), "bfloat16")
            c = T.alloc_fragment((64, 64), "float32")
            T.clear(c)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(A[0, k * 64], a)
                T.copy(B[k * 64, 0], b)
                T.gemm(a, b, c)
            T.copy(A[0, 128], a)
            T.copy(B[128, 0], b)
            T.gemm(a, b, c)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(A[0, (k + 3) * 64], a)
                T.copy(B[(k + 3) * 64, 0], b)
                T.gemm(a, b, c)
            T.copy(c, C[0, 0])

    a, b = random((64, 320), "bfloat16", 1), random((320, 64), "bfloat16", 2)
    c = empty((64, 64), "float32")
    tt.compile(kernel)(a, b, c)
    assert_close(c, f32(a) @ f32(b), "float32")


@pytest.mark.parametrize("sharded", [False, True])
def test_an_update_in_place(sharded):
    @T.prim_func
    def kernel(A: T.Tensor((128, 128), "bfloat16"), C: T.Tensor((128, 128), "bfloat16")):
        with T.Kernel(2, 4, threads=128) as (bx, by):
            for i, j in T.Parallel(32, 64):
                C[by * 32 + i, bx * 64 + j] = C[by * 32 + i, bx * 64 + j] * 2 + A[by * 32 + i, bx * 64 + j]

    layout = {"C": block_sharded((128, 128), (2, 2))} if sharded else {}
    a, c = random((128, 128), "bfloat16", 1), random((128, 128), "bfloat16", 2)
    expected = f32(c) * 2 + f32(a)
    tt.compile(kernel, layout=layout)(a, c)
    assert_close(c, expected, "bfloat16")


# ---- shapes that blocks do not divide ------------------------------------------------------------------------------

ODD = [
    (100, 70, 50, (64, 64, 32)),
    (160, 96, 96, (64, 64, 64)),
    (33, 1, 7, (32, 32, 32)),
    (200, 200, 200, (128, 64, 64)),
]


@pytest.mark.parametrize(("m", "n", "k", "block"), ODD)
def test_what_lies_past_a_tensors_end_reads_as_zero_and_is_not_written(m, n, k, block):
    program = tt.compile(kernels.gemm_bias.get_tir(m, n, k, *block, residual=True))
    a, b, bias, r = (random(s, "bfloat16", i) for i, s in enumerate([(m, k), (k, n), (n,), (m, n)]))
    c = empty((m, n), "bfloat16")
    _, report = program.run(a, b, bias, r, c, report=True)
    assert_close(c, np.maximum(f32(a) @ f32(b) + f32(bias), 0) * 0.5 - f32(r), "bfloat16")
    assert report.unwritten_pages["C"] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_odd_shapes_are_exact(dtype):
    program = tt.compile(kernels.copy.get_tir(77, 130, 64, 96, dtype))
    a, b = random((77, 130), dtype), empty((77, 130), dtype)
    program(a, b)
    np.testing.assert_array_equal(a, b)


# ---- where tensors live --------------------------------------------------------------------------------------------

SHAPE = (256, 256)
LAYOUTS = {
    "block": block_sharded(SHAPE, (4, 2)),
    "height": height_sharded(SHAPE, 4),
    "width": width_sharded(SHAPE, 4),
}


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("buffers", ["C", "A", "ABC", "AC"])
def test_sharded_tensors_are_used_in_place(kind, buffers):
    program = tt.compile(kernels.binary.get_tir(*SHAPE, 32, 64), layout=dict.fromkeys(buffers, LAYOUTS[kind]))
    assert program.partition.mode == "local_shard"
    assert set(program.partition.resident_buffers) == set(buffers)
    a, b = random(SHAPE, "bfloat16", 1), random(SHAPE, "bfloat16", 2)
    c = empty(SHAPE, "bfloat16")
    _, report = program.run(a, b, c, report=True)
    assert_close(c, f32(a) + f32(b), "bfloat16")
    for name in "ABC":
        moved = report.tensor_read.get(name, 0) + report.tensor_written.get(name, 0)
        assert moved == (0 if name in buffers else 256 * 256 * 2)


def test_uneven_last_shards():
    shape = (320, 224)
    layout = block_sharded(shape, (3, 2))
    assert layout["nd_shard"]["shard_shape_elems"] == [128, 128]
    program = tt.compile(kernels.binary.get_tir(*shape, 32, 32), layout={"A": layout, "C": layout})
    counts = {row[2:4]: row[1] for row in program.partition.core_runtime_args}
    assert counts == {(0, 0): 16, (0, 1): 12, (1, 0): 16, (1, 1): 12, (2, 0): 8, (2, 1): 6}
    a, b = random(shape, "bfloat16", 1), random(shape, "bfloat16", 2)
    c = empty(shape, "bfloat16")
    program(a, b, c)
    assert_close(c, f32(a) + f32(b), "bfloat16")


def test_gemm_driven_by_a_sharded_operand():
    m, n, k = 256, 64, 128
    program = tt.compile(
        kernels.gemm.get_tir(m, n, k, 32, 64, 32), layout={"A": height_sharded((m, k), 8, axes=("M", "K"))}
    )
    assert program.partition.driving_buffer == "A"
    assert "noc_async_read_page" in program.kernels["reader"]
    assert "tensor_A" not in program.kernels["reader"]
    check_gemm(program, "bfloat16", (m, n, k))


@pytest.mark.parametrize("trans", [False, True])
def test_gemm_with_a_resident_second_operand(trans):
    m, n, k = 64, 256, 64
    b_shape = (n, k) if trans else (k, n)
    layout = height_sharded(b_shape, 4, axes=("N", "K")) if trans else width_sharded(b_shape, 4, axes=("K", "N"))
    program = tt.compile(kernels.gemm_transposed.get_tir(m, n, k, 64, 64, 32, False, trans), layout={"B": layout})
    assert program.partition.resident_buffers == ("B",)
    a, b = random((m, k), "bfloat16", 1), random((k, n), "bfloat16", 2)
    c = empty((m, n), "bfloat16")
    program(a, np.ascontiguousarray(b.T) if trans else b, c)
    assert_close(c, f32(a) @ f32(b), "bfloat16")


def test_global_mode_reads_and_writes_shards_over_the_network():
    m = n = k = 128
    program = tt.compile(
        kernels.gemm.get_tir(m, n, k, 64, 64, 32),
        layout={"A": block_sharded((m, k), (2, 2), axes=("M", "K")), "C": block_sharded((m, n), (2, 2))},
        schedule={"partition_mode": "global"},
    )
    assert program.partition.mode == "global"
    check_gemm(program, "bfloat16", (m, n, k))


def test_l1_interleaved_tensors():
    program = tt.compile(kernels.binary.get_tir(128, 128, 64, 64), layout={name: interleaved("L1") for name in "ABC"})
    a, b = random((128, 128), "bfloat16", 1), random((128, 128), "bfloat16", 2)
    c = empty((128, 128), "bfloat16")
    program(a, b, c)
    assert_close(c, f32(a) + f32(b), "bfloat16")


@pytest.mark.parametrize("device", tt.devices.device_names())
def test_every_device(device):
    program = tt.compile(kernels.gemm.get_tir(512, 512, 64, 32, 32, 32), device=device)
    cores = len(tt.devices.load_device(device).cores)
    assert len(program.partition.core_ranges) == min(cores, 256)
    check_gemm(program, "bfloat16", (512, 512, 64))


# ---- determinism and TileLang's own quickstart ---------------------------------------------------------------------


def test_two_runs_agree_to_the_bit():
    program = tt.compile(kernels.gemm.get_tir(128, 128, 128, 64, 64, 32))
    a, b = random((128, 128), "bfloat16", 1), random((128, 128), "bfloat16", 2)
    outcomes = []
    for _ in range(2):
        c = empty((128, 128), "bfloat16")
        _, report = program.run(a, b, c, report=True)
        outcomes.append((c.tobytes(), report))
    assert outcomes[0] == outcomes[1]


def test_torch_tensors_in_and_out():
    program = tt.compile(kernels.gemm.get_tir(128, 128, 128, 64, 64, 32, dtype="float16", relu=True), out_idx=-1)
    a, b = torch.randn(128, 128, dtype=torch.float16), torch.randn(128, 128, dtype=torch.float16)
    c = program(a, b)
    torch.testing.assert_close(c, torch.relu(a.float() @ b.float()).half(), rtol=1e-2, atol=2e-2)


def test_a_column_vector_after_a_product():
    @T.prim_func
    def kernel(
        A: T.Tensor((32, 64), "bfloat16"),
        B: T.Tensor((64, 32), "bfloat16"),
        w: T.Tensor((32,), "bfloat16"),
        v: T.Tensor((32,), "bfloat16"),
        C: T.Tensor((32, 32), "float32"),
    ):
        with T.Kernel(1, threads=128):
            a, b = T.alloc_shared((32, 32), "bfloat16"), T.alloc_shared((32, 32), "bfloat16")
            q = T.alloc_shared((32,), "bfloat16")
            c = T.alloc_fragment((32, 32), "float32")
            T.clear(c)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(A[0, k * 32], a)
                T.copy(B[k * 32, 0], b)
                T.gemm(a, b, c)
            T.copy(w[0], q)
            for i, j in T.Parallel(32, 32):
                c[i, j] = c[i, j] * q[i] + v[i]
            T.copy(c, C[0, 0])

    a, b = random((32, 64), "bfloat16", 1), random((64, 32), "bfloat16", 2)
    w, v, c = random((32,), "bfloat16", 3), random((32,), "bfloat16", 4), empty((32, 32), "float32")
    tt.compile(kernel)(a, b, w, v, c)
    assert_close(c, f32(a) @ f32(b) * f32(w)[:, None] + f32(v)[:, None], "float32")


@pytest.mark.parametrize(("trans_a", "trans_b"), [(False, False), (True, False), (False, True)])
def test_products_of_operands_changed_in_place(trans_a, trans_b):
    @T.prim_func
    def kernel(A: T.Tensor((32, 32), "bfloat16"), B: T.Tensor((32, 32), "bfloat16"), C: T.Tensor((32, 32), "float32")):
        with T.Kernel(1, threads=128):
            a, b = T.alloc_shared((32, 32), "bfloat16"), T.alloc_shared((32, 32), "bfloat16")
            c = T.alloc_fragment((32, 32), "float32")
            T.copy(A[0, 0], a)
            T.copy(B[0, 0], b)
            for i, j in T.Parallel(32, 32):
                a[i, j] = a[i, j] * 0.5
            for i, j in T.Parallel(32, 32):
                b[i, j] = b[i, j] * 0.25
            T.gemm(a, b, c, transpose_A=trans_a, transpose_B=trans_b, clear_accum=True)
            T.copy(c, C[0, 0])

    a, b = random((32, 32), "bfloat16", 1), random((32, 32), "bfloat16", 2)
    c = empty((32, 32), "float32")
    tt.compile(kernel)(a, b, c)
    left, right = (f32(a).T if trans_a else f32(a)), (f32(b).T if trans_b else f32(b))
    assert_close(c, left @ right / 8, "float32")


def test_a_loaded_row_vector_that_a_loop_changes():
    @T.prim_func
    def kernel(p: T.Tensor((32,), "float32"), C: T.Tensor((2, 32, 32), "float32")):
        with T.Kernel(1, threads=128):
            row = T.alloc_fragment((32,), "float32")
            c = T.alloc_fragment((32, 32), "float32")
            T.copy(p[0], row)
            for k in T.serial(2):
                for i, j in T.Parallel(32, 32):
                    c[i, j] = row[j]
                T.copy(c, C[k, 0, 0])
                for j in T.Parallel(32):
                    row[j] = row[j] + 0.5

    p, c = random((32,), "float32", 1), empty((2, 32, 32), "float32")
    tt.compile(kernel)(p, c)
    assert_close(c, np.stack([np.tile(p, (32, 1)), np.tile(p + 0.5, (32, 1))]), "float32")
