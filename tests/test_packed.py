"""Blocks that begin at any element of a tensor, against torch on the emulator: packed sequences and groups of rows."""

import packed_kernels
import pytest
import tilelang
import tilelang.language as T
import torch
from constructs import TOLERANCE, assert_close, refused, supported

import tilelang_tt as tt
from tilelang_tt.errors import Code, ProgramError, UnsupportedError
from tilelang_tt.layout import block_sharded


def run(func, inputs, expected, tolerance=None, **options):
    program = tt.compile(func, **options)
    specs = program.spec.tensors[len(inputs) :]
    found = [torch.full(spec.host_shape, packed_kernels.BEFORE, dtype=getattr(torch, spec.dtype)) for spec in specs]
    _, report = program.run(*inputs, *found, report=True)
    for result, wanted in zip(found, expected, strict=True):
        assert_close(result, wanted, tolerance)
        # What no block covers is as it was, to the bit.
        kept = wanted == packed_kernels.BEFORE
        assert (result[kept] == packed_kernels.BEFORE).all()
    return report


@supported("Packed tensors", "groups of rows at offsets and of sizes that int32 tensors hold: grouped GEMM")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_groups_of_rows(dtype):
    run(*packed_kernels.grouped_gemm(dtype=dtype))


@pytest.mark.parametrize("sizes", [(0, 3, 0), (31, 1, 32, 200)])
def test_groups_of_other_sizes(sizes):
    run(*packed_kernels.grouped_gemm(sizes, first=0, K=32, N=32))


@supported("Packed tensors", "blocks that begin at any row, also in front of a tensor's first and past its last")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_blocks_at_any_row(dtype):
    # Sums of float32 are cut: their error is relative to the largest, which is small for some inputs.
    torch.manual_seed(0)
    run(*packed_kernels.blocks_at_any_row(dtype=dtype))


@supported("Packed tensors", "vectors, and parts of rows, that begin at any element")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_vectors_at_any_place(dtype):
    run(*packed_kernels.vectors_at_any_place(dtype=dtype))


@supported("Packed tensors", "blocks that begin at any row and column; conditions on indices where they are stored")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_columns_at_any_place(dtype):
    run(*packed_kernels.columns_at_any_place(dtype=dtype))


def test_a_block_that_begins_with_a_tile_costs_what_it_always_does():
    at_tiles, between = (run(*packed_kernels.grouped_gemm((64, 64), first=first, K=64, N=32)).noc for first in (0, 1))
    # Per step a block of 2 x 1 tiles of A, a tile of B; per block a page each of Starts and Sizes.
    assert (at_tiles.dram_read, at_tiles.l1_local) == (2 * (2 * 3 * 2048 + 2 * 4096), 0)
    assert (between.dram_read, between.l1_local) == (at_tiles.dram_read + 2 * 2 * 2048, 2 * 2 * 2 * 2048)


def test_multicast_blocks_are_moved_by_their_sender():
    @T.prim_func
    def kernel(
        A: T.Tensor((256, 64), "bfloat16"), B: T.Tensor((64, 256), "bfloat16"), C: T.Tensor((256, 256), "bfloat16")
    ):
        with T.Kernel(4, 4, threads=128) as (bx, by):
            a = T.alloc_shared((64, 64), "bfloat16")
            b = T.alloc_shared((64, 64), "bfloat16")
            c = T.alloc_fragment((64, 64), "float32")
            T.clear(c)
            T.copy(A[by * 64 + 3 : by * 64 + 67, 0:64], a)
            T.copy(B[0, bx * 64], b)
            T.gemm(a, b, c)
            T.copy(c, C[by * 64, bx * 64])

    a, b = packed_kernels.random(256, 64), packed_kernels.random(64, 256)
    shifted = torch.cat([a[3:], torch.zeros(3, 64)])
    schedule = {"policy": "block_2d(4,4)", "multicast": ["A", "B"]}
    report = run(kernel, [a, b], [shifted.double() @ b.double()], schedule=schedule)
    # Three rows of tiles of A for every row of cores, the last of which has two inside.
    assert report.tensor_read["A"] == (4 * 3 - 1) * 2 * 2048


def test_shards_that_are_read_between_tiles_are_read_over_the_network():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), "float32"), C: T.Tensor((128, 64), "float32")):
        with T.Kernel(1, 2, threads=128) as (_bx, by):
            a = T.alloc_shared((64, 64), "float32")
            T.copy(A[by * 64 + 7 : by * 64 + 71, 0:64], a)
            for i, j in T.Parallel(64, 64):
                a[i, j] = a[i, j] * 2
            T.copy(a, C[by * 64, 0])

    a = packed_kernels.random(128, 64, dtype="float32")
    layout = {"A": block_sharded((128, 64), (2, 1))}
    run(kernel, [a], [2 * torch.cat([a[7:], torch.zeros(7, 64)]).double()], TOLERANCE["float32"], layout=layout)


