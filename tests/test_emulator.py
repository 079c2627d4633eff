"""Numerics and counts of hand-written kernels on the emulator."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from emulator_programs import (
    BF16,
    COMPUTE_HEADERS,
    COPY,
    bf16,
    buffer,
    compute,
    pack_bf16,
    partition,
    reader,
    spread,
    stream_program,
    tensor,
)

from tilelang_tt.devices import load_device
from tilelang_tt.program.spec import ComputeConfig, KernelSpec, ProgramSpec, ShardSpec
from tilelang_tt.runtime import emulator

SHAPE = (64, 64)
RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _same_numbers_whatever_ran_before():
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


FP16_DEST = ComputeConfig(fp32_dest_acc=False)


def normal(shape, dtype=np.float32):
    return RNG.standard_normal(shape, dtype=np.float32).astype(dtype)


def tf32(array):
    """As float32 gets into SrcA and SrcB: cut to 10 bits of mantissa."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def cut_bf16(array):
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def stream(inputs, out_dtype, source, **options):
    """Runs a streaming program on ``inputs``; gives the output and the report."""
    specs = [tensor(f"x{i}", array.shape, array.dtype, "in") for i, array in enumerate(inputs)]
    spec, sources = stream_program(specs, tensor("y", inputs[0].shape, out_dtype, "out"), source, **options)
    out = np.zeros(inputs[0].shape, out_dtype)
    report = emulator.run(spec, sources, [*inputs, out])
    return out, report


# --- GEMM ---

