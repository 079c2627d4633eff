"""How many tiles move between L1 and the engines: what is fused stays in DST, by the emulator's counts."""

import importlib
import sys
from pathlib import Path

import kernels
import ml_dtypes
import numpy as np
import pytest
import tilelang.language as T

import tilelang_tt as tt
from tilelang_tt.runtime.report import TileOps

sys.path.append(str(Path(__file__).parents[1] / "examples" / "gallery"))
attention, norms, softmax = map(importlib.import_module, ("attention", "norms", "softmax"))

BF16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = {"bfloat16": BF16, "float32": np.dtype(np.float32)}
F32 = "float32"


def counts(func) -> TileOps:
    """The tile operations of a run on one core."""
    program = tt.compile(func, schedule={"num_cores": 1})
    rng = np.random.default_rng(0)
    arrays = [
        (rng.standard_normal(spec.shape) * (spec.direction == "in")).astype(DTYPES[spec.dtype])
        for spec in program.spec.tensors
    ]
    _, report = program.run(*arrays, report=True)
    return report.tiles


@T.macro
def step(c):
    for i, j in T.Parallel(64, 64):
        c[i, j] = T.exp(c[i, j] * T.float32(-0.5))


def chain(length):
    @T.prim_func
    def main(
        A: T.Tensor((128, 128), "bfloat16"),
        B: T.Tensor((128, 128), "bfloat16"),
        C: T.Tensor((128, 128), "bfloat16"),
    ):
        with T.Kernel(2, 2, threads=128) as (bx, by):
            a = T.alloc_shared((64, 64), "bfloat16")
            b = T.alloc_shared((64, 64), "bfloat16")
            c = T.alloc_fragment((64, 64), "float32")
            T.copy(A[by * 64, bx * 64], a)
            T.copy(B[by * 64, bx * 64], b)
            for i, j in T.Parallel(64, 64):
                c[i, j] = T.cast(a[i, j], "float32") + T.cast(b[i, j], "float32")
            if length >= 1:
                step(c)
            if length >= 2:
                step(c)
            if length >= 3:
                step(c)
            T.copy(c, C[by * 64, bx * 64])

    return main


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_chain_unpacks_its_operands_and_packs_its_result_once(length):
    tiles = counts(chain(length))
    assert (tiles.unpacks, tiles.packs) == (2 * 16, 16)
    # Every link is a scaling and an exponential, in DST.
    assert tiles.sfpu == 2 * length * 16


