"""The partition engine: which mode, which core gets which work tiles, and what is refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from partition_support import (
    assert_is,
    device_with,
    devices,
    oracle_contiguous,
    oracle_shard_cores,
    oracle_sharded,
    placed,
    rectangle,
    refused,
    sharded_buffers,
)

from tilelang_tt.attrs import GLOBAL_ARGS, LOCAL_SHARD_ARGS
from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code
from tilelang_tt.layout import block_sharded, height_sharded, width_sharded
from tilelang_tt.partition import LegacySchedule, PlacedBuffer, UserSchedule, WorkGrid, partition

N150 = load_device("wormhole_n150")
GRID = WorkGrid(gx=16, gy=16)
"""16 x 16 work tiles of 32 x 32 elements: the GEMM C[512, 512] = A[512, 256] @ B[256, 512]."""


def buffer(name, raw, shape, roles, *, written=False, grid=GRID, block=(32, 32)):
    return placed(name, raw["nd_shard"], shape, roles, block, (grid.mt, grid.nt), written=written, memory=raw["memory"])


def output(raw=None, name="C"):
    raw = raw or block_sharded((512, 512), (8, 8))
    return buffer(name, raw, (512, 512), ("M", "N"), written=True)


def operand_a(shards, **options):
    return buffer("A", height_sharded((512, 256), shards, axes=("M", "K"), **options), (512, 256), ("M", "K"))


def operand_b(shards, **options):
    return buffer("B", width_sharded((256, 512), shards, axes=("K", "N"), **options), (256, 512), ("K", "N"))


def run(*buffers, schedule=None, legacy=None, grid=GRID, kt=8, device=N150):
    return partition(grid, kt, device, buffers, schedule, legacy)


class TestMode:
    """Who decides between global and local_shard when the schedule does not."""

    def test_no_sharded_buffer_is_global(self):
        result = run(PlacedBuffer("A", False), PlacedBuffer("C", True, "L1", "interleaved"))
        assert result.mode == "global"
        assert result.driving_buffer is None
        assert result.resident_buffers == ()

    def test_a_written_buffer_sharded_in_l1_decides(self):
        result = run(operand_a(8), output())
        assert (result.mode, result.driving_buffer) == ("local_shard", "C")

    def test_else_a_read_one_that_lines_up(self):
        result = run(operand_a(16), PlacedBuffer("C", True))
        assert (result.mode, result.driving_buffer) == ("local_shard", "A")
        assert result.shard_grid == (16, 1)
        assert result.local_shape_tiles == (1, 16)

    def test_of_several_read_ones_the_one_with_most_shards_then_the_first(self):
        assert run(operand_a(4), operand_b(8)).driving_buffer == "B"
        assert run(operand_a(8), operand_b(8)).driving_buffer == "A"

    def test_read_buffers_must_agree_too(self):
        x = buffer("X", block_sharded((512, 512), (6, 3)), (512, 512), ("M", "N"))
        with refused(Code.SHARD_GRID_MISMATCH, "driving buffer, X: 6 x 3", subject="B"):
            run(operand_b(16), x)

    def test_a_read_one_that_does_not_line_up_leaves_it_global(self):
        a = buffer("A", block_sharded((512, 256), (8, 8), axes=("M", "K")), (512, 256), ("M", "K"))
        assert run(a, PlacedBuffer("C", True)).mode == "global"

    def test_a_written_one_that_does_not_line_up_is_refused(self):
        raw = block_sharded((512, 512), (8, 8))
        c = buffer("C", raw, (512, 512), ("M", "N"), written=True, grid=WorkGrid(4, 4), block=(128, 128))
        with refused(Code.SHARD_NOT_WORK_TILES, "'C'", "64 elements", "multiple of 128", subject="C"):
            run(c, grid=WorkGrid(4, 4))

    def test_dram_shards_stay_global(self):
        raw = block_sharded((512, 512), (8, 8), memory="DRAM")
        assert run(buffer("C", raw, (512, 512), ("M", "N"), written=True)).mode == "global"

    def test_the_schedule_may_say_global(self):
        result = run(output(), schedule=UserSchedule("global"))
        assert result == run()

    def test_the_schedule_may_say_local_shard_without_a_sharded_buffer(self):
        schedule = UserSchedule("local_shard", shard_grid=(4, 2), local_shape_tiles=(4, 8))
        result = run(schedule=schedule)
        assert (result.mode, result.shard_grid, result.local_shape_tiles) == ("local_shard", (4, 2), (4, 8))
        assert result.driving_buffer is None
        assert_is(result, oracle_sharded((16, 16), (4, 8), oracle_shard_cores((4, 2), N150)), N150)

    def test_an_unprojected_sharded_buffer_is_no_guess(self):
        with refused(Code.METADATA_MISSING, "not projected", subject="C"):
            run(PlacedBuffer("C", True, "L1", "sharded"))


class TestGlobal:
    def test_the_remainder_goes_to_the_first_cores(self):
        result = run(grid=WorkGrid(5), device=device_with(rectangle(3, 1)), kt=7)
        assert result.core_ranges == ((0, 0, 0, 0, 0, 2), (1, 0, 1, 0, 2, 2), (2, 0, 2, 0, 4, 1))
        assert result.core_runtime_args == ((0, 2), (2, 2), (4, 1))
        assert (result.grid_tiles, result.shard_grid, result.local_shape_tiles) == ((1, 5), (1, 1), (1, 5))
        assert result.runtime_arg_names == GLOBAL_ARGS
        assert result.runtime_constants == {"Mt": 1, "Kt": 7, "Nt": 5}

    def test_only_cores_with_work_appear(self):
        assert run(grid=WorkGrid(3)).cores == ((0, 0), (1, 0), (2, 0))

    def test_num_cores_takes_the_first_ones(self):
        assert run(schedule=UserSchedule(num_cores=9)).cores == (*rectangle(8, 1), (0, 1))

    def test_core_ranges_are_used_row_by_row(self):
        schedule = UserSchedule(core_ranges=((4, 4, 5, 5), (0, 0, 0, 0)))
        assert run(schedule=schedule).cores == ((0, 0), (4, 4), (5, 4), (4, 5), (5, 5))

    def test_num_cores_within_core_ranges(self):
        schedule = UserSchedule(core_ranges=((4, 4, 5, 5),), num_cores=3)
        assert run(schedule=schedule).cores == ((4, 4), (5, 4), (4, 5))
        with refused(Code.TOO_MANY_CORES, "5 cores", "at most 4", "within core_ranges", subject="num_cores"):
            run(schedule=UserSchedule(core_ranges=((4, 4, 5, 5),), num_cores=5))

    def test_legacy_ranges_are_kept(self):
        legacy = LegacySchedule(((0, 200), (0, 0), (200, 56)), 3)
        result = run(legacy=legacy)
        assert result.core_ranges == ((0, 0, 0, 0, 0, 200), (2, 0, 2, 0, 200, 56))
        result.verify(N150)

    def test_legacy_num_cores_alone_limits_the_cores(self):
        assert len(run(legacy=LegacySchedule(num_cores=5)).cores) == 5

    def test_legacy_ranges_for_more_cores_than_there_are(self):
        ranges = (*((tile, 1) for tile in range(255)), (255, 1))
        with refused(Code.TOO_MANY_CORES, "256 cores", "at most 64", subject="tt_tiles_per_core"):
            run(legacy=LegacySchedule(ranges))
        with refused(Code.TOO_MANY_CORES, subject="tt_num_cores"):
            run(legacy=LegacySchedule(num_cores=65))

    def test_wrong_legacy_ranges_are_refused_in_any_mode(self):
        with refused(Code.LEGACY_RANGES):
            run(output(), legacy=LegacySchedule(((0, 1),)))

    @given(devices(), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.data())
    def test_every_tile_has_one_owner(self, device, gx, gy, gz, data):
        num_cores = data.draw(st.none() | st.integers(1, len(device.cores)))
        result = run(grid=WorkGrid(gx, gy, gz), device=device, schedule=UserSchedule(num_cores=num_cores))
        assert_is(result, oracle_contiguous((gy * gz, gx), device.row_major_cores[:num_cores]), device)


class TestLocalShard:
    def test_a_block_sharded_output(self):
        result = run(output())
        assert (result.grid_tiles, result.shard_grid, result.local_shape_tiles) == ((16, 16), (8, 8), (2, 2))
        assert result.core_ranges[9] == (1, 1, 1, 1, 0, 4)
        assert result.core_runtime_args[9] == (0, 4, 1, 1)
        assert result.runtime_arg_names == LOCAL_SHARD_ARGS
        assert result.runtime_constants == {"Mt": 16, "Kt": 8, "Nt": 16, "Sm": 2, "Sn": 2, "Gy": 8, "Gx": 8}
        assert list(result.tiles((1, 1))) == [(2, 2), (2, 3), (3, 2), (3, 3)]

    def test_the_last_shards_may_hold_less(self):
        grid = WorkGrid(gx=5, gy=3)
        c = buffer("C", block_sharded((96, 160), (2, 2)), (96, 160), ("M", "N"), written=True, grid=grid)
        result = run(c, grid=grid)
        assert result.core_runtime_args == ((0, 6, 0, 0), (0, 4, 0, 1), (0, 3, 1, 0), (0, 2, 1, 1))
        assert list(result.tiles((1, 0))) == [(0, 3), (0, 4), (1, 3), (1, 4)], "rows are as wide as the clipped shard"

    def test_64_bands_on_an_8_x_8_grid(self):
        grid = WorkGrid(gx=4, gy=64)
        c = buffer("C", height_sharded((2048, 128), 64), (2048, 128), ("M", "N"), written=True, grid=grid)
        result = run(c, grid=grid)
        assert result.owner(9, 3) == (1, 1)
        result.verify(N150)

    def test_shards_without_a_work_tile_have_no_core(self):
        schedule = UserSchedule("local_shard", shard_grid=(3, 1), local_shape_tiles=(8, 16))
        assert run(schedule=schedule).core_runtime_args == ((0, 128, 0, 0), (0, 128, 1, 0))

    def test_rows_come_core_by_core_whatever_the_shards_order(self):
        raw = height_sharded((512, 512), 3, align=(192, 32), core_ranges=[(3, 1, 3, 1), (2, 0, 2, 0), (0, 0, 0, 0)])
        result = run(output(raw))
        assert result.cores == ((0, 0), (2, 0), (3, 1))
        assert [args[2] for args in result.core_runtime_args] == [2, 1, 0]

    @given(devices(), sharded_buffers())
    def test_every_tile_is_on_the_core_of_its_shard(self, device, case):
        c, tiles, nd_shard = case
        cores = oracle_shard_cores(nd_shard["grid"], device, nd_shard["order"], nd_shard["orientation"])
        if cores is None:
            with refused(Code.TOO_MANY_SHARDS, subject="buffer 'C'"):
                run(c, grid=WorkGrid(tiles[1], tiles[0]), device=device)
            return
        result = run(c, grid=WorkGrid(tiles[1], tiles[0]), device=device)
        assert_is(result, oracle_sharded(tiles, c.projection.shard_work_tiles, cores), device)

    @given(sharded_buffers(core_ranges=[[4, 4, 7, 7], [0, 0, 3, 2], [0, 5, 3, 5]]))
    def test_core_ranges_hold_the_shards_in_their_order(self, case):
        c, tiles, nd_shard = case
        cores = oracle_shard_cores(**{key: nd_shard[key] for key in nd_shard if key[0] in "gco"}, device=N150)
        assume(cores is not None)
        result = run(c, grid=WorkGrid(tiles[1], tiles[0]))
        assert_is(result, oracle_sharded(tiles, c.projection.shard_work_tiles, cores), N150)

    @given(devices(), st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 5)] * 2), st.data())
    def test_given_shards_without_a_buffer(self, device, tiles, shape, data):
        needed = tuple(-(-size // part) for size, part in zip(tiles, shape, strict=True))
        shard_grid = tuple(size + data.draw(st.integers(0, 1)) for size in needed)
        schedule = UserSchedule("local_shard", shard_grid=shard_grid, local_shape_tiles=shape)
        cores = oracle_shard_cores(shard_grid, device)
        assume(cores is not None)
        result = run(grid=WorkGrid(tiles[1], tiles[0]), device=device, schedule=schedule)
        assert_is(result, oracle_sharded(tiles, shape, cores), device)


class TestOverrides:
    def test_grid_tiles_must_be_the_launch_grid(self):
        assert run(schedule=UserSchedule(grid_tiles=(16, 16))) == run()
        with refused(Code.GRID_TILES_MISMATCH, "[16, 8]", "[16, 16]", subject="grid_tiles"):
            run(schedule=UserSchedule(grid_tiles=(16, 8)))

    @pytest.mark.parametrize(
        ("given_keys", "missing"),
        [
            ({}, "shard_grid and local_shape_tiles missing"),
            ({"shard_grid": (4, 4)}, "local_shape_tiles missing"),
            ({"local_shape_tiles": (4, 4)}, "shard_grid missing"),
        ],
    )
    def test_local_shard_without_a_buffer_needs_both_keys(self, given_keys, missing):
        with refused(Code.SCHEDULE_INCOMPLETE, missing):
            run(schedule=UserSchedule("local_shard", **given_keys))

    def test_and_says_why_a_sharded_buffer_does_not_decide(self):
        a = buffer("A", block_sharded((512, 256), (8, 8), axes=("M", "K")), (512, 256), ("M", "K"))
        with refused(Code.SCHEDULE_INCOMPLETE, "'A', dimension 1: cut along the reduction axis K"):
            run(a, schedule=UserSchedule("local_shard"))

    def test_given_shards_must_cover_the_grid(self):
        schedule = UserSchedule("local_shard", shard_grid=(4, 4), local_shape_tiles=(4, 3))
        with refused(Code.SHARD_GRID_COVERAGE, "[16, 12] work tiles", "[16, 16]", subject="shard_grid"):
            run(schedule=schedule)

    def test_given_shards_must_fit_the_device(self):
        schedule = UserSchedule("local_shard", shard_grid=(16, 16), local_shape_tiles=(1, 1))
        with refused(Code.TOO_MANY_SHARDS, "256 shards", "64"):
            run(schedule=schedule)

    def test_given_shards_on_given_cores(self):
        shards = {"shard_grid": (2, 2), "local_shape_tiles": (8, 8)}
        on_grid = run(schedule=UserSchedule("local_shard", core_grid=(4, 1), **shards))
        assert on_grid.cores == tuple(rectangle(4, 1)), "2 x 2 shards do not fit 4 x 1 cores as they are"
        for core_grid in ((2, 2), (3, 2), (2, 3), (4, 4)):
            fits = run(schedule=UserSchedule("local_shard", core_grid=core_grid, **shards))
            assert fits.cores == tuple(rectangle(2, 2)), core_grid
        on_ranges = run(schedule=UserSchedule("local_shard", core_ranges=((6, 6, 7, 7),), **shards))
        assert on_ranges.owner(8, 0) == (6, 7)
        with refused(Code.TOO_MANY_SHARDS, "4 shards", "at most 3"):
            run(schedule=UserSchedule("local_shard", num_cores=3, **shards))
        with refused(Code.TOO_MANY_CORES, subject="num_cores"):
            run(schedule=UserSchedule("local_shard", num_cores=65, **shards))
        with refused(Code.TOO_MANY_SHARDS):
            run(schedule=UserSchedule("local_shard", core_grid=(3, 1), **shards))

    def test_shards_in_global_mode_are_a_contradiction(self):
        with refused(Code.SCHEDULE_CONFLICT, "[8, 8]", '"partition_mode": "local_shard"', subject="shard_grid"):
            run(schedule=UserSchedule(shard_grid=(8, 8)))
        with refused(Code.SCHEDULE_CONFLICT, "[2, 2]", subject="local_shape_tiles"):
            run(output(), schedule=UserSchedule("global", local_shape_tiles=(2, 2)))
        assert run(schedule=UserSchedule("global", shard_grid=(1, 1), local_shape_tiles=(16, 16))) == run()

    def test_shards_other_than_the_buffers_are_a_contradiction(self):
        assert run(output(), schedule=UserSchedule(shard_grid=(8, 8), local_shape_tiles=(2, 2))) == run(output())
        with refused(Code.SCHEDULE_CONFLICT, "'C'", "[4, 4]", "[8, 8]", subject="shard_grid"):
            run(output(), schedule=UserSchedule(shard_grid=(4, 4)))
        with refused(Code.SCHEDULE_CONFLICT, "[4, 4]", "[2, 2]", subject="local_shape_tiles"):
            run(output(), schedule=UserSchedule("local_shard", local_shape_tiles=(4, 4)))

    def test_a_shard_on_a_core_that_the_schedule_excludes(self):
        with refused(Code.SCHEDULE_CONFLICT, "'C' lies on core (4, 0)", "within core_grid", subject="C"):
            run(output(), schedule=UserSchedule(core_grid=(4, 8)))

    def test_more_shards_than_num_cores(self):
        assert run(output(), schedule=UserSchedule(num_cores=64)) == run(output())
        with refused(Code.SCHEDULE_CONFLICT, "shards on 64 cores", "at most 63", subject="num_cores"):
            run(output(), schedule=UserSchedule(num_cores=63))
        with refused(Code.TOO_MANY_CORES, subject="num_cores"):
            run(output(), schedule=UserSchedule(num_cores=65))

    def test_runtime_args_must_be_canonical(self):
        assert run(schedule=UserSchedule(runtime_args=GLOBAL_ARGS)) == run()
        assert run(output(), schedule=UserSchedule(runtime_args=LOCAL_SHARD_ARGS)) == run(output())
        permuted = ("tt_tile_count", "tt_start_tile", "Mt", "Kt", "Nt")
        with refused(Code.SCHEDULE_MALFORMED, "canonical order", f"{list(GLOBAL_ARGS)}", subject="runtime_args"):
            run(schedule=UserSchedule(runtime_args=permuted))
        with refused(Code.SCHEDULE_MALFORMED, "local_shard mode", f"{list(LOCAL_SHARD_ARGS)}"):
            run(output(), schedule=UserSchedule(runtime_args=GLOBAL_ARGS))

    @pytest.mark.parametrize("kt", [0, -1, True, 1.0])
    def test_kt_is_a_positive_integer(self, kt):
        with refused(Code.BAD_VALUE, subject="Kt"):
            run(kt=kt)

    def test_numbers_past_32_bits(self):
        with refused(Code.NUMBER_TOO_LARGE, subject="Kt"):
            run(kt=2**32)
        with refused(Code.NUMBER_TOO_LARGE, subject="local_shape_tiles"):
            run(schedule=UserSchedule("local_shard", shard_grid=(1, 1), local_shape_tiles=(2**32, 16)))


class TestSeveralShardedBuffers:
    def test_equal_element_wise_operands_are_all_used_in_place(self):
        raw = block_sharded((512, 512), (8, 8))
        a = buffer("A", raw, (512, 512), ("M", "N"))
        assert run(a, output(raw)).resident_buffers == ("A", "C")

    def test_bands_of_a_gemm(self):
        result = run(operand_a(16), operand_b(8), output(height_sharded((512, 512), 16)))
        assert result.resident_buffers == ("A", "C"), "B's bands are needed on every core"

    def test_a_gemm_operand_with_the_outputs_row_boundaries_agrees_but_is_not_in_place(self):
        result = run(operand_a(8), output())
        assert result.resident_buffers == ("C",), "one shard of A serves 8 cores"

    def test_other_boundaries_on_a_shared_axis(self):
        with refused(
            Code.SHARD_GRID_MISMATCH,
            "'C' and 'A' are cut along M at different work tiles",
            "A: 4 x 1 shards of 4 x 16 work tiles",
            "C: 8 x 8 shards of 2 x 2 work tiles",
            "(0, 0) (1, 0) (2, 0)",
            subject="A",
        ):
            run(operand_a(4), output())

    def test_the_same_shards_on_other_cores(self):
        raw = block_sharded((512, 512), (8, 8))
        a = buffer("A", {**raw, "nd_shard": {**raw["nd_shard"], "orientation": "col_major"}}, (512, 512), ("M", "N"))
        with refused(Code.SHARD_GRID_MISMATCH, "different cores", "(0, 0) (0, 1)", "(0, 0) (1, 0)", subject="A"):
            run(a, output(raw))

    def test_two_written_buffers_must_have_one_map(self):
        high, wide = height_sharded((512, 512), 16), width_sharded((512, 512), 16)
        with refused(Code.SHARD_GRID_MISMATCH, "both written", subject="D"):
            run(output(high), output(wide, "D"))
        assert run(output(high), output(high, "D")).resident_buffers == ("C", "D")
        one, moved = block_sharded((512, 512), (1, 1)), block_sharded((512, 512), (1, 1), core_ranges=[(1, 1, 1, 1)])
        with refused(Code.SHARD_GRID_MISMATCH, "different cores", subject="D"):
            run(output(one), output(moved, "D"))

    def test_read_buffers_on_different_axes_do_not_meet(self):
        assert run(operand_a(16), operand_b(4)).resident_buffers == ("A",)

    def test_nothing_is_compared_in_global_mode(self):
        assert run(operand_a(4), output(), schedule=UserSchedule("global")).mode == "global"

    def test_a_long_map_is_shortened(self):
        grid = WorkGrid(gx=1, gy=64)
        shape = (2048, 32)
        c = buffer("C", height_sharded(shape, 64), shape, ("M", "N"), written=True, grid=grid)
        a = buffer("A", height_sharded(shape, 32), shape, ("M", "N"), grid=grid)
        with refused(Code.SHARD_GRID_MISMATCH, "\n      ...") as caught:
            run(a, c, grid=grid)
        assert len(str(caught.value).splitlines()) < 30

    def test_in_its_width_too(self):
        grid, shape = WorkGrid(gx=64, gy=1), (32, 2048)
        c = buffer("C", width_sharded(shape, 64), shape, ("M", "N"), written=True, grid=grid)
        b = buffer("B", width_sharded(shape, 32), shape, ("M", "N"), grid=grid)
        with refused(Code.SHARD_GRID_MISMATCH, "(0, 0) (1, 0) (2, 0) (3, 0) (4, 0) (5, 0) (6, 0) (7, 0) ...\n"):
            run(b, c, grid=grid)

    @settings(max_examples=60)
    @given(sharded_buffers(), st.data())
    def test_a_buffer_is_in_place_exactly_when_every_tile_finds_its_elements_on_its_core(self, case, data):
        c, (mt, nt), nd_shard = case
        rows = c.projection.shard_work_tiles[0] if data.draw(st.booleans()) else data.draw(st.integers(1, mt))
        shards = -(-mt // rows)
        raw = {
            "axes": ["M", "K"],
            "grid": [shards, 1],
            "shard_shape_elems": [rows * 32, 64],
            "order": nd_shard["order"],
        }
        assume(oracle_shard_cores((shards, 1), N150) and oracle_shard_cores(nd_shard["grid"], N150))
        a = placed("A", raw, (mt * 32, 64), ("M", "K"), (32, 64), (mt, nt))
        holder, gy_gx = a.projection.plane_cores(N150), c.projection.projected_grid
        other_boundaries = shards > 1 and gy_gx[0] > 1 and rows != c.projection.shard_work_tiles[0]
        other_cores = shards > 1 and gy_gx == (shards, 1) and holder != c.projection.plane_cores(N150)
        if other_boundaries or other_cores:
            with refused(Code.SHARD_GRID_MISMATCH, subject="A"):
                run(a, c, grid=WorkGrid(nt, mt))
            return
        result = run(a, c, grid=WorkGrid(nt, mt))
        here = all(result.owner(m, n) == holder[m // rows] for m in range(mt) for n in range(nt))
        assert ("A" in result.resident_buffers) == here


class TestCost:
    """Planning takes time by cores, never by work tiles."""

    BILLION = WorkGrid(gx=31_250, gy=32_000)
    FEW = WorkGrid(gx=128, gy=140)

    @staticmethod
    def milliseconds(work):
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            work()
            best = min(best, 1000 * (time.process_time() - start))
        return best

    @pytest.mark.parametrize(("columns", "rows"), [(64, 70), (14, 10)])
    @pytest.mark.parametrize("mode", ["global", "local_shard"])
    def test_a_billion_tiles(self, columns, rows, mode):
        device = device_with(rectangle(columns, rows))

        def planning(grid):
            schedule = UserSchedule("global")
            if mode == "local_shard":
                shape = (-(-grid.mt // rows), -(-grid.nt // columns))
                schedule = UserSchedule("local_shard", shard_grid=(rows, columns), local_shape_tiles=shape)
            return self.milliseconds(lambda: run(grid=grid, device=device, schedule=schedule))

        assert planning(self.BILLION) < 4 * planning(self.FEW)

    def test_verifying_and_asking_too(self):
        device = device_with(rectangle(64, 70))
        many, few = (run(grid=grid, device=device) for grid in (self.BILLION, self.FEW))
        assert self.milliseconds(lambda: many.verify(device)) < 4 * self.milliseconds(lambda: few.verify(device))

        def asking(result):
            return self.milliseconds(lambda: [result.owner(m % 128, 7) for m in range(1000)])

        assert asking(many) < 4 * asking(few)
