"""Schedules: the user's dictionary and the legacy attributes, typed and checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from partition_support import device_with, rectangle, refused

from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, DeviceError, ScheduleError, SourceLocation
from tilelang_tt.partition import (
    LegacySchedule,
    UserSchedule,
    WorkGrid,
    default_legacy_schedule,
    parse_legacy_schedule,
    parse_user_schedule,
    partition,
)

N150 = load_device("wormhole_n150")


class TestUserSchedule:
    @pytest.mark.parametrize("raw", [None, {}])
    def test_nothing_said_leaves_everything_to_the_partitioner(self, raw):
        assert parse_user_schedule(raw) == UserSchedule()
        assert UserSchedule().partition_mode == "auto"

    def test_everything_said(self):
        schedule = parse_user_schedule(
            {
                "partition_mode": "local_shard",
                "grid_tiles": [8, 4],
                "shard_grid": (4, 2),
                "local_shape_tiles": [2, 2],
                "runtime_args": ["Mt"],
                "num_cores": 8,
                "core_ranges": [[0, 0, 1, 3]],
                "policy": "contiguous",
                "order": "row_major",
            }
        )
        assert schedule == UserSchedule(
            "local_shard", (8, 4), (4, 2), (2, 2), ("Mt",), 8, None, ((0, 0, 1, 3),), "contiguous", "row_major"
        )

    def test_an_error_says_where_in_the_source(self):
        with refused(Code.UNKNOWN_KEY, "at: gemm.py:12"):
            parse_user_schedule({"mode": 1}, SourceLocation("gemm.py", 12))


MALFORMED, UNSUPPORTED = Code.SCHEDULE_MALFORMED, Code.UNSUPPORTED
BAD = [
    ("not a dictionary", [], MALFORMED, ["dictionary"]),
    ("unknown key", {"num_core": 4}, Code.UNKNOWN_KEY, ["'num_core'", "did you mean 'num_cores'?"]),
    ("unknown mode", {"partition_mode": "local"}, MALFORMED, ["'local'", "global, local_shard, auto"]),
    ("mode of another type", {"partition_mode": True}, MALFORMED, ["partition_mode"]),
    ("grid_tiles of one", {"grid_tiles": [8]}, MALFORMED, ["grid_tiles", "[Mt, Nt]", "[8]"]),
    ("grid_tiles of three", {"grid_tiles": [8, 8, 1]}, MALFORMED, ["[8, 8, 1]"]),
    ("shard_grid of one", {"shard_grid": [8]}, MALFORMED, ["shard_grid", "[Gy, Gx]"]),
    ("shard_grid of zero", {"shard_grid": [0, 1]}, MALFORMED, ["from 1 up"]),
    ("local_shape_tiles a number", {"local_shape_tiles": 4}, MALFORMED, ["local_shape_tiles", "[Sm, Sn]"]),
    ("local_shape_tiles of bools", {"local_shape_tiles": [True, True]}, MALFORMED, ["local_shape_tiles"]),
    ("local_shape_tiles of None", {"local_shape_tiles": [None, 2]}, MALFORMED, ["[None, 2]"]),
    ("runtime_args a string", {"runtime_args": "Mt"}, MALFORMED, ["runtime_args", "list"]),
    ("num_cores zero", {"num_cores": 0}, MALFORMED, ["num_cores", "from 1 up"]),
    ("num_cores a bool", {"num_cores": True}, MALFORMED, ["num_cores"]),
    ("core_grid of one", {"core_grid": [8]}, MALFORMED, ["core_grid", "[x, y]"]),
    ("core_ranges empty", {"core_ranges": []}, MALFORMED, ["core_ranges"]),
    ("core_ranges flat", {"core_ranges": [0, 0, 1, 1]}, MALFORMED, ["[x0, y0, x1, y1]"]),
    ("core_ranges backwards", {"core_ranges": [[1, 0, 0, 0]]}, MALFORMED, ["x0 <= x1"]),
    (
        "two core sets",
        {"core_grid": [8, 8], "core_ranges": [[0, 0, 0, 0]]},
        Code.SCHEDULE_CONFLICT,
        ["core_grid and core_ranges"],
    ),
    ("another policy", {"policy": "block_3d"}, UNSUPPORTED, ["'block_3d'", "one of contiguous", "'block_2d'"]),
    ("a policy of three sizes", {"policy": "block_2d(1,2,3)"}, MALFORMED, ["0 or 2 after block_2d"]),
    ("a policy of size 0", {"policy": "block_cyclic(0)"}, UNSUPPORTED, ["block_cyclic"]),
    ("blocks of no size", {"order": "block_linear"}, MALFORMED, ["1 after block_linear"]),
    ("a misspelt policy", {"policy": "contigous"}, UNSUPPORTED, ["did you mean 'contiguous'?"]),
    ("a policy of another type", {"policy": 1}, MALFORMED, ["policy"]),
    ("another order", {"order": "col_major"}, UNSUPPORTED, ["'col_major'", "one of row_major"]),
]


@pytest.mark.parametrize(("raw", "code", "texts"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_wrong_schedule_is_refused(raw, code, texts):
    with refused(code, *texts) as caught:
        parse_user_schedule(raw)
    assert isinstance(caught.value, ScheduleError)
    assert caught.value.expected is not None


class TestAvailableCores:
    def test_all_of_the_device_row_by_row(self):
        assert UserSchedule().available_cores(N150) == tuple(rectangle(8, 8))

    def test_a_core_grid(self):
        assert UserSchedule(core_grid=(2, 1)).available_cores(N150) == ((0, 0), (1, 0))

    def test_core_ranges(self):
        ranges = ((6, 6, 7, 6), (0, 0, 0, 0))
        assert UserSchedule(core_ranges=ranges).available_cores(N150) == ((6, 6), (7, 6), (0, 0))

    def test_more_cores_than_there_are(self):
        with refused(Code.TOO_MANY_CORES, "128 cores", "at most 64", subject="core_grid"):
            UserSchedule(core_grid=(16, 8)).available_cores(N150)

    @pytest.mark.parametrize("schedule", [UserSchedule(core_grid=(9, 1)), UserSchedule(core_ranges=((0, 8, 0, 8),))])
    def test_cores_off_the_device(self, schedule):
        with refused(Code.CORE_OFF_DEVICE, "wormhole_n150") as caught:
            schedule.available_cores(N150)
        assert isinstance(caught.value, DeviceError)

    def test_overlapping_ranges(self):
        with refused(Code.CORE_RANGES_OVERLAP, "[0, 0, 1, 1] and [1, 1, 1, 1]", subject="core_ranges"):
            UserSchedule(core_ranges=((0, 0, 1, 1), (1, 1, 1, 1))).available_cores(N150)


class TestWorkGrid:
    def test_the_planes_rows_are_y_and_z_and_its_columns_x(self):
        grid = WorkGrid(gx=5, gy=3, gz=2)
        assert (grid.mt, grid.nt, grid.tiles) == (6, 5, 30)

    @pytest.mark.parametrize("extents", [(0, 1, 1), (1, -1, 1), (1, 1, True), (1.0, 1, 1)])
    def test_extents_are_positive_integers(self, extents):
        with refused(Code.BAD_VALUE, "launch grid"):
            WorkGrid(*extents)

    def test_tile_ids_have_32_bits(self):
        assert WorkGrid(2**31 - 1).tiles == 2**31 - 1
        with refused(Code.NUMBER_TOO_LARGE, str(2**31), "32-bit"):
            WorkGrid(2**16, 2**15)


class TestLegacy:
    GRID = WorkGrid(gx=4, gy=3)

    def attributes(self, ranges, **others):
        return {"tt_tiles_per_core": ranges, **others}

    def test_absent(self):
        assert parse_legacy_schedule({"tt_grid_x": 4, "other": 1}) is None

    def test_complete(self):
        attributes = self.attributes([[0, 8], [8, 4]], tt_num_cores=2, tt_grid_x=4, tt_grid_y=3, tt_grid_z=1)
        legacy = parse_legacy_schedule(attributes)
        assert legacy == LegacySchedule(((0, 8), (8, 4)), 2, (4, 3, 1))
        legacy.check(self.GRID)

    def test_cores_alone(self):
        assert parse_legacy_schedule({"tt_num_cores": 2}) == LegacySchedule(None, 2)

    def test_a_core_may_have_nothing_and_ranges_any_order(self):
        LegacySchedule(((8, 4), (0, 0), (0, 8), (12, 0))).check(self.GRID)

    @pytest.mark.parametrize(
        ("attributes", "text"),
        [
            ({"tt_tiles_per_core": []}, "[start, count] per core"),
            ({"tt_tiles_per_core": {}}, "[start, count] per core"),
            ({"tt_tiles_per_core": [[0, 8], [8]]}, "[8] for core number 1"),
            ({"tt_tiles_per_core": [[-1, 8]]}, "from 0 up"),
            ({"tt_tiles_per_core": [[0, True]]}, "[0, True] for core number 0"),
            ({"tt_num_cores": 0}, "tt_num_cores"),
            ({"tt_num_cores": 2, "tt_grid_x": "4"}, "tt_grid_x"),
        ],
    )
    def test_malformed(self, attributes, text):
        with refused(Code.SCHEDULE_MALFORMED, text):
            parse_legacy_schedule(attributes)

    def test_as_many_ranges_as_cores(self):
        with refused(Code.LEGACY_RANGES, "tt_num_cores 3, 2 ranges", subject="tt_tiles_per_core"):
            parse_legacy_schedule(self.attributes([[0, 8], [8, 4]], tt_num_cores=3))

    @pytest.mark.parametrize(
        ("ranges", "texts"),
        [
            ([(0, 8), (7, 5)], ["overlap", "[7, 5] of core number 1 and [0, 8] of core number 0"]),
            ([(7, 5), (0, 8)], ["overlap", "[7, 5] of core number 0 and [0, 8] of core number 1"]),
            ([(0, 12), (3, 2)], ["overlap", "[3, 2] of core number 1"]),
            ([(0, 4), (8, 4)], ["left out", "tiles 4 to 7, before [8, 4] of core number 1"]),
            ([(1, 11)], ["left out", "tile 0, before [1, 11]"]),
            ([(0, 8), (8, 3)], ["left out", "tile 11, after [8, 3] of core number 1"]),
            ([(0, 0)], ["left out", "tiles 0 to 11, after the first tile"]),
            ([(0, 8), (8, 5)], ["past the end", "[8, 5] of core number 1", "end at 12"]),
        ],
    )
    def test_ranges_that_are_no_partition_name_the_ones_at_fault(self, ranges, texts):
        with refused(Code.LEGACY_RANGES, *texts, subject="tt_tiles_per_core"):
            LegacySchedule(tuple(ranges)).check(self.GRID)

    @pytest.mark.parametrize(
        ("key", "grid"), [("tt_grid_x", (5, 3, 1)), ("tt_grid_y", (4, 4, 1)), ("tt_grid_z", (4, 3, 2))]
    )
    def test_a_schedule_for_another_grid(self, key, grid):
        with refused(Code.GRID_TILES_MISMATCH, key, subject=key):
            LegacySchedule(grid=grid).check(self.GRID)

    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any),
        st.randoms(use_true_random=False),
        st.data(),
    )
    def test_a_range_moved_or_resized_by_one_is_always_noticed(self, counts, random, data):
        ranges = [[sum(counts[:core]), count] for core, count in enumerate(counts)]
        random.shuffle(ranges)
        grid = WorkGrid(sum(counts))
        LegacySchedule(tuple((start, count) for start, count in ranges)).check(grid)
        victim = data.draw(st.sampled_from([row for row in ranges if row[1]]))
        victim[data.draw(st.integers(0, 1))] += data.draw(st.sampled_from([-1, 1]))
        with refused(Code.LEGACY_RANGES):
            LegacySchedule(tuple((start, count) for start, count in ranges)).check(grid)

    def test_the_default_is_what_the_partition_without_one_would_be(self):
        device, schedule = device_with(rectangle(3, 2)), UserSchedule(core_grid=(2, 2), num_cores=3)
        legacy = default_legacy_schedule(self.GRID, device, schedule)
        assert legacy == LegacySchedule(((0, 4), (4, 4), (8, 4)), 3, (4, 3, 1))
        with_it = partition(self.GRID, 1, device, schedule=schedule, legacy=legacy)
        assert with_it == partition(self.GRID, 1, device, schedule=schedule)

    def test_the_default_refuses_more_cores_than_there_are(self):
        with refused(Code.TOO_MANY_CORES, subject="num_cores"):
            default_legacy_schedule(self.GRID, N150, UserSchedule(num_cores=65))