@pytest.mark.parametrize("k", [32, 128, 256])
def test_an_accumulator_that_fits_dst_packs_only_the_output(k):
    tiles = counts(kernels.gemm.get_tir(128, 128, k, 64, 64, 32))
    assert (tiles.products, tiles.packs) == (16 * k // 32, 16)


@pytest.mark.parametrize("outside", [False, True])
def test_an_accumulator_of_products_of_parts_stays_in_dst(outside):
    """Slices of a buffer are read where they lie, whether it is loaded in the loop or before it."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 256), "bfloat16"), B: T.Tensor((256, 64), "bfloat16"), C: T.Tensor((64, 64), F32)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 256), "bfloat16")
            b = T.alloc_shared((64, 64), "bfloat16")
            acc = T.alloc_fragment((64, 64), F32)
            T.clear(acc)
            if outside:
                T.copy(A, a)
            for k in T.serial(4):
                if not outside:
                    T.copy(A, a)
                T.copy(B[k * 64, 0], b)
                T.gemm(a[:, k * 64 : k * 64 + 64], b, acc)
            T.copy(acc, C)

    tiles = counts(kernel)
    assert (tiles.products, tiles.packs) == (32, 4)


@pytest.mark.parametrize("k", [128, 256])
def test_an_accumulator_too_large_for_dst_is_summed_by_the_packer(k):
    """16 tiles do not fit: the packer adds each step's products to float32 tiles in L1. They are never unpacked but
    once, at the end, when they are rounded to bfloat16 and packed again."""
    tiles = counts(kernels.gemm.get_tir(128, 128, k, 128, 128, 32))
    assert tiles.packs == 16 * (k // 32) + 16
    per_step = (tiles.unpacks - 16) / (k // 32)
    assert per_step == 24


def test_an_epilogue_packs_only_the_output():
    """Bias and relu happen in DST on the finished sums; the bias is added as the product with a tile of ones, which
    each core packs once."""
    tiles = counts(kernels.gemm_bias.get_tir(128, 128, 128, 64, 64, 32))
    assert (tiles.products, tiles.packs) == (64 + 16, 16 + 1)
    assert tiles.eltwise == 0


@pytest.mark.parametrize("columns", [4, 8])
def test_softmax_over_rows(columns):
    """Of each tile: the exponential is packed, as two things read it, and the result; of each row of tiles three
    vectors. Each core packs one tile of ones to sum with."""
    tiles = counts(softmax.softmax.get_tir(64, 32 * columns, 32))
    assert tiles.packs == 2 * (2 * columns + 3) + 1
    # Read for the largest and for the sum (each with its scale), for the exponential, and for the quotient (each
    # with a vector), and two vectors by themselves.
    assert tiles.unpacks == 2 * (8 * columns + 2)


def test_the_inner_loop_of_flash_attention():
    """Work is a q-blocks' part and an iteration's part: n blocks have n of one and n * n of the other. An iteration
    on blocks of 2 x 2 tiles has two GEMMs, 8 products each, and sums and spreads vectors by 6 more.

    It packs what is read twice, or by another way than tile by tile: the scores (4), the first columns of their maxima
    (2), the new maxima (2), the scale (2) and the probabilities (4); and what the next iteration starts from: the sums
    (2) and the output (4). The new maxima are not packed again for the next iteration, the probabilities not for the
    second product, and no product on its way into a sum."""
    found = [counts(attention.flash_attention.get_tir(1, 1, 1, 64 * n, 64, False, 64, 64)) for n in (1, 2, 3)]
    assert [tiles.products for tiles in found] == [22 * n * n for n in (1, 2, 3)]
    assert [tiles.packs for tiles in found] == [20 * n * n + 12 * n + 1 for n in (1, 2, 3)]
    # Scores 12, maxima 8, spread 3 and met with the old 2; scale 4; probabilities 8; sums 6 and 4; output 12 and 8.
    assert [tiles.unpacks for tiles in found] == [67 * n * n + 8 * n for n in (1, 2, 3)]


@pytest.mark.parametrize("n", [1, 2])
def test_a_mask_and_its_product_are_one_pass(n):
    """Causal attention: the scores are packed once, the mask added to them in DST."""
    packs = counts(attention.flash_attention.get_tir(1, 1, 1, 64 * n, 64, True, 64, 64)).packs
    iterations = n * (n + 1) // 2
    assert packs == 20 * iterations + 12 * n + 1


@pytest.mark.parametrize("columns", [4, 8])
def test_norms_pack_what_they_sum_and_a_vector_for_each_sum(columns):
    """RMSNorm: of each tile its square and the result; of each row of tiles the scale. LayerNorm also the differences
    from the mean, which are squared and scaled, and the mean. The sums themselves never leave DST."""
    shape = (64, 32 * columns, 32)
    assert counts(norms.rms_norm.get_tir(*shape)).packs == 2 * (2 * columns + 1) + 1
    assert counts(norms.layer_norm.get_tir(*shape)).packs == 2 * (3 * columns + 2) + 1


def test_softmax_in_blocks_of_columns():
    """An iteration packs, of a row of tiles, the exponentials of two and three vectors: the first column of the maxima,
    the new maxima, which the next iteration takes where they are, and the new sum."""
    tiles = counts(softmax.online_softmax.get_tir(64, 256, 32, 64))
    assert tiles.packs == 2 * (2 + 4 * 5 + 8) + 1


def test_linear_attention():
    """Of each chunk: its keys, transposed for the matrix engine, what they add to the state, and the result. Of the
    state: its copy in bfloat16."""
    assert counts(attention.linear_attention.get_tir(1, 128, 64, 64)).packs == 2 * (4 + 4) + 4 + 2 * 4


def test_chunked_linear_attention():
    """Of each chunk: its masked scores, the copy of the state in bfloat16, the result, of two products at once, the
    transposed keys, and the new state. One state is packed to start from."""
    tiles = counts(attention.chunked_linear_attention.get_tir(1, 128, 64, 64))
    assert tiles.packs == 4 + 2 * (4 + 4 + 4 + 4 + 4)


@pytest.mark.parametrize("tail", ["none", "add", "chain"])
def test_a_product_is_finished_in_dst(tail):
    """One product by itself, of blocks larger than DST: 16 tiles are packed once, whatever becomes of them."""

    @T.prim_func
    def kernel(A: T.Tensor((128, 128), "bfloat16"), B: T.Tensor((128, 128), "bfloat16"), C: T.Tensor((128, 128), F32)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((128, 128), "bfloat16")
            b = T.alloc_shared((128, 128), "bfloat16")
            c = T.alloc_fragment((128, 128), F32)
            T.copy(A, a)
            T.copy(B, b)
            T.gemm(a, b, c, clear_accum=True)
            if tail == "add":
                for i, j in T.Parallel(128, 128):
                    c[i, j] += a[i, j]
            if tail == "chain":
                for i, j in T.Parallel(128, 128):
                    c[i, j] = T.exp(c[i, j] * 0.01) * a[i, j] + b[i, j]
            T.copy(c, C)

    tiles = counts(kernel)
    assert (tiles.products, tiles.packs) == (64, 16)


def test_products_that_are_read_twice_are_packed_once():
    """What two statements read is not computed twice."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "bfloat16"), C: T.Tensor((64, 64), F32), D: T.Tensor((64, 64), F32)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), "bfloat16")
            c = T.alloc_fragment((64, 64), F32)
            d = T.alloc_fragment((64, 64), F32)
            T.copy(A, a)
            T.gemm(a, a, c, clear_accum=True)
            for i, j in T.Parallel(64, 64):
                d[i, j] = c[i, j] + 1
            T.copy(d, D)
            T.copy(c, C)

    tiles = counts(kernel)
    assert (tiles.products, tiles.packs) == (8, 4 + 4 + 4)


def test_a_report_reads_as_totals_the_busiest_core_and_tensors():
    program = tt.compile(kernels.gemm.get_tir(96, 64, 64, 32, 64, 32), schedule={"num_cores": 2}, out_idx=-1)
    _, report = program.run(np.ones((96, 64), BF16), np.ones((64, 64), BF16), report=True)
    cores, noc, busiest, a, b, c = str(report).splitlines()
    assert cores.startswith("2 cores: 12 products, ")
    assert cores.endswith(" unpacks, 6 packs")
    # B's four tiles come again for every one of three blocks.
    assert noc == f"NoC bytes: {(6 + 3 * 4) * 2048} dram read, {6 * 2048} dram written"
    assert busiest.startswith("busiest core (0, 0): 8 products, ")
    assert busiest.endswith(f", L1 peak {report.cores[0].l1_peak} bytes")
    assert a == f"A: {6 * 2048} bytes read, 0 written"
    assert b == f"B: {3 * 4 * 2048} bytes read, 0 written"
    assert c == f"C: 0 bytes read, {6 * 2048} written"