GEMM_READER = """#include "api/dataflow/dataflow_api.h"
constexpr uint32_t BM = get_named_compile_time_arg_val("BM"), BN = get_named_compile_time_arg_val("BN");
constexpr uint32_t BK = get_named_compile_time_arg_val("BK");
void kernel_main() {
    const uint32_t start = get_arg_val<uint32_t>(0), count = get_arg_val<uint32_t>(1);
    const uint32_t Kt = get_arg_val<uint32_t>(3), Nt = get_arg_val<uint32_t>(4);
    constexpr auto a_args = TensorAccessorArgs<0>();
    constexpr auto b_args = TensorAccessorArgs<a_args.next_compile_time_args_offset()>();
    const auto a = TensorAccessor(a_args, get_common_arg_val<uint32_t>(0), get_tile_size(0));
    const auto b = TensorAccessor(b_args, get_common_arg_val<uint32_t>(1), get_tile_size(1));
    for (uint32_t work = start; work < start + count; ++work) {
        const uint32_t m = work / Nt * BM, n = work % Nt * BN;
        for (uint32_t k = 0; k < Kt * BK; k += BK) {
            cb_reserve_back(0, BM * BK);
            cb_reserve_back(1, BK * BN);
            uint32_t l1 = get_write_ptr(0);
            for (uint32_t i = 0; i < BM; ++i)
                for (uint32_t j = 0; j < BK; ++j, l1 += get_tile_size(0))
                    noc_async_read_page((m + i) * Kt * BK + k + j, a, l1);
            l1 = get_write_ptr(1);
            for (uint32_t i = 0; i < BK; ++i)
                for (uint32_t j = 0; j < BN; ++j, l1 += get_tile_size(1))
                    noc_async_read_page((k + i) * Nt * BN + n + j, b, l1);
            noc_async_read_barrier();
            cb_push_back(0, BM * BK);
            cb_push_back(1, BK * BN);
        }
    }
}
"""
GEMM_WRITER = """#include "api/dataflow/dataflow_api.h"
constexpr uint32_t BM = get_named_compile_time_arg_val("BM"), BN = get_named_compile_time_arg_val("BN");
void kernel_main() {
    const uint32_t start = get_arg_val<uint32_t>(0), count = get_arg_val<uint32_t>(1), Nt = get_arg_val<uint32_t>(4);
    constexpr auto c_args = TensorAccessorArgs<0>();
    const auto c = TensorAccessor(c_args, get_common_arg_val<uint32_t>(2), get_tile_size(16));
    for (uint32_t work = start; work < start + count; ++work) {
        for (uint32_t i = 0; i < BM; ++i) {
            cb_wait_front(16, BN);
            uint32_t l1 = get_read_ptr(16);
            for (uint32_t j = 0; j < BN; ++j, l1 += get_tile_size(16))
                noc_async_write_page((work / Nt * BM + i) * Nt * BN + work % Nt * BN + j, c, l1);
            noc_async_writes_flushed();
            cb_pop_front(16, BN);
        }
    }
    noc_async_write_barrier();
}
"""
# Blocks larger than DST: float32 partial sums in a circular buffer by packer L1 accumulation, then relu.
GEMM_COMPUTE = (
    COMPUTE_HEADERS
    + """constexpr uint32_t BM = get_named_compile_time_arg_val("BM"), BN = get_named_compile_time_arg_val("BN");
constexpr uint32_t BK = get_named_compile_time_arg_val("BK"), SM = 2, SN = 2;
void kernel_main() {
    const uint32_t count = get_arg_val<uint32_t>(1), Kt = get_arg_val<uint32_t>(3);
    compute_kernel_hw_startup<SrcOrder::Reverse>(0, 1, 24);
    for (uint32_t work = 0; work < count; ++work) {
        reconfig_data_format<SrcOrder::Reverse>(0, 1);
        matmul_block_init(0, 1, 0, SN, SM, BK);
        pack_reconfig_data_format(24);
        cb_reserve_back(24, BM * BN);
        for (uint32_t kb = 0; kb < Kt; ++kb) {
            cb_wait_front(0, BM * BK);
            cb_wait_front(1, BK * BN);
            if (kb <= 1) pack_reconfig_l1_acc(kb);
            for (uint32_t i = 0; i < BM; i += SM) {
                for (uint32_t j = 0; j < BN; j += SN) {
                    tile_regs_acquire();
                    for (uint32_t k = 0; k < BK; ++k) matmul_block(0, 1, i * BK + k, k * BN + j, 0, 0, SN, SM, BK);
                    tile_regs_commit();
                    tile_regs_wait();
                    for (uint32_t t = 0; t < SM * SN; ++t) pack_tile<true>(t, 24, (i + t / SN) * BN + j + t % SN);
                    tile_regs_release();
                }
            }
            cb_pop_front(0, BM * BK);
            cb_pop_front(1, BK * BN);
        }
        cb_push_back(24, BM * BN);
        pack_reconfig_l1_acc(0);
        cb_wait_front(24, BM * BN);
        reconfig_data_format_srca(24);
        copy_init(24);
        pack_reconfig_data_format(16);
        for (uint32_t t = 0; t < BM * BN; t += 4) {
            tile_regs_acquire();
            for (uint32_t u = 0; u < 4; ++u) copy_tile(24, t + u, u);
            relu_tile_init();
            for (uint32_t u = 0; u < 4; ++u) relu_tile(u);
            tile_regs_commit();
            cb_reserve_back(16, 4);
            tile_regs_wait();
            for (uint32_t u = 0; u < 4; ++u) pack_tile(u, 16);
            tile_regs_release();
            cb_push_back(16, 4);
        }
        cb_pop_front(24, BM * BN);
    }
}
"""
)


def gemm_program(m, n, k, dtype=BF16, out_dtype=None, block=4, block_k=2, cores=8, device="wormhole_n150", config=None):
    out_dtype = out_dtype or dtype
    mt, nt, kt = m // 32 // block, n // 32 // block, k // 32 // block_k
    chip = load_device(device)
    cores = min(cores, mt * nt)
    tensors = (
        tensor("A", (m, k), dtype, "in"),
        tensor("B", (k, n), dtype, "in"),
        tensor("C", (m, n), out_dtype, "out"),
    )
    named = {"BM": block, "BN": block, "BK": block_k}
    spec = ProgramSpec(
        "gemm",
        chip,
        tensors,
        (
            buffer(0, "a", tensors[0].data_format, 2 * block * block_k),
            buffer(1, "b", tensors[1].data_format, 2 * block * block_k),
            buffer(16, "c", tensors[2].data_format, 2 * block),
            buffer(24, "partial", "Float32", block * block),
        ),
        (
            KernelSpec("reader", "reader.cpp", ("A", "B"), named),
            KernelSpec("compute", "compute.cpp", (), named, config or ComputeConfig()),
            KernelSpec("writer", "writer.cpp", ("C",), named),
        ),
        partition(chip.cores[:cores], spread(mt * nt, cores), Mt=mt, Kt=kt, Nt=nt),
    )
    return spec, {"reader.cpp": GEMM_READER, "compute.cpp": GEMM_COMPUTE, "writer.cpp": GEMM_WRITER}


