"""Layouts: the user's dictionaries, what is refused, where shards lie, and how they meet the work plane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from partition_support import device_with, devices, oracle_shard_cores, rectangle, refused

from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, LayoutError, PartitionError, SourceLocation
from tilelang_tt.layout import (
    BufferLayout,
    NdShard,
    block_sharded,
    height_sharded,
    interleaved,
    parse_user_layout,
    place_shards,
    project,
    width_sharded,
)

N150 = load_device("wormhole_n150")


def parse(raw, shape=(256, 256), dtype="bfloat16", **options):
    return parse_user_layout("C", raw, shape, dtype, **options)


def sharded(**changes):
    """A sound layout for a 256 x 256 tensor, with parts of its nd_shard changed or (None) left out."""
    nd_shard = {"axes": ["M", "N"], "grid": [4, 2], "shard_shape_elems": [64, 128], **changes}
    return {"memory": "L1", "layout": "sharded", "nd_shard": {k: v for k, v in nd_shard.items() if v is not None}}


class TestParse:
    def test_what_is_left_out_is_dram_interleaved_32x32_in_the_tensors_dtype(self):
        assert parse({}) == BufferLayout("bfloat16", "DRAM", "interleaved", (32, 32), None)

    def test_a_full_layout(self):
        raw = {**sharded(order="col_major", core_ranges=[[0, 0, 7, 0]]), "tile_shape": [32, 32], "dtype": "bfloat16"}
        assert parse(raw) == BufferLayout(
            "bfloat16",
            "L1",
            "sharded",
            (32, 32),
            NdShard(("M", "N"), (4, 2), (64, 128), "col_major", "row_major", ((0, 0, 7, 0),)),
        )

    @pytest.mark.parametrize("raw", [{}, interleaved("L1"), sharded(), sharded(core_ranges=[[0, 0, 7, 0]])])
    def test_the_dictionary_form_parses_back_to_the_same_layout(self, raw):
        layout = parse(raw)
        assert parse(layout.to_dict()) == layout

    @pytest.mark.parametrize("stored", ["bfloat16", "float32", "bfloat8_b", "bfloat4_b"])
    def test_floats_may_be_stored_as_other_floats(self, stored):
        for dtype in ("bfloat16", "float16", "float32"):
            assert parse({"dtype": stored}, dtype=dtype).dtype == stored

    @pytest.mark.parametrize(("short", "long"), [("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32")])
    def test_a_dtype_may_be_given_by_its_short_name(self, short, long):
        assert parse({"dtype": short}, dtype=long).dtype == long

    def test_an_uneven_last_shard_reaches_past_the_end(self):
        assert parse(sharded(grid=[3, 2], shard_shape_elems=[96, 128])).nd_shard is not None

    def test_dram_shards_need_not_be_aligned(self):
        raw = {**sharded(grid=[3, 2], shard_shape_elems=[100, 128]), "memory": "DRAM"}
        assert parse(raw).memory == "DRAM"

    def test_an_error_says_where_in_the_source(self):
        with refused(Code.UNKNOWN_KEY, "at: gemm.py:12"):
            parse({"memry": "L1"}, location=SourceLocation("gemm.py", 12))


BAD = [
    # what, raw, code, texts
    ("not a dictionary", ["L1"], Code.BAD_VALUE, ["'C'", "dictionary"]),
    ("unknown key", {"memry": "L1"}, Code.UNKNOWN_KEY, ["'memry'", "did you mean 'memory'?"]),
    ("key that is no string", {3: "L1"}, Code.UNKNOWN_KEY, ["3"]),
    ("unknown memory", {"memory": "SRAM"}, Code.BAD_VALUE, ["'SRAM'", "DRAM, L1"]),
    ("memory in lower case", {"memory": "l1"}, Code.BAD_VALUE, ["write it 'L1'"]),
    ("memory of another type", {"memory": 1}, Code.BAD_VALUE, ["memory"]),
    ("unknown layout", {"layout": "shard"}, Code.BAD_VALUE, ["did you mean 'sharded'?"]),
    ("tile_shape of one", {"tile_shape": [32]}, Code.BAD_VALUE, ["tile_shape", "[32]"]),
    ("tile_shape of bools", {"tile_shape": [True, True]}, Code.BAD_VALUE, ["tile_shape"]),
    ("tile_shape of floats", {"tile_shape": [32.0, 32]}, Code.BAD_VALUE, ["tile_shape"]),
    ("another tile_shape", {"tile_shape": [16, 32]}, Code.LAYOUT_UNSUPPORTED, ["[16, 32]", "[32, 32]"]),
    (
        "a dtype that it is not stored as",
        {"dtype": "float16"},
        Code.BAD_VALUE,
        ["'float16'", "bfloat16, float32, bfloat8_b, bfloat4_b"],
    ),
    ("no dtype", {"dtype": "bfloat61"}, Code.BAD_VALUE, ["did you mean 'bfloat16'?"]),
    ("halo", {"halo": [1, 1]}, Code.HALO_UNSUPPORTED, ["halo: [1, 1]"]),
    ("halo in nd_shard", sharded(halo=1), Code.HALO_UNSUPPORTED, ["nd_shard", "halo: 1"]),
    ("nd_shard but interleaved", {**sharded(), "layout": "interleaved"}, Code.ND_SHARD_UNEXPECTED, ["interleaved"]),
    ("no nd_shard", {"layout": "sharded"}, Code.ND_SHARD_MISSING, ["axes, grid, shard_shape_elems"]),
    ("no axes", sharded(axes=None), Code.ND_SHARD_MISSING, ["lacks axes"]),
    ("no grid", sharded(grid=None), Code.ND_SHARD_MISSING, ["lacks grid"]),
    ("no shard shape", sharded(shard_shape_elems=None), Code.ND_SHARD_MISSING, ["lacks shard_shape_elems"]),
    ("nd_shard a list", {"layout": "sharded", "nd_shard": []}, Code.ND_SHARD_MALFORMED, ["dictionary"]),
    ("unknown nd_shard key", sharded(gird=[1, 1]), Code.UNKNOWN_KEY, ["did you mean 'grid'?"]),
    ("axes of wrong length", sharded(axes=["M"]), Code.ND_SHARD_MALFORMED, ["axes", "one per dimension"]),
    ("an unknown axis", sharded(axes=["M", "X"]), Code.ND_SHARD_MALFORMED, ["axes", "'X'"]),
    ("axes in one string", sharded(axes="MN"), Code.ND_SHARD_MALFORMED, ["axes"]),
    ("an axis twice", sharded(axes=["M", "M"]), Code.ND_SHARD_MALFORMED, ["M more than once"]),
    ("neither M nor N", sharded(axes=["B", "K"]), Code.AXES_WITHOUT_MN, ["['B', 'K']"]),
    ("grid of wrong length", sharded(grid=[8]), Code.ND_SHARD_MALFORMED, ["grid", "[8]"]),
    ("grid of zero", sharded(grid=[0, 2]), Code.ND_SHARD_MALFORMED, ["grid", "from 1 up"]),
    ("grid of bools", sharded(grid=[True, 2]), Code.ND_SHARD_MALFORMED, ["grid"]),
    ("a negative shard", sharded(shard_shape_elems=[-64, 128]), Code.ND_SHARD_MALFORMED, ["shard_shape_elems"]),
    ("an unknown order", sharded(order="rowmajor"), Code.ND_SHARD_MALFORMED, ["did you mean 'row_major'?"]),
    ("an unknown orientation", sharded(orientation=1), Code.ND_SHARD_MALFORMED, ["orientation"]),
    ("no core ranges", sharded(core_ranges=[]), Code.ND_SHARD_MALFORMED, ["core_ranges"]),
    ("a range backwards", sharded(core_ranges=[[3, 0, 0, 0]]), Code.ND_SHARD_MALFORMED, ["x0 <= x1"]),
    ("a range of three", sharded(core_ranges=[[0, 0, 1]]), Code.ND_SHARD_MALFORMED, ["core_ranges"]),
    (
        "core ranges in DRAM",
        {**sharded(core_ranges=[[0, 0, 7, 0]]), "memory": "DRAM"},
        Code.ND_SHARD_MALFORMED,
        ["lie on no core"],
    ),
    ("unaligned in L1", sharded(grid=[6, 2], shard_shape_elems=[48, 128]), Code.SHARD_UNALIGNED, ["[64, 128]"]),
    ("too few shards", sharded(grid=[3, 2]), Code.SHARD_GRID_COVERAGE, ["leaves part", "dimension 0 (M)", "4 shards"]),
    ("an empty shard", sharded(grid=[4, 3]), Code.SHARD_GRID_COVERAGE, ["empty shards", "dimension 1 (N)"]),
]


@pytest.mark.parametrize(("raw", "code", "texts"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_wrong_layout_is_refused(raw, code, texts):
    with refused(code, *texts, subject="C") as caught:
        parse(raw)
    assert isinstance(caught.value, LayoutError)
    assert caught.value.found is not None
    assert caught.value.expected is not None


class TestNdTensors:
    def test_a_batch_of_one_may_be_cut_behind(self):
        raw = sharded(axes=["B", "M", "N"], grid=[1, 4, 2], shard_shape_elems=[1, 64, 128])
        assert parse(raw, (1, 256, 256)).nd_shard is not None

    def test_a_vector_is_aligned_in_its_one_dimension(self):
        raw = sharded(axes=["N"], grid=[4], shard_shape_elems=[64])
        assert parse(raw, (256,)).nd_shard is not None
        with refused(Code.SHARD_UNALIGNED):
            parse(sharded(axes=["N"], grid=[8], shard_shape_elems=[33]), (256,))


class TestConstructors:
    def test_block_sharded_rounds_shards_up_to_tiles(self):
        raw = block_sharded((500, 512), (8, 8))
        assert raw["nd_shard"]["shard_shape_elems"] == [64, 64]
        assert parse(raw, (500, 512)).l1_sharded

    def test_shards_can_be_rounded_up_to_the_kernels_blocks(self):
        raw = block_sharded((640, 512), (2, 4), align=(128, 128))
        assert raw["nd_shard"]["shard_shape_elems"] == [384, 128]

    def test_height_and_width(self):
        assert height_sharded((512, 64), 8)["nd_shard"]["grid"] == [8, 1]
        assert width_sharded((64, 512), 8, axes=("K", "N"))["nd_shard"] == {
            "axes": ["K", "N"],
            "grid": [1, 8],
            "shard_shape_elems": [64, 64],
            "order": "row_major",
            "orientation": "row_major",
        }
        assert width_sharded((64, 512), 2, core_ranges=[(0, 0, 1, 0)])["nd_shard"]["core_ranges"] == [[0, 0, 1, 0]]

    def test_interleaved(self):
        assert parse(interleaved("L1")).memory == "L1"

    @pytest.mark.parametrize(
        ("shape", "grid", "align"),
        [((512,), (8, 8), (32, 32)), ((512, 512), (0, 8), (32, 32)), ((1, 1), (1, 1), (32,))],
    )
    def test_wrong_numbers_are_refused(self, shape, grid, align):
        with refused(Code.BAD_VALUE, "two integers from 1 up"):
            block_sharded(shape, grid, align=align)


class TestPlacement:
    """Which core holds which shard; shards in row-major order."""

    def test_a_grid_that_fits_lies_as_it_is(self):
        assert place_shards((2, 3), N150, subject="C") == ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1))

    def test_col_major_orientation_transposes_it(self):
        cores = place_shards((2, 3), N150, subject="C", orientation="col_major")
        assert cores == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))

    def test_64_x_1_shards_run_over_the_8_x_8_grid(self):
        assert place_shards((64, 1), N150, subject="C") == tuple(rectangle(8, 8))
        assert place_shards((64, 1), N150, subject="C", orientation="col_major") == N150.column_major_cores

    def test_a_grid_that_meets_a_missing_core_runs_over_those_there_are(self):
        device = device_with(rectangle(3, 3)).without(cores=[(1, 1)])
        assert place_shards((2, 2), device, subject="C") == ((0, 0), (1, 0), (2, 0), (0, 1))

    def test_one_range_of_the_shard_grids_size(self):
        cores = place_shards((2, 3), N150, subject="C", core_ranges=[(4, 5, 6, 6)])
        assert cores == ((4, 5), (5, 5), (6, 5), (4, 6), (5, 6), (6, 6))

    def test_several_ranges_are_walked_in_their_order(self):
        cores = place_shards((1, 3), N150, subject="C", core_ranges=[(6, 6, 7, 6), (0, 0, 0, 0)])
        assert cores == ((6, 6), (7, 6), (0, 0))

    def test_order_numbers_the_shards_column_by_column(self):
        cores = place_shards((2, 2), N150, subject="C", order="col_major", core_ranges=[(0, 0, 3, 0)])
        assert cores == ((0, 0), (2, 0), (1, 0), (3, 0)), "shard (1, 0) is number 1, shard (0, 1) number 2"

    def test_more_shards_than_cores(self):
        with refused(Code.TOO_MANY_SHARDS, "65 x 1 = 65 shards", "at most 64", subject="C") as caught:
            place_shards((65, 1), N150, subject="C")
        assert isinstance(caught.value, PartitionError)
        with refused(Code.TOO_MANY_SHARDS, "its core_ranges"):
            place_shards((2, 2), N150, subject="C", core_ranges=[(0, 0, 2, 0)])

    def test_a_huge_grid_is_refused_at_once(self):
        with refused(Code.TOO_MANY_SHARDS):
            place_shards((10**9, 10**9), N150, subject="C")

    def test_ranges_off_the_device_or_overlapping(self):
        with refused(Code.CORE_OFF_DEVICE, subject="C"):
            place_shards((2, 2), N150, subject="C", core_ranges=[(7, 7, 8, 8)])
        with refused(Code.CORE_RANGES_OVERLAP, subject="C"):
            place_shards((2, 2), N150, subject="C", core_ranges=[(0, 0, 1, 1), (1, 1, 2, 2)])

    @given(
        device=devices(),
        grid=st.tuples(st.integers(1, 7), st.integers(1, 7)),
        order=st.sampled_from(["row_major", "col_major"]),
        orientation=st.sampled_from(["row_major", "col_major"]),
    )
    def test_every_placement_is_the_oracles(self, device, grid, order, orientation):
        expected = oracle_shard_cores(grid, device, order, orientation)
        if expected is None:
            with refused(Code.TOO_MANY_SHARDS):
                place_shards(grid, device, subject="C", order=order, orientation=orientation)
            return
        cores = place_shards(grid, device, subject="C", order=order, orientation=orientation)
        assert {divmod(number, grid[1]): core for number, core in enumerate(cores)} == expected
        assert len(set(cores)) == len(cores)


def projected(raw, shape, roles, block, tiles):
    return project("C", parse(raw, shape), shape, roles, block, tiles)


class TestProjection:
    def test_a_block_sharded_output(self):
        p = projected(block_sharded((512, 1024), (8, 4)), (512, 1024), ("M", "N"), (32, 64), (16, 16))
        assert p.lined_up
        assert p.reason is None
        assert p.projected_grid == (8, 4)
        assert p.projected_shard_tiles == (2, 8)
        assert p.shard_work_tiles == (2, 4)
        assert p.plane_cores(N150)[4] == (0, 1), "shard (1, 0)"

    def test_an_operand_of_rows_takes_the_whole_plane_along_n(self):
        p = projected(height_sharded((512, 256), 8, axes=("M", "K")), (512, 256), ("M", "K"), (32, 32), (16, 10))
        assert p.projected_grid == (8, 1)
        assert p.projected_shard_tiles == (2, 1)
        assert p.shard_work_tiles == (2, 10)

    def test_a_transposed_output_swaps_the_plane_but_not_the_storage(self):
        raw = block_sharded((64, 96), (2, 3), axes=("N", "M"))
        p = projected(raw, (64, 96), ("N", "M"), (32, 32), (3, 2))
        assert p.projected_grid == (3, 2)
        assert p.stored.grid == (2, 3)
        assert p.storage_cores(N150) == ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1))
        assert p.plane_cores(N150) == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))

    def test_a_vector(self):
        raw = sharded(axes=["N"], grid=[4], shard_shape_elems=[64])
        p = projected(raw, (256,), ("N",), (64,), (5, 4))
        assert (p.projected_grid, p.shard_work_tiles, p.stored.shard_tiles) == ((1, 4), (5, 1), (1, 2))
        assert p.plane_cores(N150) == ((0, 0), (1, 0), (2, 0), (3, 0))

    def test_a_batch_of_one(self):
        raw = sharded(axes=["B", "M", "N"], grid=[1, 4, 2], shard_shape_elems=[1, 64, 128])
        p = projected(raw, (1, 256, 256), ("B", "M", "N"), (1, 32, 32), (8, 8))
        assert (p.projected_grid, p.shard_work_tiles, p.stored.grid) == ((4, 2), (2, 4), (4, 2))
        assert p.plane_cores(N150) == p.storage_cores(N150) == tuple(rectangle(2, 4))

    def test_a_dimension_taken_whole_has_its_declared_meaning(self):
        p = projected(height_sharded((256, 96), 8), (256, 96), ("M", ""), (32, 96), (8, 1))
        assert p.lined_up
        assert p.projected_shard_tiles == (1, 3)

    @pytest.mark.parametrize(
        ("raw", "roles", "block", "tiles", "code", "text"),
        [
            (sharded(axes=["M", "K"]), ("M", "K"), (64, 128), (4, 4), Code.LAYOUT_UNSUPPORTED, "reduction axis K"),
            (sharded(axes=["B", "N"]), ("B", "N"), (64, 128), (4, 2), Code.LAYOUT_UNSUPPORTED, "batch axis B"),
            (sharded(), ("M", ""), (64, 256), (4, 1), Code.LAYOUT_UNSUPPORTED, "takes whole"),
            (sharded(), ("M", "N"), (128, 128), (2, 2), Code.SHARD_NOT_WORK_TILES, "whole number of work tiles"),
            (sharded(), ("M", "N"), (64, 128), (8, 2), Code.LAYOUT_UNSUPPORTED, "not those of the launch grid"),
            (sharded(), ("M", "N"), (64, 128), (4, 4), Code.LAYOUT_UNSUPPORTED, "not those of the launch grid"),
        ],
        ids=[
            "cut along K",
            "cut along B",
            "cut where taken whole",
            "part of a work tile",
            "batched plane",
            "plane wider than it",
        ],
    )
    def test_shards_that_do_not_line_up_say_why(self, raw, roles, block, tiles, code, text):
        p = projected(raw, (256, 256), roles, block, tiles)
        assert not p.lined_up
        assert p.shard_work_tiles is None
        assert p.misfit is not None
        assert p.misfit.code is code
        assert text in (p.reason or "")
        assert len(p.storage_cores(N150)) == 8, "it is stored all the same"

    def test_axes_that_contradict_the_indexing(self):
        with refused(Code.AXES_MISMATCH, "declared ['N', 'M']", "['M', 'N'], from the kernel's indexing", subject="C"):
            projected(sharded(axes=["N", "M"]), (256, 256), ("M", "N"), (64, 128), (4, 2))

    def test_two_dimensions_indexed_by_the_block_row_cannot_be_declared(self):
        raw = sharded(axes=["M", "B"], grid=[4, 1], shard_shape_elems=[64, 256])
        with refused(Code.AXES_MISMATCH, "dimension 1", "['M', 'M']"):
            projected(raw, (256, 256), ("M", "M"), (64, 64), (4, 1))

    def test_an_interleaved_buffer_has_no_projection(self):
        with refused(Code.ND_SHARD_MISSING, "not sharded"):
            projected({}, (256, 256), ("M", "N"), (64, 128), (4, 2))

    def test_a_layout_of_another_rank_is_refused(self):
        with refused(Code.ND_SHARD_MALFORMED, "3 entries"):
            project("C", parse(sharded()), (1, 256, 256), ("B", "M", "N"), (1, 32, 32), (8, 8))


def test_a_grid_of_one_dimension_may_call_the_rows_it_walks_m():
    layout = parse_user_layout("A", height_sharded((256, 64), 4), (256, 64), "bfloat16")
    projection = project("A", layout, (256, 64), ("N", ""), (32, 64), (1, 8))
    assert projection.projected_grid == (1, 4)
    assert projection.shard_work_tiles == (1, 2)
    with pytest.raises(LayoutError) as refused:
        project("A", layout, (256, 64), ("N", ""), (32, 64), (2, 8))
    assert refused.value.code is Code.AXES_MISMATCH
