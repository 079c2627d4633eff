"""WorkPartition: asking it, its forms, and a verifier that no changed value gets past."""

from __future__ import annotations

import copy
import dataclasses

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from partition_support import device_with, devices, oracle_shard_cores, rectangle, refused, sharded_buffers

from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, PartitionError, TTError
from tilelang_tt.partition import UserSchedule, WorkGrid, WorkPartition, partition
from tilelang_tt.program.spec import PartitionSpec

N150 = load_device("wormhole_n150")
SMALL = device_with([(0, 0), (1, 0), (0, 1), (1, 1), (3, 1)], name="small")
KT = 6


def global_partition():
    return partition(WorkGrid(gx=3, gy=3), KT, SMALL)


def local_partition():
    schedule = UserSchedule("local_shard", shard_grid=(2, 2), local_shape_tiles=(2, 2))
    made = partition(WorkGrid(gx=3, gy=3), KT, SMALL, schedule=schedule)
    return dataclasses.replace(made, driving_buffer="C", resident_buffers=("A", "C"))


BOTH = pytest.mark.parametrize("made", [global_partition(), local_partition()], ids=["global", "local_shard"])


@st.composite
def partitions(draw):
    """(partition, device) of any mode."""
    device = draw(devices())
    if draw(st.booleans()):
        grid = WorkGrid(draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.integers(1, 3)))
        return partition(grid, KT, device), device
    c, tiles, nd_shard = draw(sharded_buffers())
    assume(oracle_shard_cores(nd_shard["grid"], device))
    return partition(WorkGrid(tiles[1], tiles[0]), KT, device, [c]), device


class TestAsking:
    def test_owner_and_tiles(self):
        made = local_partition()
        assert made.owner(2, 2) == (1, 1)
        assert list(made.tiles((0, 1))) == [(2, 0), (2, 1)]
        assert list(made.tiles((3, 1))) == [], "a core without work"

    @pytest.mark.parametrize("tile", [(3, 0), (0, 3), (-1, 0)])
    def test_no_such_tile(self, tile):
        with refused(Code.BAD_VALUE, "3 x 3"):
            global_partition().owner(*tile)

    def test_the_payload_is_in_the_order_of_the_argument_names(self):
        assert global_partition().core_payload((1, 0)) == (2, 2, 3, KT, 3)
        made = local_partition()
        named = dict(zip(made.runtime_arg_names, made.core_payload((1, 0)), strict=True))
        assert named == {
            **{"tt_start_tile": 0, "tt_tile_count": 2, "Mt": 3, "Kt": KT, "Nt": 3, "Sm": 2, "Sn": 2, "Gy": 2, "Gx": 2},
            **{"tt_shard_coord_y": 0, "tt_shard_coord_x": 1},
        }

    def test_a_core_without_work_has_no_payload(self):
        with refused(Code.BAD_VALUE, "(3, 1) has no work"):
            local_partition().core_payload((3, 1))

    def test_the_core_map(self):
        assert global_partition().core_map(SMALL).splitlines() == [
            "global: 3 x 3 work tiles on 5 of 5 cores of small",
            "    0 1 2 3",
            "  0 2 2",
            "  1 2 2   1",
        ]
        assert local_partition().core_map(SMALL).splitlines()[2:] == ["  0 4 2", "  1 2 1   ."]