@pytest.mark.parametrize(
    ("dtype", "out_dtype", "config", "device", "tolerance"),
    [
        (BF16, BF16, None, "wormhole_n150", 4e-3),
        (BF16, np.float32, None, "blackhole_p150", 2e-3),  # the partial sums are copied through SrcA
        (np.float32, np.float32, None, "wormhole_n150", 3e-3),
        (np.float16, np.float16, FP16_DEST, "blackhole_p150", 4e-3),
        (BF16, BF16, FP16_DEST, "wormhole_n150", 4e-2),
        (BF16, BF16, ComputeConfig(math_fidelity="HiFi3"), "wormhole_n150", 6e-3),
        (BF16, BF16, ComputeConfig(math_fidelity="HiFi2"), "wormhole_n150", 1e-2),
        (BF16, BF16, ComputeConfig(math_fidelity="LoFi"), "wormhole_n150", 5e-2),
    ],
)
def test_gemm_relu(dtype, out_dtype, config, device, tolerance):
    m, n, k = 256, 128, 192
    spec, sources = gemm_program(m, n, k, dtype, out_dtype, device=device, config=config, cores=2)
    a, b, c = normal((m, k), dtype), normal((k, n), dtype), np.zeros((m, n), out_dtype)
    report = emulator.run(spec, sources, [a, b, c])
    want = np.maximum(a.astype(np.float64) @ b.astype(np.float64), 0)
    error = np.abs(c.astype(np.float64) - want).max() / want.max()
    assert error < tolerance
    if config and config.math_fidelity == "LoFi":
        assert error > 5e-3  # it does drop bits
    assert report.tiles.products == m * n * k // 32**3
    assert report.tiles.sfpu == m * n // 1024
    size = a.dtype.itemsize
    assert report.noc.dram_read == report.tensor_read["A"] + report.tensor_read["B"]
    assert report.tensor_read == {"A": m * k * size, "B": 2 * k * n * size, "C": 0}
    assert report.tensor_written == {"A": 0, "B": 0, "C": c.nbytes}
    assert sum(report.dram_bank_read) == report.noc.dram_read
    assert len(report.dram_bank_read) == spec.device.dram_banks


def test_same_bits_and_counts_every_time():
    spec, sources = gemm_program(256, 256, 128, cores=4)
    a, b = normal((256, 128), BF16), normal((128, 256), BF16)
    runs = []
    for _ in range(3):
        c = np.zeros((256, 256), BF16)
        report = emulator.run(spec, sources, [a, b, c])
        runs.append((c.tobytes(), msgspec.json.encode(report)))
    assert len(set(runs)) == 1
    # The same numbers whichever core does the work.
    spec, sources = gemm_program(256, 256, 128, cores=1)
    emulator.run(spec, sources, [a, b, c])
    assert c.tobytes() == runs[0][0]


