"""Devices: the table of products, user files, harvested variants, and what is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from partition_support import device_with, rectangle, refused

from tilelang_tt.devices import DEVICES_ENV, Device, NocGeometry, device_names, expand_ranges, load_device
from tilelang_tt.errors import Code

BUILTIN = {
    "wormhole_n150": (8, 8, 12),
    "wormhole_n150_full": (8, 9, 12),
    "wormhole_n300": (8, 7, 12),
    "wormhole_galaxy": (8, 9, 12),
    "blackhole_p150": (13, 10, 8),
    "blackhole_p100": (11, 10, 7),
}


def test_the_table_holds_the_real_products():
    assert set(device_names()) == set(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_product_has_its_grid_banks_and_rates(name):
    columns, rows, banks = BUILTIN[name]
    device = load_device(name)
    assert device.name == name
    assert device.cores == tuple(rectangle(columns, rows))
    assert device.grid == (columns, rows)
    assert device.dram_banks == banks
    wormhole = name.startswith("wormhole")
    assert device.l1_bytes == (1_499_136 if wormhole else 1_572_864)
    assert device.clock_ghz == (1.0 if wormhole else 1.35)
    rates = (device.dram_bytes_per_cycle, device.noc_link_bytes_per_cycle, device.core_port_bytes_per_cycle)
    assert rates == ((23.2, 30.0, 28.1) if wormhole else (40.0, 60.9, 60.9))


@pytest.mark.parametrize("name", sorted(set(BUILTIN) - {"blackhole_p100"}))
def test_no_worker_and_dram_bank_share_a_place_on_the_torus(name):
    device = load_device(name)
    assert device.noc is not None
    workers = {(device.noc.worker_columns[x], device.noc.worker_rows[y]) for x, y in device.cores}
    assert len(workers) == len(device.cores)
    assert workers.isdisjoint(device.noc.dram_banks)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_device_survives_json_and_plain_values(name):
    device = load_device(name)
    assert msgspec.json.decode(msgspec.json.encode(device), type=Device) == device
    assert load_device(device.to_dict()) == device
    assert load_device(device) is device


class TestCoreSets:
    def test_cores_are_kept_row_by_row_whatever_order_they_come_in(self):
        device = device_with([(1, 1), (0, 0), (1, 0)])
        assert device.row_major_cores == ((0, 0), (1, 0), (1, 1))
        assert device.column_major_cores == ((0, 0), (1, 0), (1, 1))
        assert device_with([(0, 1), (1, 0)]).column_major_cores == ((0, 1), (1, 0))

    def test_harvesting_leaves_the_coordinates_of_the_others(self):
        device = load_device("wormhole_n150").without(rows=[0], columns=[7], cores=[(3, 3)])
        assert len(device.cores) == 64 - 8 - 7 - 1
        assert device.grid == (7, 8)
        assert device.has_core((0, 1))
        assert (0, 0) not in device
        assert (7, 7) not in device
        assert (3, 3) not in device

    @pytest.mark.parametrize(
        ("gone", "text"),
        [({"rows": [8]}, "no row 8"), ({"columns": [9]}, "no column 9"), ({"cores": [(0, 8)]}, "no core (0, 8)")],
    )
    def test_only_what_is_there_can_be_taken_away(self, gone, text):
        with refused(Code.CORE_OFF_DEVICE, text):
            load_device("wormhole_n150").without(**gone)

    def test_one_core_must_be_left(self):
        with refused(Code.DEVICE_MALFORMED, "at least one core"):
            device_with([(0, 0)]).without(rows=[0])


class TestCoreRanges:
    def test_ranges_are_walked_in_their_order(self):
        device = device_with(rectangle(4, 4))
        assert expand_ranges(device, [(2, 2, 3, 3), (0, 0, 1, 0)], subject="s") == (
            *((2, 2), (3, 2), (2, 3), (3, 3)),
            *((0, 0), (1, 0)),
        )
        assert expand_ranges(device, [(2, 2, 3, 3)], subject="s", column_major=True) == ((2, 2), (2, 3), (3, 2), (3, 3))

    def test_a_range_off_the_device(self):
        with refused(Code.CORE_OFF_DEVICE, "core (4, 1) of range [3, 0, 4, 1]", "4 x 4 grid", subject="core_ranges"):
            expand_ranges(device_with(rectangle(4, 4)), [(3, 0, 4, 1)], subject="core_ranges")

    def test_a_range_over_a_harvested_core(self):
        with refused(Code.CORE_OFF_DEVICE, "core (1, 1)"):
            expand_ranges(device_with(rectangle(4, 4)).without(cores=[(1, 1)]), [(0, 0, 3, 3)], subject="s")

    def test_a_huge_range_is_refused_at_once(self):
        with refused(Code.CORE_OFF_DEVICE):
            expand_ranges(device_with(rectangle(4, 4)), [(0, 0, 10**9, 10**9)], subject="s")

    def test_overlapping_ranges(self):
        with refused(Code.CORE_RANGES_OVERLAP, "core (1, 1)", "[0, 0, 1, 1] and [1, 1, 2, 2]"):
            expand_ranges(device_with(rectangle(4, 4)), [(0, 0, 1, 1), (1, 1, 2, 2)], subject="s")


class TestUserFiles:
    @pytest.fixture
    def values(self):
        device = device_with([(0, 0)]).to_dict()
        del device["cores"], device["noc"]
        return {**device, "name": "mine", "core_ranges": [[0, 0, 2, 1]], "missing_cores": [[1, 1]]}

    def write(self, directory, values, name="mine"):
        path = directory / f"{name}.json"
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        return path

    def test_by_path_with_cores_as_rectangles_less_some(self, tmp_path, values):
        device = load_device(self.write(tmp_path, values))
        assert device.cores == ((0, 0), (1, 0), (2, 0), (0, 1), (2, 1))
        assert load_device(str(tmp_path / "mine.json")) == device

    def test_by_path_as_a_device_writes_itself(self, tmp_path):
        device = load_device("blackhole_p150")
        assert load_device(self.write(tmp_path, device.to_dict())) == device

    def test_by_name_from_directories_of_the_environment(self, tmp_path, values, monkeypatch):
        self.write(tmp_path, values)
        self.write(tmp_path, {**values, "name": "wormhole_n150"}, "wormhole_n150")
        monkeypatch.setenv(DEVICES_ENV, str(tmp_path))
        assert load_device("mine").grid == (3, 2)
        assert load_device("wormhole_n150").grid == (3, 2), "the user's file comes first"
        assert set(device_names()) == {*BUILTIN, "mine"}

    def test_an_environment_directory_must_exist(self, tmp_path, monkeypatch):
        monkeypatch.setenv(DEVICES_ENV, str(tmp_path / "absent"))
        with refused(Code.UNKNOWN_DEVICE, DEVICES_ENV, "absent"):
            load_device("wormhole_n150")

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"l1_byte": 3}, "l1_byte"),
            ({"arch": "grayskull"}, "grayskull"),
            ({"l1_bytes": True}, "bool"),
            ({"l1_bytes": 0}, "l1_bytes"),
            ({"clock_ghz": "1"}, "clock_ghz"),
            ({"core_ranges": None}, "neither cores nor core_ranges"),
            ({"cores": [[0, 0]]}, "both cores and core_ranges"),
            ({"core_ranges": [[2, 0, 0, 0]]}, "[2, 0, 0, 0]"),
            ({"core_ranges": [[2, 0, 1, 5]]}, "[2, 0, 1, 5]"),
            ({"core_ranges": [[0, 0, 1, 0], [0, 2, 5, 1]]}, "[0, 2, 5, 1]"),
            ({"core_ranges": [[0, 0, 1, 1], [0, 1, 2, 2]]}, "(0, 1) twice"),
            ({"core_ranges": [[-1, 0, 1, 1]]}, "coordinates from 0 up"),
            ({"core_ranges": [[0, 0, 1]]}, "core_ranges"),
            ({"missing_cores": [[9, 9]]}, "(9, 9)"),
        ],
    )
    def test_a_malformed_file_is_refused(self, tmp_path, values, change, text):
        with refused(Code.DEVICE_MALFORMED, text):
            load_device(self.write(tmp_path, {**values, **change}))

    @pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
    def test_a_file_that_is_no_json_object_is_refused(self, tmp_path, text):
        with refused(Code.DEVICE_MALFORMED, "mine.json"):
            load_device(self.write(tmp_path, text))

    def test_a_missing_field_is_named(self, tmp_path, values):
        del values["dram_banks"]
        with refused(Code.DEVICE_MALFORMED, "dram_banks"):
            load_device(self.write(tmp_path, values))


class TestUnknown:
    def test_a_misspelt_name_gets_the_nearest_one(self):
        with refused(Code.UNKNOWN_DEVICE, "did you mean 'wormhole_n150'?", "blackhole_p100", subject="wormhol_n150"):
            load_device("wormhol_n150")

    def test_a_name_like_none_gets_a_way_out(self):
        with refused(Code.UNKNOWN_DEVICE, DEVICES_ENV):
            load_device("zzz")

    def test_a_path_to_nothing(self):
        with refused(Code.UNKNOWN_DEVICE, "nowhere.json"):
            load_device("nowhere.json")

    def test_something_else(self):
        with refused(Code.UNKNOWN_DEVICE, "int"):
            load_device(3)  # pyright: ignore[reportArgumentType]

    def test_a_dictionary_with_a_missing_field(self):
        with refused(Code.DEVICE_MALFORMED, "arch"):
            load_device({"name": "x"})


@pytest.mark.parametrize(
    ("geometry", "text"),
    [
        ({"dram_banks": ((0, 0),)}, "8 coordinates"),
        ({"worker_columns": (1,)}, "at least 2"),
        ({"worker_rows": ()}, "at least 2"),
        ({"worker_columns": (1, 10)}, "x = 10"),
        ({"dram_banks": ((0, 12),) * 8}, "y = 12"),
    ],
)
def test_noc_geometry_must_fit_the_device(geometry, text):
    fits = {"torus": (10, 12), "dram_banks": ((0, 0),) * 8, "worker_columns": (1, 2), "worker_rows": (1, 2)}
    device_with(rectangle(2, 2), noc=NocGeometry(**fits))
    with refused(Code.DEVICE_MALFORMED, text):
        device_with(rectangle(2, 2), noc=NocGeometry(**{**fits, **geometry}))