class TestForms:
    @given(partitions())
    def test_attributes_and_spec_give_back_the_same_partition(self, case):
        made, device = case
        again = WorkPartition.from_attrs(made.to_attrs())
        assert again == made
        again.verify(device, kt=KT)
        spec = msgspec.json.decode(msgspec.json.encode(made.to_spec()), type=PartitionSpec)
        assert WorkPartition.from_spec(spec) == made

    def test_attributes_are_plain(self):
        values = local_partition().to_attrs()
        assert values == {
            "tt.partition_mode": "local_shard",
            "tt.grid_tiles": [3, 3],
            "tt.shard_grid": [2, 2],
            "tt.local_shape_tiles": [2, 2],
            "tt.runtime_arg_names": [
                *["tt_start_tile", "tt_tile_count", "Mt", "Kt", "Nt"],
                *["Sm", "Sn", "Gy", "Gx", "tt_shard_coord_y", "tt_shard_coord_x"],
            ],
            "tt.runtime_constants": {"Mt": 3, "Kt": KT, "Nt": 3, "Sm": 2, "Sn": 2, "Gy": 2, "Gx": 2},
            "tt.core_ranges": [[0, 0, 0, 0, 0, 4], [1, 0, 1, 0, 0, 2], [0, 1, 0, 1, 0, 2], [1, 1, 1, 1, 0, 1]],
            "tt_core_runtime_args": [[0, 4, 0, 0], [0, 2, 0, 1], [0, 2, 1, 0], [0, 1, 1, 1]],
            "tt.driving_buffer": "C",
            "tt.resident_buffers": ["A", "C"],
        }
        assert "tt.driving_buffer" not in global_partition().to_attrs()

    @pytest.mark.parametrize("key", sorted(set(local_partition().to_attrs()) - {"tt.driving_buffer"}))
    def test_a_missing_attribute(self, key):
        values = local_partition().to_attrs()
        del values[key]
        with refused(Code.METADATA_MISSING, key, "LayoutAwareWorkPartitionTT", subject=key):
            WorkPartition.from_attrs(values)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("tt.partition_mode", 1),
            ("tt.grid_tiles", [3]),
            ("tt.grid_tiles", [3, True]),
            ("tt.shard_grid", "22"),
            ("tt.local_shape_tiles", None),
            ("tt.runtime_arg_names", "Mt"),
            ("tt.runtime_arg_names", [1]),
            ("tt.runtime_constants", [3]),
            ("tt.runtime_constants", {"Mt": 3.0}),
            ("tt.core_ranges", 4),
            ("tt.core_ranges", [[0, 0, 0, 0, 0]]),
            ("tt_core_runtime_args", [3]),
            ("tt_core_runtime_args", [["0"]]),
            ("tt.driving_buffer", ["C"]),
            ("tt.resident_buffers", "C"),
        ],
    )
    def test_an_ill_typed_attribute(self, key, value):
        with refused(Code.PARTITION_INVALID, "malformed", subject=key):
            WorkPartition.from_attrs({**local_partition().to_attrs(), key: value})