def test_matmul_transposed_and_bias():
    # C = A @ B.T + bias: transpose flag, accumulation in DST over k, the bias row added by a product with a column of
    # ones that the reader writes into L1 itself.
    m, n, k = 32, 64, 96
    read = """#include "api/dataflow/dataflow_api.h"
void kernel_main() {
    constexpr auto a_args = TensorAccessorArgs<0>();
    constexpr auto b_args = TensorAccessorArgs<a_args.next_compile_time_args_offset()>();
    constexpr auto bias_args = TensorAccessorArgs<b_args.next_compile_time_args_offset()>();
    const auto a = TensorAccessor(a_args, get_common_arg_val<uint32_t>(0), get_tile_size(0));
    const auto b = TensorAccessor(b_args, get_common_arg_val<uint32_t>(1), get_tile_size(1));
    const auto bias = TensorAccessor(bias_args, get_common_arg_val<uint32_t>(2));
    cb_reserve_back(4, 1);
    volatile tt_l1_ptr uint32_t* ones = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_write_ptr(4));
    for (uint32_t i = 0; i < 512; ++i) ones[i] = ((i >> 7) & 1) == 0 && (i & 7) == 0 ? 0x3F80 : 0;
    cb_push_back(4, 1);
    cb_reserve_back(2, 2);
    for (uint32_t j = 0; j < 2; ++j) noc_async_read_page(j, bias, get_write_ptr(2) + j * get_tile_size(2));
    noc_async_read_barrier();
    cb_push_back(2, 2);
    for (uint32_t step = 0; step < 3; ++step) {
        cb_reserve_back(0, 1);
        cb_reserve_back(1, 2);
        noc_async_read_page(step, a, get_write_ptr(0));
        for (uint32_t j = 0; j < 2; ++j) noc_async_read_page(j * 3 + step, b, get_write_ptr(1) + j * get_tile_size(1));
        noc_async_read_barrier();
        cb_push_back(0, 1);
        cb_push_back(1, 2);
    }
}
"""
    source = (
        COMPUTE_HEADERS
        + """void kernel_main() {
    compute_kernel_hw_startup<SrcOrder::Reverse>(0, 1, 16);
    matmul_block_init(0, 1, 1, 2, 1, 1);
    tile_regs_acquire();
    for (uint32_t step = 0; step < 3; ++step) {
        cb_wait_front(0, 1);
        cb_wait_front(1, 2);
        matmul_block(0, 1, 0, 0, 0, 1, 2, 1, 1);
        cb_pop_front(0, 1);
        cb_pop_front(1, 2);
    }
    cb_wait_front(4, 1);
    cb_wait_front(2, 2);
    matmul_block_init(4, 2, 0, 2, 1, 1);
    matmul_block(4, 2, 0, 0, 0, 0, 2, 1, 1);
    cb_pop_front(4, 1);
    cb_pop_front(2, 2);
    tile_regs_commit();
    tile_regs_wait();
    for (uint32_t j = 0; j < 2; ++j) {
        cb_reserve_back(16, 1);
        pack_tile(j, 16);
        cb_push_back(16, 1);
    }
    tile_regs_release();
}
"""
    )
    inputs = [tensor("a", (m, k), BF16, "in"), tensor("b", (n, k), BF16, "in"), tensor("bias", (n,), BF16, "in")]
    extra = [buffer(4, "ones", "Float16_b", 1)]
    spec, sources = stream_program(
        inputs, tensor("c", (m, n), BF16, "out"), source, extra=extra, replace={"reader": read}
    )
    a, b, bias, c = normal((m, k), BF16), normal((n, k), BF16), normal((n,), BF16), np.zeros((m, n), BF16)
    emulator.run(spec, sources, [a, b, bias, c])
    want = a.astype(np.float64) @ b.T.astype(np.float64) + bias.astype(np.float64)
    assert np.abs(c.astype(np.float64) - want).max() / np.abs(want).max() < 4e-3


# --- element-wise ---


@pytest.mark.parametrize(
    ("dtype", "out_dtype", "config", "to_dest", "want"),
    [
        (BF16, BF16, None, False, lambda x: x),
        (BF16, np.float32, FP16_DEST, False, lambda x: x),
        (np.float32, np.float32, None, False, tf32),
        (np.float32, np.float32, None, True, lambda x: x),
        (np.float32, BF16, None, False, lambda x: pack_bf16(tf32(x))),
        (np.float32, BF16, FP16_DEST, False, cut_bf16),
        (np.float16, np.float16, FP16_DEST, False, lambda x: x),
        (np.int32, np.int32, None, False, lambda x: x),
    ],
)
def test_copy(dtype, out_dtype, config, to_dest, want):
    x = normal(SHAPE) * 100
    x = x.astype(dtype)
    out, report = stream([x], out_dtype, COPY, config=config, to_dest=to_dest)
    assert (out == want(x).astype(out_dtype)).all()
    assert report.tiles.packs == report.tiles.unpacks == 4


