"""The cost model: routes, banks and shares against slow, obvious oracles, and what it says of known cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partition_support import device_with, rectangle

from tilelang_tt.devices import load_device
from tilelang_tt.partition import Access, UserSchedule, WorkGrid, cost_of, partition
from tilelang_tt.partition.cost import SAMPLES, Traffic, sampled_tiles
from tilelang_tt.partition.routes import link_loads

N150 = load_device("wormhole_n150")
P150 = load_device("blackhole_p150")
P100 = load_device("blackhole_p100")


def walk(noc, source, target, torus):
    """Every link of one route, hop by hop: (direction, node that it leaves on NoC 0 or enters on NoC 1)."""
    (x, y), links = source, []
    while noc == 0 and x != target[0]:
        links.append(("horizontal", (x, y)))
        x = (x + 1) % torus[0]
    while y != target[1]:
        step = (y + 1) % torus[1] if noc == 0 else (y - 1) % torus[1]
        links.append(("vertical", (x, y if noc == 0 else step)))
        y = step
    while x != target[0]:
        x = (x - 1) % torus[0]
        links.append(("horizontal", (x, y)))
    return links


nodes = st.tuples(st.integers(0, 4), st.integers(0, 6))


@given(st.integers(0, 1), st.lists(st.tuples(nodes, nodes, st.integers(1, 99)), min_size=1, max_size=8))
def test_links_carry_what_their_routes_add_up_to(noc, transfers):
    torus = (5, 7)
    expected = {"horizontal": np.zeros((7, 5)), "vertical": np.zeros((7, 5))}
    for source, target, amount in transfers:
        for direction, (x, y) in walk(noc, source, target, torus):
            expected[direction][y, x] += amount
    sources, targets, amounts = (np.array(column) for column in zip(*transfers, strict=True))
    found = link_loads(noc, sources, targets, amounts.astype(float), torus)
    np.testing.assert_allclose(found.horizontal, expected["horizontal"], atol=1e-9)
    np.testing.assert_allclose(found.vertical, expected["vertical"], atol=1e-9)


def test_noc_0_goes_east_then_south_and_noc_1_north_then_west():
    assert walk(0, (3, 3), (4, 4), (5, 5)) == [("horizontal", (3, 3)), ("vertical", (4, 3))]
    assert walk(1, (4, 4), (3, 3), (5, 5)) == [("vertical", (4, 3)), ("horizontal", (3, 3))]


SMALL = device_with(rectangle(3, 2), dram_banks=6)
extents = st.integers(1, 9)


@settings(max_examples=60)
@given(
    extents, extents, extents, extents, st.sampled_from([("M", "N"), ("M", None), (None, "N"), ("N", "M")]), st.data()
)
def test_pages_lie_on_the_banks_they_lie_on(mt, nt, height, width, axes, data):
    """Page by page: interleaved tensors and DRAM shards."""
    extent = {"M": mt, "N": nt, None: 1}
    matrix = tuple(size * extent[axis] for size, axis in zip((height, width), axes, strict=True))
    access = Access("X", 1, 0, matrix, (height, width), axes, 64)
    policy = data.draw(st.sampled_from(["contiguous", "block_2d", "block_cyclic"]))
    made = partition(WorkGrid(nt, mt), 1, SMALL, schedule=UserSchedule(policy=policy))
    banks = np.zeros(6)
    for core in made.cores:
        tiles = list(made.tiles(core))
        assert len(tiles) <= SAMPLES
        for m, n in tiles:
            index = {"M": m, "N": n, None: 0}
            for r in range(height):
                for c in range(width):
                    page = (index[axes[0]] * height + r) * matrix[1] + index[axes[1]] * width + c
                    banks[page % 6] += 64
    cost = cost_of(made, SMALL, [access], 1.0)
    term = next(term for term in cost.terms if term.kind == "DRAM")
    assert term.bytes == pytest.approx(banks.max())
    assert sum(cost.bytes_read.values()) == pytest.approx(banks.sum())


def test_one_tile_wide_blocks_reach_only_some_banks():
    """16 columns of tiles on 12 banks: a column lies on banks / gcd(16, 12) = 3 of them."""
    access = Access("B", 1, 0, (120, 16), (120, 1), (None, "N"), 2048)
    made = partition(WorkGrid(16), 120, N150, schedule=UserSchedule(num_cores=1))
    assert cost_of(made, N150, [access], 0.0).busiest.bytes >= 120 * 16 * 2048 / 12
    first = partition(WorkGrid(1), 120, N150)
    dram = next(term for term in cost_of(first, N150, [access], 0.0).terms if term.kind == "DRAM")
    assert dram.bytes == 120 * 2048 / 3


def test_shards_in_dram_lie_on_the_banks_in_turn():
    access = Access("B", 1, 0, (4, 24), (4, 2), (None, "N"), 64, shard=(4, 2))
    made = partition(WorkGrid(12), 1, N150)
    dram = next(term for term in cost_of(made, N150, [access], 0.0).terms if term.kind == "DRAM")
    assert dram.bytes == 4 * 2 * 64


def test_shards_on_other_cores_come_out_of_their_ports():
    cores = ((7, 7), (6, 7))
    access = Access("A", 1, 0, (8, 4), (1, 4), ("M", None), 64, "L1", (4, 4), cores)
    made = partition(WorkGrid(1, 8), 1, N150)
    cost = cost_of(made, N150, [access], 0.0)
    out = next(term for term in cost.terms if term.kind == "core output")
    assert (out.bytes, out.where) == (4 * 4 * 64, "core (6, 7)")
    assert next(term for term in cost.terms if term.kind == "DRAM").bytes == 0


def test_a_shard_on_the_core_itself_costs_nothing():
    access = Access("A", 1, 1, (1, 4), (1, 4), ("M", None), 64, "L1", (1, 4), ((0, 0),))
    made = partition(WorkGrid(1), 1, N150)
    assert cost_of(made, N150, [access], 5.0).cycles == 5.0


def test_without_geometry_there_are_no_link_terms():
    access = Access("A", 1, 1, (8, 8), (1, 1), ("M", "N"), 2048)
    kinds = [term.kind for term in cost_of(partition(WorkGrid(8, 8), 1, P100), P100, [access], 1.0).terms]
    assert kinds == ["DRAM", "core input", "core output"]
    kinds = [term.kind for term in cost_of(partition(WorkGrid(8, 8), 1, P150), P150, [access], 1.0).terms]
    assert kinds == ["DRAM", "core input", "core output", "NoC 0", "NoC 1"]


def test_many_tiles_are_sampled_with_their_weight():
    made = partition(WorkGrid(1000, 1000), 1, N150, schedule=UserSchedule(policy="block_2d"))
    m, n, weights = sampled_tiles(made)
    assert m.shape == (64, SAMPLES)
    np.testing.assert_allclose(weights.sum(axis=1), [row[5] for row in made.core_ranges])
    for row, core in enumerate(made.cores):
        assert all(made.owner(*tile) == core for tile in zip(m[row].tolist(), n[row].tolist(), strict=True))


def test_own_reads_of_a_large_gemm_are_within_the_models_error_of_the_estimator():
    """4096^3 in blocks of 8 x 8 tiles on 64 Wormhole cores, every core reading its own: tt-npe says 5413 kcycles."""
    moved = [
        Access("A", 1, 0, (128, 128), (8, 128), ("M", None), 2048),
        Access("B", 1, 0, (128, 128), (128, 8), (None, "N"), 2048),
        Access("C", 0, 1, (128, 128), (8, 8), ("M", "N"), 2048),
    ]
    made = partition(WorkGrid(16, 16), 128, N150)
    cost = cost_of(made, N150, moved, 8 * 8 * 128 * 32)
    assert cost.cycles == pytest.approx(5_413_000, rel=0.063)
    assert cost.compute == pytest.approx(1_049_000, rel=0.001)
    assert cost.bound == "NoC 0"


def test_traffic_adds_up():
    traffic = Traffic(N150)
    traffic.dram(np.array([0, 1]), np.ones((2, 12)), write=False)
    traffic.dram(np.array([1]), np.ones((1, 12)), write=True)
    terms = {term.kind: term for term in traffic.terms()}
    assert (terms["DRAM"].bytes, terms["core input"].bytes, terms["core output"].bytes) == (3, 12, 12)