def places(value, path=()):
    """The path to every single value in nested lists and dictionaries."""
    if isinstance(value, (list, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, item in items for place in places(item, (*path, key))]
    return [path]


def changed(values, path, new):
    values = copy.deepcopy(values)
    parent = values
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = new(parent[path[-1]])
    return values


def rejected(values, device, kt=KT):
    try:
        WorkPartition.from_attrs(values).verify(device, kt=kt)
    except PartitionError as error:
        return error.code in (Code.PARTITION_INVALID, Code.METADATA_MISSING)
    return False


class TestVerify:
    @BOTH
    def test_every_single_value_counts(self, made):
        """No value can be changed unnoticed, but for the name of a resident buffer that does not drive."""
        values = made.to_attrs()
        made.verify(SMALL, kt=KT)
        for path in places(values):
            old = values
            for key in path:
                old = old[key]
            if isinstance(old, str):
                if path != ("tt.resident_buffers", 0):
                    assert rejected(changed(values, path, lambda text: text + "x"), SMALL), path
                continue
            for new in {*range(-1, 10), old + 2**32, 2**32} - {old}:
                assert rejected(changed(values, path, lambda _, new=new: new), SMALL), (path, new)

    @given(partitions(), st.data())
    def test_nor_in_any_other_partition(self, case, data):
        made, device = case
        values = made.to_attrs()
        numbers = [path for path in places(values) if path[0] not in ("tt.partition_mode", "tt.runtime_arg_names")]
        numbers = [path for path in numbers if path[0] not in ("tt.driving_buffer", "tt.resident_buffers")]
        path = data.draw(st.sampled_from(numbers))
        change = data.draw(st.integers(-40, 40).filter(bool))
        assert rejected(changed(values, path, lambda old: old + change), device), (path, change)

    @BOTH
    @pytest.mark.parametrize("key", ["tt.core_ranges", "tt_core_runtime_args", "tt.runtime_arg_names"])
    def test_rows_and_names_can_be_neither_dropped_nor_doubled_nor_swapped(self, made, key):
        values = made.to_attrs()
        rows = values[key]
        for wrong in (rows[:-1], rows[1:], [*rows, rows[0]], [rows[1], rows[0], *rows[2:]], []):
            assert rejected({**values, key: wrong}, SMALL), wrong

    @BOTH
    def test_both_lists_of_rows_can_be_neither_shortened_nor_lengthened(self, made):
        values = made.to_attrs()
        both = ("tt.core_ranges", "tt_core_runtime_args")
        for new in (lambda rows: rows[:-1], lambda rows: rows[1:], lambda rows: [*rows, rows[-1]]):
            assert rejected({**values, **{key: new(values[key]) for key in both}}, SMALL)

    @BOTH
    def test_rows_may_come_in_any_order(self, made):
        values = made.to_attrs()
        both = ("tt.core_ranges", "tt_core_runtime_args")
        assert not rejected({**values, **{key: values[key][::-1] for key in both}}, SMALL)

    @BOTH
    def test_constants_can_be_neither_dropped_nor_added(self, made):
        values = made.to_attrs()
        constants = values["tt.runtime_constants"]
        for name in constants:
            assert rejected(
                {**values, "tt.runtime_constants": {k: constants[k] for k in constants if k != name}}, SMALL
            )
        assert rejected({**values, "tt.runtime_constants": {**constants, "Xt": 1}}, SMALL)

    @pytest.mark.parametrize(
        ("made", "change", "texts"),
        [
            (global_partition(), {"mode": "local"}, ["tt.partition_mode", "local"]),
            (global_partition(), {"shard_grid": (2, 1)}, ["tt.shard_grid", "[1, 1]"]),
            (global_partition(), {"grid_tiles": (2**16, 2**16)}, ["tt.grid_tiles", "32 bits"]),
            (global_partition(), {"driving_buffer": "C"}, ["tt.driving_buffer", "global"]),
            (local_partition(), {"driving_buffer": None}, ["tt.driving_buffer"]),
            (local_partition(), {"driving_buffer": "B"}, ["tt.driving_buffer", "['A', 'C']"]),
            (local_partition(), {"resident_buffers": ("C", "C")}, ["tt.resident_buffers", "twice"]),
            (local_partition(), {"shard_grid": (1, 2)}, ["tt.shard_grid", "does not cover"]),
        ],
    )
    def test_what_is_wrong_is_named(self, made, change, texts):
        with refused(Code.PARTITION_INVALID, *texts, subject=texts[0]):
            dataclasses.replace(made, **change).verify(SMALL)

    @pytest.mark.parametrize(
        ("ranges", "text"),
        [
            ([(0, 4), (3, 5)], "gives a work tile to two cores"),
            ([(0, 4), (5, 4)], "leaves work tiles out"),
            ([(0, 4), (4, 4)], "leaves work tiles out"),
            ([(0, 4), (4, 6)], "runs past the last work tile"),
            ([(0, 9), (9, 0)], "core without work"),
        ],
    )
    def test_ranges_that_are_no_partition(self, ranges, text):
        rows = tuple((x, 0, x, 0, start, count) for x, (start, count) in enumerate(ranges))
        made = dataclasses.replace(global_partition(), core_ranges=rows, core_runtime_args=tuple(ranges))
        with refused(Code.PARTITION_INVALID, text):
            made.verify(SMALL)

    @pytest.mark.parametrize(
        ("args", "text"),
        [
            ([(0, 4, 0, 0), (0, 4, 0, 0), (0, 2, 1, 0), (0, 1, 1, 1)], "gives shard (0, 0) to two cores"),
            ([(0, 4, 0, 0), (0, 2, 0, 2), (0, 2, 1, 0), (0, 1, 1, 1)], "outside tt.shard_grid"),
            ([(0, 4, 0, 0), (1, 2, 0, 1), (0, 2, 1, 0), (0, 1, 1, 1)], "whole shard (0, 1)"),
            ([(0, 4, 0, 0), (0, 2, 0, 1), (0, 2, 1, 0)], "leaves shards out"),
        ],
    )
    def test_shards_that_are_no_partition(self, args, text):
        rows = tuple((x, y, x, y, *arg[:2]) for (x, y), arg in zip(rectangle(2, 2), args, strict=False))
        made = dataclasses.replace(local_partition(), core_ranges=rows, core_runtime_args=tuple(args))
        with refused(Code.PARTITION_INVALID, text):
            made.verify(SMALL)

    def test_the_device_counts(self):
        made = partition(WorkGrid(64), KT, N150)
        made.verify(N150)
        with refused(Code.PARTITION_INVALID, "not on device 'wormhole_n150'", "[3, 3, 3, 3"):
            made.verify(N150.without(cores=[(3, 3)]))

    def test_kt_counts_where_it_is_known(self):
        made = global_partition()
        made.verify(SMALL)
        with refused(Code.PARTITION_INVALID, "tt.runtime_constants", "'Kt': 7"):
            made.verify(SMALL, kt=7)

    def test_one_reduction_step_is_the_least(self):
        partition(WorkGrid(3), 1, SMALL).verify(SMALL)
        made = dataclasses.replace(partition(WorkGrid(3), 1, SMALL), runtime_constants={"Mt": 1, "Kt": 0, "Nt": 3})
        with refused(Code.PARTITION_INVALID, "no sound Kt"):
            made.verify(SMALL)

    def test_every_rejection_is_of_the_packages_family(self):
        with pytest.raises(TTError):
            dataclasses.replace(global_partition(), core_runtime_args=()).verify(SMALL)