def test_packing_rounds_half_away_from_zero():
    ties = (1 + (2 * np.arange(1024) + 1) / 256).astype(np.float32) * np.where(np.arange(1024) % 2, 1, -1)
    x = np.ascontiguousarray(ties.astype(np.float32).reshape(32, 32))
    x[1, :4] = [1e-39, np.inf, -np.inf, np.nan]
    out, _ = stream([x], BF16, COPY, to_dest=True)
    want = pack_bf16(x)
    want[1, :4] = [0, np.inf, -np.inf, np.inf]
    assert (out == want).all()
    assert (out.astype(np.float32)[0] != x.astype(BF16).astype(np.float32)[0]).any()  # nearest even would differ


STARTUP2 = "compute_kernel_hw_startup(0, 1, 16);"


@pytest.mark.parametrize("op", ["add", "sub", "mul"])
@pytest.mark.parametrize("config", [None, FP16_DEST])
def test_matrix_engine_eltwise(op, config):
    a, b = normal(SHAPE, BF16), normal(SHAPE, BF16)
    out, report = stream(
        [a, b], BF16, compute(STARTUP2, f"{op}_tiles(0, 1, 0, 0, 0);", 2, f"{op}_init(0, 1);"), config=config
    )
    exact = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op](a.astype(np.float64), b.astype(np.float64))
    error = np.abs(out.astype(np.float64) - exact) / np.maximum(
        np.abs(a.astype(np.float64)) + np.abs(b.astype(np.float64)), np.abs(exact)
    )
    # Where DST is 16-bit a product rounds to half a unit of 8 bits in each of four fidelity phases and when packed.
    assert error.max() < (5 * 2**-9 if op == "mul" and config else 2**-8 + 2**-11)
    assert report.tiles.eltwise == 4


def test_sums_of_the_matrix_engine_keep_12_bits():
    a = np.full(SHAPE, 1.0, np.float32)
    b = np.full(SHAPE, 2**-11 + 2**-13, np.float32)
    out, _ = stream([a, b], np.float32, compute(STARTUP2, "add_tiles(0, 1, 0, 0, 0);", 2, "add_init(0, 1);"))
    assert (out == 1 + 2**-10).all()  # the smaller operand is rounded to the larger one's last bit


@pytest.mark.parametrize(
    ("kind", "source_index"), [("rows", np.s_[:1, :]), ("cols", np.s_[:, :1]), ("scalar", np.s_[:1, :1])]
)
def test_broadcast(kind, source_index):
    a, b = normal((32, 32), BF16), normal((32, 32), BF16)
    body = f"mul_tiles_bcast_{kind}(0, 1, 0, 0, 0);"
    out, _ = stream([a, b], np.float32, compute(STARTUP2, body, 2, f"mul_bcast_{kind}_init(0, 1);"))
    assert (out == a.astype(np.float32) * b[source_index].astype(np.float32)).all()


def test_unary_broadcast_and_transpose():
    x = normal((32, 32), BF16)
    body = "unary_bcast<BroadcastType::COL>(0, 0, 0);"
    out, _ = stream(
        [x],
        BF16,
        compute("compute_kernel_hw_startup(0, 16);", body, once="unary_bcast_init<BroadcastType::COL>(0);"),
        config=FP16_DEST,
    )
    assert (out == x[:, :1]).all()
    out, _ = stream(
        [x], BF16, compute("compute_kernel_hw_startup(0, 16);", "transpose_tile(0, 0, 0);", once="transpose_init(0);")
    )
    assert (out == x.T).all()


def test_dst_as_an_operand_is_cut():
    a, b = normal((32, 32), BF16), normal((32, 32), BF16)
    body = """reconfig_data_format(0, 1); mul_init(0, 1); mul_tiles(0, 1, 0, 0, 0);
        sub_reuse_dest_init<EltwiseBinaryReuseDestType::DEST_TO_SRCA>(1);
        sub_reuse_dest_tiles<EltwiseBinaryReuseDestType::DEST_TO_SRCA>(1, 0, 0);"""
    out, _ = stream([a, b], np.float32, compute(STARTUP2, body, 2))
    product = cut_bf16(a.astype(np.float32) * b.astype(np.float32))
    want = product.astype(np.float64) - b.astype(np.float64)
    assert np.abs(out - want).max() < 2**-9