def test_shards_are_not_written_between_tiles():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), "float32"), C: T.Tensor((128, 64), "float32")):
        with T.Kernel(1, 2, threads=128) as (_bx, by):
            a = T.alloc_shared((64, 64), "float32")
            T.copy(A[by * 64, 0], a)
            T.copy(a, C[by * 64 + 7 : by * 64 + 71, 0:64])

    with pytest.raises(UnsupportedError, match="a block of C is not made of hardware tiles") as error:
        tt.compile(kernel, layout={"C": block_sharded((128, 64), (2, 1))})
    assert error.value.location is not None


@refused(
    "Packed tensors",
    "stores between hardware tiles under conditions that are no rectangle of elements",
    "C is stored under a condition, in blocks that are not made of hardware tiles",
)
def test_stored_under_a_diagonal():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float32"), Starts: T.Tensor((2,), "int32"), C: T.Tensor((96, 64), "float32")):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((32, 64), "float32")
            T.copy(A[bx * 32, 0], a)
            for i, j in T.Parallel(32, 64):
                if i < j:
                    C[Starts[bx] + i, j] = a[i, j]

    return kernel


@supported("Sizes known at launch", "parameters that are numbers, in the launch grid: `T.ceildiv(longest, 64)`")
def test_a_number_in_the_launch_grid():
    program = tt.compile(packed_kernels.attention(), schedule={"dynamic": {"longest": 130}})
    places = (((1, 71, 80, 193), (0, 75, 84, 200)), ((0, 5, 9, 12), (0, 5, 9, 12)))
    for at in places:
        inputs, expected = packed_kernels.attention_call(*at)
        found = torch.full(expected.shape, packed_kernels.BEFORE, dtype=torch.bfloat16)
        program(*inputs, found)
        assert_close(found, expected, 2**-7)
    found = torch.full(expected.shape, packed_kernels.BEFORE, dtype=torch.bfloat16)
    program(*inputs[:-1], 0, found)
    assert (found == packed_kernels.BEFORE).all()


def test_a_number_in_the_launch_grid_by_way_of_tilelang():
    kernel = tilelang.compile(packed_kernels.attention(), target="tenstorrent")
    inputs, expected = packed_kernels.attention_call((0, 5, 40, 110), (0, 5, 40, 110))
    found = torch.full(expected.shape, packed_kernels.BEFORE, dtype=torch.bfloat16)
    kernel(*inputs, found)
    assert_close(found, expected, 2**-7)


def test_what_is_no_number_does_not_decide_a_launch(tmp_path):
    saved = tt.runtime.load(tt.compile(packed_kernels.attention()).save(tmp_path / "saved"))
    inputs, expected = packed_kernels.attention_call((0, 5, 9, 12), (0, 5, 9, 12))
    found = torch.full(expected.shape, packed_kernels.BEFORE, dtype=torch.bfloat16)
    with pytest.raises(ProgramError, match="argument 'longest' is no integer") as error:
        saved(*inputs[:-1], 5.5, found)
    assert error.value.code is Code.ARGUMENT_DTYPE
    saved(*inputs[:-1], torch.tensor([64], dtype=torch.int32), found)
    assert_close(found, expected, 2**-7)


@supported("Tensors", "parameters that are numbers, as bounds of loops and in indices")
def test_numbers_as_bounds_and_indices():
    @T.prim_func
    def kernel(A: T.Tensor((100, 64), "float32"), n: T.int32, start: T.int32, C: T.Tensor((64, 64), "float32")):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_shared((32, 64), "float32")
            T.copy(A[start + bx * 32 : start + bx * 32 + 32, 0:64], a)
            for _ in T.serial(n):
                for i, j in T.Parallel(32, 64):
                    a[i, j] = a[i, j] + 1
            T.copy(a, C[bx * 32, 0])

    program, a = tt.compile(kernel), packed_kernels.random(100, 64, dtype="float32")
    wide = torch.cat([torch.zeros(20, 64), a, torch.zeros(100, 64)])
    for n, start in ((0, 0), (3, 17), (2, -5), (1, 90)):
        found = torch.zeros(64, 64)
        program(a, n, start, found)
        assert_close(found, wide[20 + start : 84 + start] + n)