@pytest.mark.parametrize(
    ("pool", "dim", "want"),
    [
        ("SUM", "REDUCE_ROW", lambda x: x.sum(1, keepdims=True)),
        ("SUM", "REDUCE_COL", lambda x: x.sum(0, keepdims=True)),
        ("MAX", "REDUCE_ROW", lambda x: x.max(1, keepdims=True)),
        ("MAX", "REDUCE_SCALAR", lambda x: x.max(keepdims=True)),
    ],
)
def test_reduce(pool, dim, want):
    x, ones = normal((32, 32), BF16) - bf16(np.full((32, 32), 5)), np.ones((32, 32), BF16)
    once = f"reduce_init<{pool}, {dim}>(0, 1, 16);"
    out, _ = stream([x, ones], np.float32, compute(STARTUP2, f"reduce_tile<{pool}, {dim}>(0, 1, 0, 0, 0);", 2, once))
    reduced = want(x.astype(np.float64))
    kept = out[: reduced.shape[0], : reduced.shape[1]]
    np.testing.assert_allclose(kept, reduced, rtol=1e-5)
    assert np.count_nonzero(out) == reduced.size  # the packer leaves zeros elsewhere


erf = np.vectorize(math.erf)
SFPU = {
    "relu_tile_init(); relu_tile(0);": lambda x: np.maximum(x, 0),
    "exp_tile_init(); exp_tile(0);": np.exp,
    "abs_tile_init(); abs_tile(0); sqrt_tile_init(); sqrt_tile(0);": lambda x: np.sqrt(np.abs(x)),
    "recip_tile_init(); recip_tile(0);": lambda x: 1 / x,
    "tanh_tile_init(); tanh_tile(0); square_tile_init(); square_tile(0);": lambda x: np.tanh(x) ** 2,
    "sigmoid_tile_init(); sigmoid_tile(0);": lambda x: 1 / (1 + np.exp(-x)),
    "silu_tile_init(); silu_tile(0); negative_tile_init(); negative_tile(0);": lambda x: -x / (1 + np.exp(-x)),
    "gelu_tile_init<false>(); gelu_tile<false>(0);": lambda x: 0.5 * x * (1 + erf(x / 2**0.5)),
    "binop_with_scalar_tile_init(); mul_unary_tile(0, 0x40400000u); rsub_unary_tile(0, 0x3f800000u);": lambda x: (
        1 - 3 * x
    ),
    "unary_max_tile_init(); unary_max_tile(0, 0x3f000000u);": lambda x: np.maximum(x, 0.5),
    "fill_tile_init(); fill_tile(1, 2.0f); add_binary_tile_init(); add_binary_tile(0, 1, 0);": lambda x: x + 2,
    "fill_tile_init(); fill_tile(1, 2.0f); div_binary_tile_init(); div_binary_tile(1, 0, 0);": lambda x: 2 / x,
    "fill_tile_init(); fill_tile(1, 0.5f); binary_min_tile_init(); binary_min_tile(0, 1, 0);": lambda x: np.minimum(
        x, 0.5
    ),
    "fill_tile_init(); fill_tile(1, 3.0f); fill_tile(2, 4.0f); gtz_tile_init(); gtz_tile(0); where_tile_init();"
    " where_tile<DataFormat::Float32>(0, 1, 2, 0);": lambda x: np.where(x > 0, 3, 4),
}


def test_vector_engine():
    # All in one kernel: page i of the output gets operation i.
    x = normal((32, 32 * len(SFPU)))
    cases = "".join(f"case {i}: {{ {call} break; }}\n" for i, call in enumerate(SFPU))
    body = f"copy_tile(0, 0, 0);\n switch (i) {{\n{cases} }}"
    out, report = stream(
        [x], np.float32, compute("compute_kernel_hw_startup(0, 16);", body, once="copy_init(0);"), to_dest=True
    )
    for i, want in enumerate(SFPU.values()):
        page = np.s_[:, 32 * i : 32 * i + 32]
        np.testing.assert_allclose(out[page], want(x[page].astype(np.float64)), rtol=2e-6, atol=1e-7)
    assert report.tiles.sfpu > len(SFPU)


def test_vector_engine_rounds_into_a_16_bit_dst():
    x = normal((32, 32), BF16)
    start = "compute_kernel_hw_startup(0, 16);"
    body = "copy_tile(0, 0, 0); binop_with_scalar_tile_init(); mul_unary_tile(0, 0x40400000u);"
    out, _ = stream([x], BF16, compute(start, body, once="copy_init(0);"), config=FP16_DEST)
    assert (out == cut_bf16(3 * x.astype(np.float32)).astype(BF16)).all()  # scalar operations cut
    body = "copy_tile(0, 0, 0); exp_tile_init(); exp_tile(0);"
    out, _ = stream([x], BF16, compute(start, body, once="copy_init(0);"), config=FP16_DEST)
    assert (out == np.exp(x.astype(np.float32)).astype(BF16)).mean() > 0.99


def test_typecast():
    x = normal(SHAPE) * 100
    body = "copy_tile(0, 0, 0); typecast_tile_init(); typecast_tile<0, 8>(0);"
    out, _ = stream(
        [x], np.int32, compute("compute_kernel_hw_startup(0, 16);", body, once="copy_init(0);"), to_dest=True
    )
    assert (out == x.astype(np.int32)).all()


# --- placement and counts ---


def test_shapes_that_are_not_whole_tiles():
    x = normal((3, 40, 50), BF16)
    spec, sources = stream_program([tensor("x", x.shape, BF16, "in")], tensor("y", x.shape, BF16, "out"), COPY)
    spec = msgspec.structs.replace(spec, partition=partition([(2, 3)], [(0, 12)]))
    out = np.zeros_like(x)
    emulator.run(spec, sources, [x, out])
    assert (out == x).all()


def test_sharded_tensors():
    # 4 x 4 pages in a 2 x 2 grid of shards; core i copies shard i's pages of the input to the other end of the output.
    shard = ShardSpec((2, 2), (2, 2), ((0, 0), (1, 0), (0, 1), (1, 1)))
    shape = (128, 128)
    spec, sources = stream_program(
        [tensor("x", shape, BF16, "in", shard, "L1")], tensor("y", shape, BF16, "out", shard, "L1"), COPY, cores=4
    )
    x, y = normal(shape, BF16), np.zeros(shape, BF16)
    report = emulator.run(spec, sources, [x, y])
    assert (x == y).all()
    # A core's row of four pages lies on two cores: for core 0 in part on itself.
    assert report.noc.dram_read == report.noc.dram_written == 0
    assert report.noc.total == 2 * x.nbytes
    assert report.cores[0].noc.l1_local == report.cores[0].noc.l1_remote_read + report.cores[0].noc.l1_remote_written
    # Cores (2, 0) and (3, 0) work, but hold no shards.
    assert report.cores[0].l1_peak - report.cores[2].l1_peak == 2 * 4 * 2048


def test_uneven_shards():
    shard = ShardSpec((2, 2), (2, 2), ((0, 0), (1, 0), (0, 1), (1, 1)))
    shape = (96, 96)  # 3 x 3 pages: the last shards hold one row or column
    spec, sources = stream_program(
        [tensor("x", shape, BF16, "in", shard, "L1")], tensor("y", shape, BF16, "out", shard, "L1"), COPY, cores=3
    )
    x, y = normal(shape, BF16), np.zeros(shape, BF16)
    emulator.run(spec, sources, [x, y])
    assert (x == y).all()


def test_interleaved_in_l1():
    shape = (32, 32 * 70)  # more pages than cores
    spec, sources = stream_program(
        [tensor("x", shape, BF16, "in", memory="L1")], tensor("y", shape, BF16, "out", memory="L1"), COPY, cores=3
    )
    x, y = normal(shape, BF16), np.zeros(shape, BF16)
    report = emulator.run(spec, sources, [x, y])
    assert (x == y).all()
    # Page i is on core i modulo 64, so core 0, which has the first 24 pages, finds one of them on itself.
    assert report.cores[0].noc.l1_local == 2 * 2048
    assert report.noc.dram_read == 0


def test_buffers_on_shards_make_no_transfer():
    shard = ShardSpec((1, 2), (1, 2), ((0, 0), (1, 0)))
    shape = (32, 128)
    header = '#include "api/dataflow/dataflow_api.h"\n'
    in_place = {
        "reader": header + "void kernel_main() { cb_reserve_back(0, 2); cb_push_back(0, 2); }\n",
        "writer": header + "void kernel_main() { cb_wait_front(16, 2); }\n",
    }
    source = (
        COMPUTE_HEADERS
        + """void kernel_main() {
    compute_kernel_hw_startup(0, 16);
    copy_init(0);
    cb_wait_front(0, 2);
    cb_reserve_back(16, 2);
    tile_regs_acquire();
    for (uint32_t i = 0; i < 2; ++i) copy_tile(0, i, i);
    relu_tile_init();
    for (uint32_t i = 0; i < 2; ++i) relu_tile(i);
    tile_regs_commit();
    tile_regs_wait();
    for (uint32_t i = 0; i < 2; ++i) pack_tile<true>(i, 16, i);
    tile_regs_release();
    cb_push_back(16, 2);
}
"""
    )
    spec, sources = stream_program(
        [tensor("x", shape, BF16, "in", shard, "L1")],
        tensor("y", shape, BF16, "out", shard, "L1"),
        source,
        cores=2,
        replace=in_place,
    )
    cbs = tuple(msgspec.structs.replace(cb, tensor={"in0": "x", "out": "y"}[cb.name]) for cb in spec.circular_buffers)
    spec = msgspec.structs.replace(spec, circular_buffers=cbs)
    x, y = normal(shape, BF16), np.zeros(shape, BF16)
    report = emulator.run(spec, sources, [x, y])
    assert (y == np.maximum(x, bf16(0))).all()
    assert report.noc.total == 0
    assert report.tensor_read == report.tensor_written == {"x": 0, "y": 0}
    assert report.unwritten_pages == {"y": 0}


def test_banks_and_hops():
    # One page from bank 0 to core (0, 0) and back: the routes of NoC 0 (east, south) and NoC 1 (north, west).
    spec, sources = stream_program([tensor("x", (32, 32), BF16, "in")], tensor("y", (32, 32), BF16, "out"), COPY)
    report = emulator.run(spec, sources, [normal((32, 32), BF16), np.zeros((32, 32), BF16)])
    noc = spec.device.noc
    assert noc is not None
    (bank_x, bank_y), (core_x, core_y), (columns, rows) = (
        noc.dram_banks[0],
        (noc.worker_columns[0], noc.worker_rows[0]),
        noc.torus,
    )
    # To the core on NoC 0; from the core on NoC 1, whose directions are the opposite ones.
    hops = (core_x - bank_x) % columns + (core_y - bank_y) % rows
    assert report.noc_byte_hops == (2048 * hops, 2048 * hops)
    assert report.dram_bank_read == (2048, *[0] * (spec.device.dram_banks - 1))
    without = msgspec.structs.replace(spec, device=msgspec.structs.replace(spec.device, noc=None))
    report = emulator.run(without, sources, [normal((32, 32), BF16), np.zeros((32, 32), BF16)])
    assert report.noc_byte_hops is None


def test_reader_by_noc_addresses():
    # Kernels may compute NoC addresses and read parts of pages.
    read = reader(1).replace(
        "noc_async_read_page(page, in0, get_write_ptr(0));",
        "for (uint32_t part = 0; part < 2; ++part)"
        " noc_async_read(get_noc_addr(page, in0, part * 1024), get_write_ptr(0) + part * 1024, 1024);",
    )
    x = normal(SHAPE, BF16)
    out, report = stream([x], BF16, COPY, replace={"reader": read})
    assert (out == x).all()
    assert report.noc.dram_read == x.nbytes


def test_blackhole_runs_on_all_its_cores():
    device = load_device("blackhole_p150")
    cores = len(device.cores)
    shape = (32, 32 * cores)
    spec, sources = stream_program(
        [tensor("x", shape, BF16, "in")], tensor("y", shape, BF16, "out"), COPY, cores=cores, device=device
    )
    x, y = normal(shape, BF16), np.zeros(shape, BF16)
    report = emulator.run(spec, sources, [x, y])
    assert (x == y).all()
    assert len(report.cores) == cores
    assert [core.core for core in report.cores] == list(device.cores)
