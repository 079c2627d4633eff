"""Shards that are dealt out to cores and DRAM banks, several to each, in any number of dimensions."""

import itertools

import kernels
import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from partition_support import assert_is, device_with, oracle_sharded, placed, rectangle, refused

import tilelang_tt as tt
from tilelang_tt import attrs
from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code
from tilelang_tt.layout import block_sharded, height_sharded, nd_sharded, parse_user_layout, project
from tilelang_tt.layout.placement import ShardHolders, shard_holders
from tilelang_tt.layout.shards import stored_shards
from tilelang_tt.partition import UserSchedule, WorkGrid, partition, repartition
from tilelang_tt.program.consistency import check

BF16 = np.dtype(ml_dtypes.bfloat16)
N150 = load_device("wormhole_n150")
ORIENTATIONS = st.sampled_from(["row_major", "col_major"])


def parse(raw, shape):
    return parse_user_layout("C", raw, shape, "bfloat16")


def holders(raw, shape, device=N150):
    layout = parse(raw, shape)
    stored = stored_shards(layout.nd_shard, shape)
    return shard_holders(stored.grid, layout.nd_shard, layout.memory, device, subject="C")


# ---- who holds which shard -------------------------------------------------------------------------------------------


class TestHolders:
    def test_round_robin(self):
        raw = block_sharded((256, 128), (8, 4), distribution="round_robin", core_ranges=[[3, 3, 3, 3], [0, 0, 1, 1]])
        found = holders(raw, (256, 128))
        assert found.cores == ((3, 3), (0, 0), (1, 0), (0, 1), (1, 1))
        assert (found.shards, found.per_core, found.step) == (32, 7, 5)
        assert found.core_of(7) == (1, 0)

    def test_all_cores_of_the_device_where_none_are_named(self):
        found = holders(height_sharded((32 * 100, 32), 100, distribution="round_robin"), (3200, 32))
        assert found.cores == tuple(rectangle(8, 8))
        by_column = height_sharded((3200, 32), 100, distribution="round_robin", orientation="col_major")
        assert holders(by_column, (3200, 32)).cores == N150.column_major_cores

    def test_fewer_shards_than_cores(self):
        raw = height_sharded((96, 32), 3, distribution="round_robin", core_ranges=[[0, 0, 7, 0]])
        assert holders(raw, (96, 32)) == ShardHolders(((0, 0), (1, 0), (2, 0)), 3)

    def test_contiguous(self):
        raw = height_sharded((192, 32), 6, distribution="contiguous", core_ranges=[[0, 0, 2, 0]])
        found = holders(raw, (192, 32))
        assert [found.core_of(shard)[0] for shard in range(6)] == [0, 0, 1, 1, 2, 2]
        with refused(Code.ND_SHARD_MALFORMED, "6 shards on 4 cores", subject="C"):
            holders(height_sharded((192, 32), 6, distribution="contiguous", core_ranges=[[0, 0, 3, 0]]), (192, 32))

    def test_one_per_core_is_the_default_in_l1_and_its_error_names_the_way_out(self):
        with refused(Code.TOO_MANY_SHARDS, "100 shards", "at most 64", "round_robin"):
            holders(height_sharded((3200, 32), 100), (3200, 32))

    def test_dram_shards_go_round_the_banks(self):
        assert holders(height_sharded((3200, 32), 100, "DRAM"), (3200, 32)).core_of(13) == (1, 0)
        few = holders(height_sharded((3200, 32), 100, "DRAM", banks=[5, 2]), (3200, 32))
        assert few.cores == ((5, 0), (2, 0))
        with refused(Code.TOO_MANY_SHARDS, "DRAM banks", "at most 12"):
            holders(height_sharded((3200, 32), 100, "DRAM", distribution="one_per_core"), (3200, 32))
        with refused(Code.BAD_VALUE, "found: 12", "0 to 11"):
            holders(height_sharded((3200, 32), 100, "DRAM", banks=[3, 12]), (3200, 32))

    @pytest.mark.parametrize(
        ("memory", "extra", "texts"),
        [
            ("L1", {"distribution": "round-robin"}, ["round_robin"]),
            ("L1", {"distribution": "round_robin", "order": "col_major"}, ["dealt out row by row", "orientation"]),
            ("DRAM", {"order": "col_major"}, ["dealt out row by row"]),
            ("L1", {"banks": [0]}, ["memory: L1"]),
            ("DRAM", {"banks": [0, 0]}, ["each once"]),
            ("DRAM", {"banks": []}, ["each once"]),
            ("DRAM", {"banks": [-1]}, ["each once"]),
            ("DRAM", {"core_ranges": [[0, 0, 1, 0]]}, ["lie on no core", "banks"]),
        ],
    )
    def test_what_is_malformed_is_refused(self, memory, extra, texts):
        raw = block_sharded((64, 64), (2, 2), memory)
        with refused(Code.ND_SHARD_MALFORMED, *texts, subject="C"):
            parse({**raw, "nd_shard": {**raw["nd_shard"], **extra}}, (64, 64))

    def test_a_layout_survives_its_dictionary(self):
        for raw in (
            block_sharded((64, 64), (2, 2), distribution="contiguous"),
            block_sharded((64, 64), (2, 2), "DRAM", banks=[3, 1]),
        ):
            layout = parse(raw, (64, 64))
            assert parse(layout.to_dict(), (64, 64)) == layout

    @pytest.mark.parametrize(("shape", "shard"), [((64,), (32, 32)), ((), ()), ((64, 64), (0, 32)), (64, 32)])
    def test_the_constructor_refuses_wrong_numbers(self, shape, shard):
        with refused(Code.BAD_VALUE, "one per dimension"):
            nd_sharded(shape, shard)


# ---- how shards are stored -------------------------------------------------------------------------------------------


def oracle_pages(tiles, shard, cores):
    """Every tile -> (core, place there), as ttnn distributes an array: shards in turn, tiles of a shard row by row."""
    grid = [-(-size // part) for size, part in zip(tiles, shard, strict=True)]
    found = {}
    for number, corner in enumerate(itertools.product(*(range(parts) for parts in grid))):
        for place, inside in enumerate(itertools.product(*(range(part) for part in shard))):
            tile = tuple(c * part + i for c, part, i in zip(corner, shard, inside, strict=True))
            if all(t < size for t, size in zip(tile, tiles, strict=True)):
                volume = int(np.prod(shard))
                found[tile] = (number % cores, number // cores * volume + place)
    return found


@given(st.data())
def test_stored_shards_lie_as_those_of_the_tensor(data):
    """A matrix stands for a tensor only where every tile lies on the same core, at the same place."""
    tiles = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    shard = [data.draw(st.integers(1, 5)) for _ in tiles]
    shape = (*tiles[:-2], *(32 * size for size in tiles[-2:]))
    elems = (*shard[:-2], *(32 * size for size in shard[-2:]))
    layout = parse(nd_sharded(shape, elems, "DRAM", axes=["B"] * (len(tiles) - 2) + ["M", "N"]), shape)
    stored = stored_shards(layout.nd_shard, shape)
    cores = data.draw(st.integers(1, 5))
    expected = oracle_pages(tiles, shard, cores)
    seen = (int(np.prod(tiles[:-1])), tiles[-1]) if stored.is_matrix else tuple(tiles)
    found = oracle_pages(seen, stored.shard_tiles, cores)
    assert list(stored.grid) == [-(-size // part) for size, part in zip(seen, stored.shard_tiles, strict=True)]
    for tile, place in expected.items():
        folded = (int(np.ravel_multi_index(tile[:-1], tiles[:-1])), tile[-1]) if stored.is_matrix else tile
        assert found[folded] == place, (tile, stored)


def test_a_matrix_where_there_is_one():
    def grid(shape, shard):
        return stored_shards(parse(nd_sharded(shape, shard), shape).nd_shard, shape).grid

    assert grid((3, 64, 96), (1, 32, 64)) == (6, 2)
    assert grid((3, 96, 96), (1, 64, 64)) == (3, 2, 2), "an uneven last shard of every batch"
    assert grid((3, 64, 96), (2, 64, 64)) == (2, 2), "whole matrices, uneven"
    assert grid((3, 64, 96), (2, 32, 64)) == (2, 2, 2)
    assert grid((1, 96, 96), (1, 64, 64)) == (2, 2)
    assert grid((2, 3, 64, 96), (1, 1, 64, 96)) == (6, 1)
    assert grid((2, 3, 64, 96), (1, 2, 64, 96)) == (2, 2, 1, 1)
    assert grid((300,), (64,)) == (1, 5)


# ---- which core works on what ----------------------------------------------------------------------------------------


def dealt(tiles, shard, block=(32, 32), name="C", *, written=True, **options):
    """A matrix of ``tiles`` work tiles, cut into shards of ``shard``, and the plane."""
    shape = tuple(size * step for size, step in zip(tiles, block, strict=True))
    elems = [size * step for size, step in zip(shard, block, strict=True)]
    raw = nd_sharded(shape, elems, **options)["nd_shard"]
    return placed(name, raw, shape, ("M", "N"), block, tiles, written=written)


def oracle_in_turn(tiles, shard, walk, *, runs=False):
    grid = [-(-size // part) for size, part in zip(tiles, shard, strict=True)]
    shards = list(itertools.product(range(grid[0]), range(grid[1])))
    per_core = -(-len(shards) // len(walk))
    core_of = {index: walk[number // per_core if runs else number % len(walk)] for number, index in enumerate(shards)}
    return oracle_sharded(tiles, shard, core_of)


@given(st.data())
def test_a_work_tile_is_on_the_core_that_holds_its_shard(data):
    columns, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    device = device_with(rectangle(columns, rows))
    tiles = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shard = tuple(data.draw(st.integers(1, size)) for size in tiles)
    orientation = data.draw(ORIENTATIONS)
    order = data.draw(st.sampled_from(["row_major", "column_major", "block_linear(2)"]))
    buffer = dealt(tiles, shard, distribution="round_robin", orientation=orientation)
    walk = device.column_major_cores if orientation == "col_major" else device.row_major_cores
    made = partition(WorkGrid(tiles[1], tiles[0]), 3, device, [buffer], UserSchedule(order=order))
    assert_is(made, oracle_in_turn(tiles, shard, walk), device)
    assert (made.driving_buffer, made.resident_buffers) == ("C", ("C",))


@given(st.data())
def test_runs_of_shards(data):
    cores, each = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    device = device_with(rectangle(cores, 1))
    shard = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    rest = [data.draw(st.integers(0, size - 1)) for size in shard]
    tiles = (shard[0] * cores - rest[0], shard[1] * each - rest[1])
    made = partition(WorkGrid(tiles[1], tiles[0]), 1, device, [dealt(tiles, shard, distribution="contiguous")])
    assert_is(made, oracle_in_turn(tiles, shard, device.row_major_cores, runs=True), device)


def test_the_attributes_of_several_shards_per_core():
    cores = [[1, 1, 2, 1]]
    buffer = dealt((5, 4), (2, 2), distribution="round_robin", core_ranges=cores)
    made = partition(WorkGrid(4, 5), 7, N150, [buffer])
    assert made.to_attrs() == {
        "tt.partition_mode": "local_shard",
        "tt.grid_tiles": [5, 4],
        "tt.shard_grid": [3, 2],
        "tt.local_shape_tiles": [2, 2],
        "tt.runtime_arg_names": [*attrs.LOCAL_SHARD_ARGS, "tt_shards_per_core", "tt_shard_step"],
        "tt.runtime_constants": {
            **{"Mt": 5, "Kt": 7, "Nt": 4, "Sm": 2, "Sn": 2, "Gy": 3, "Gx": 2},
            **{"tt_shards_per_core": 3, "tt_shard_step": 2},
        },
        "tt.core_ranges": [[1, 1, 1, 1, 0, 10], [2, 1, 2, 1, 0, 10]],
        "tt_core_runtime_args": [[0, 10, 0, 0], [0, 10, 0, 1]],
        "tt.driving_buffer": "C",
        "tt.resident_buffers": ["C"],
        "tt.policy": "shards_in_turn",
    }
    assert list(made.tiles((2, 1)))[:5] == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 2)]
    assert tt.WorkPartition.from_attrs(made.to_attrs()) == made
    assert tt.WorkPartition.from_spec(made.to_spec()) == made


def test_one_shard_per_core_needs_no_more_arguments():
    raw = {"core_ranges": [[0, 0, 3, 0]]}
    in_turn = partition(WorkGrid(4, 1), 1, N150, [dealt((1, 4), (1, 1), distribution="round_robin", **raw)])
    assert in_turn == partition(WorkGrid(4, 1), 1, N150, [dealt((1, 4), (1, 1), **raw)])


class TestOtherBuffers:
    CORES = ((0, 0, 2, 0),)

    def run(self, *buffers, **options):
        return partition(WorkGrid(4, 4), 1, N150, list(buffers), **options)

    def test_the_same_shards_are_in_place(self):
        options = {"distribution": "round_robin", "core_ranges": self.CORES}
        a, c = (dealt((4, 4), (1, 2), name=name, written=name == "C", **options) for name in "AC")
        assert self.run(a, c).resident_buffers == ("A", "C")

    def test_other_cores_are_refused_with_both_maps(self):
        c = dealt((4, 4), (1, 2), distribution="round_robin", core_ranges=self.CORES)
        a = dealt((4, 4), (1, 2), name="A", written=False, distribution="round_robin", core_ranges=[[0, 1, 2, 1]])
        with refused(Code.SHARD_GRID_MISMATCH, "A: 4 x 2 shards", "C: 4 x 2 shards", "(0, 1)", subject="A"):
            self.run(a, c)
        assert self.run(a, c, driver="A").resident_buffers == ("A",)

    def test_a_vector_for_some_of_a_cores_shards_is_read_over_the_network(self):
        c = dealt((4, 4), (2, 4), distribution="round_robin", core_ranges=[[0, 0, 0, 0]])
        raw = nd_sharded((128,), (128,), core_ranges=[[0, 0, 0, 0]])["nd_shard"]
        v = placed("V", raw, (128,), ("N",), (32,), (4, 4))
        assert self.run(v, c).resident_buffers == ("C",)

    def test_shards_numbered_along_m_first_cannot_be_worked_on_in_turn(self):
        raw = nd_sharded((128, 128), (32, 32), axes=("N", "M"), distribution="round_robin", core_ranges=self.CORES)
        written = placed("C", raw["nd_shard"], (128, 128), ("N", "M"), (32, 32), (4, 4), written=True)
        with refused(Code.LAYOUT_UNSUPPORTED, "another order than that of the work plane", "global", subject="C"):
            self.run(written)
        read = placed("A", raw["nd_shard"], (128, 128), ("N", "M"), (32, 32), (4, 4))
        assert self.run(read).mode == "global"
        assert self.run(written, schedule=UserSchedule("global")).mode == "global"

    def test_num_cores_counts_cores(self):
        c = dealt((4, 4), (1, 2), distribution="round_robin", core_ranges=self.CORES)
        assert len(self.run(c, schedule=UserSchedule(num_cores=3)).cores) == 3
        with refused(Code.SCHEDULE_CONFLICT, "shards on 3 cores", "at most 2"):
            self.run(c, schedule=UserSchedule(num_cores=2))


def test_the_verifier_catches_every_change():
    buffer = dealt((5, 4), (2, 2), distribution="round_robin", core_ranges=[[1, 1, 2, 1]])
    made = partition(WorkGrid(4, 5), 7, N150, [buffer])
    values = made.to_attrs()

    def verify(**changes):
        tt.WorkPartition.from_attrs({**values, **changes}).verify(N150, kt=7)

    verify()
    for name, value in values["tt.runtime_constants"].items():
        for wrong in {0, 1, 2, 3, 4, 6, value + 1, 10**6} - {value}:
            with refused(Code.PARTITION_INVALID):
                verify(**{"tt.runtime_constants": {**values["tt.runtime_constants"], name: wrong}})
    for change in (
        {"tt.policy": "contiguous"},
        {"tt.policy": "block_cyclic(2)"},
        {"tt.runtime_arg_names": list(attrs.LOCAL_SHARD_ARGS)},
        {"tt_core_runtime_args": [[0, 10, 0, 1], [0, 10, 0, 1]]},
        {"tt_core_runtime_args": [[0, 10, 0, 0], [0, 10, 1, 0]]},
        {
            "tt_core_runtime_args": [[0, 10, 0, 0], [0, 9, 0, 1]],
            "tt.core_ranges": [[1, 1, 1, 1, 0, 10], [2, 1, 2, 1, 0, 9]],
        },
        {"tt_core_runtime_args": [[0, 10, 0, 0]], "tt.core_ranges": [[1, 1, 1, 1, 0, 10]]},
    ):
        with refused(Code.PARTITION_INVALID):
            verify(**change)
    with refused(Code.PARTITION_INVALID, "tt.policy"):
        global_made = partition(WorkGrid(4, 5), 7, N150).to_attrs()
        tt.WorkPartition.from_attrs({**global_made, "tt.policy": "shards_in_turn"}).verify(N150)


@given(st.data())
def test_a_smaller_launch_grid_clips_the_shards(data):
    device = device_with(rectangle(3, 1))
    tiles = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    shard = tuple(data.draw(st.integers(1, size)) for size in tiles)
    made = partition(WorkGrid(tiles[1], tiles[0]), 1, device, [dealt(tiles, shard, distribution="round_robin")])
    now = tuple(data.draw(st.integers(1, size)) for size in tiles)
    again = repartition(made, WorkGrid(now[1], now[0]), device)
    owner = oracle_in_turn(tiles, shard, device.row_major_cores)
    assert_is(again, {tile: core for tile, core in owner.items() if tile[0] < now[0] and tile[1] < now[1]}, device)


# ---- batches ---------------------------------------------------------------------------------------------------------


@given(st.data())
def test_batches_follow_one_another_on_the_plane(data):
    """A shard lines up where its work tiles are a rectangle; then they are on the core that holds the shard."""
    gz, gy, gx = (data.draw(st.integers(1, 4)) for _ in range(3))
    block = (1, 32, 64)
    tiles = (gz, gy, gx)
    shape = tuple(size * step for size, step in zip(tiles, block, strict=True))
    sizes = tuple(data.draw(st.integers(1, size)) for size in tiles)
    raw = nd_sharded(shape, [size * step for size, step in zip(sizes, block, strict=True)], distribution="round_robin")
    layout = parse(raw, shape)
    device = device_with(rectangle(2, 2))
    projection = project("C", layout, shape, ("B", "M", "N"), block, (gz * gy, gx), gy)
    cores = device.row_major_cores
    owner = {}
    grid = [-(-size // part) for size, part in zip(tiles, sizes, strict=True)]
    for z, y, x in itertools.product(*(range(size) for size in tiles)):
        index = tuple(i // part for i, part in zip((z, y, x), sizes, strict=True))
        owner[z * gy + y, x] = cores[int(np.ravel_multi_index(index, grid)) % len(cores)]
    uncut_rows = sizes[1] == gy
    one_batch = sizes[0] == 1 and gy % sizes[1] == 0
    assert projection.lined_up == (uncut_rows or one_batch or (grid[0] == 1 and gz == 1))
    if projection.lined_up:
        buffer = placed("C", raw["nd_shard"], shape, ("B", "M", "N"), block, (gz * gy, gx), written=True, batch=gy)
        assert_is(partition(WorkGrid(gx, gy, gz), 1, device, [buffer]), owner, device)


# ---- execution -------------------------------------------------------------------------------------------------------


def random(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(BF16)


def call(func, layout, inputs, expected, **options):
    program = tt.compile(func, "wormhole_n150", layout, **options)
    out = np.zeros(expected.shape, BF16)
    _, report = program.run(*inputs, out, report=True)
    np.testing.assert_allclose(out.astype(np.float32), expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())
    return program, report


SHAPE = (160, 96)
CORES = {"core_ranges": [[1, 1, 2, 1], [0, 4, 0, 4]]}


class TestExecution:
    @pytest.mark.parametrize("buffers", ["C", "A", "ABC"])
    @pytest.mark.parametrize(
        "layout",
        [
            nd_sharded(SHAPE, (32, 64), distribution="round_robin", **CORES),
            nd_sharded(SHAPE, (64, 32), distribution="round_robin", orientation="col_major", **CORES),
            nd_sharded(SHAPE, (32, 32), distribution="contiguous", **CORES),
            nd_sharded(SHAPE, (32, 64), "DRAM"),
            nd_sharded(SHAPE, (64, 64), "DRAM", banks=[7, 2]),
            height_sharded(SHAPE, 5, "DRAM"),
        ],
        ids=["in turn", "by columns", "in runs", "dram", "two banks", "dram rows"],
    )
    def test_element_wise(self, layout, buffers):
        a, b = random(SHAPE, 1), random(SHAPE, 2)
        func = kernels.binary.get_tir(*SHAPE, 32, 32, "add")
        expected = a.astype(np.float32) + b.astype(np.float32)
        program, report = call(func, dict.fromkeys(buffers, layout), [a, b], expected)
        in_l1 = layout["memory"] == "L1"
        assert program.partition.mode == ("local_shard" if in_l1 else "global")
        assert program.partition.resident_buffers == (tuple(buffers) if in_l1 else ())
        if in_l1 and buffers == "ABC":
            assert report.noc.dram_read == report.noc.l1_remote_read == report.noc.l1_remote_written == 0

    def test_a_gemm_reads_only_its_other_operands_over_the_network(self):
        func = kernels.gemm.get_tir(192, 128, 64, 32, 32, 32)
        a, b = random((192, 64), 1), random((64, 128), 2)
        layout = {"A": nd_sharded((192, 64), (32, 64), axes=("M", "K"), distribution="round_robin", **CORES)}
        program, report = call(func, layout, [a, b], a.astype(np.float32) @ b.astype(np.float32))
        assert program.partition.policy == "shards_in_turn"
        assert report.tensor_read["A"] == 0

    @pytest.mark.parametrize("memory", ["L1", "DRAM"])
    def test_shards_of_three_dimensions(self, memory):
        """Cut along batches, rows and columns, no blocks of any matrix: through the network, tile by tile."""
        where = {"distribution": "round_robin", **CORES} if memory == "L1" else {}
        layout = {
            "A": nd_sharded((3, 64, 64), (2, 32, 32), memory, axes=("B", "M", "K"), **where),
            "C": nd_sharded((3, 64, 96), (2, 32, 64), memory, **where),
        }
        func = kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32)
        a, b = random((3, 64, 64), 1), random((3, 64, 96), 2)
        expected = a.astype(np.float32) @ b.astype(np.float32)
        call(func, layout, [a, b], expected, schedule={"partition_mode": "global"})
        if memory == "L1":
            with refused(Code.LAYOUT_UNSUPPORTED, "no rectangles", '"partition_mode": "global"', subject="C"):
                tt.compile(func, None, layout)

    @pytest.mark.parametrize("shard", [(1, 64, 96), (1, 32, 32), (2, 64, 32), (3, 64, 32)])
    @pytest.mark.parametrize("distribution", ["one_per_core", "round_robin"])
    def test_batches_in_place(self, shard, distribution):
        where = {"distribution": distribution, **(CORES if distribution == "round_robin" else {})}
        func = kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32)
        a, b = random((3, 64, 64), 1), random((3, 64, 96), 2)
        expected = a.astype(np.float32) @ b.astype(np.float32)
        program, report = call(func, {"C": nd_sharded((3, 64, 96), shard, **where)}, [a, b], expected)
        assert program.partition.resident_buffers == ("C",)
        assert report.noc.l1_remote_written == report.noc.l1_local == 0

    def test_dram_shards_must_be_whole_tiles_to_be_executed(self):
        func = kernels.binary.get_tir(96, 96, 32, 32, "add")
        layout = {"A": nd_sharded((96, 96), (48, 96), "DRAM")}
        with refused(Code.SHARD_UNALIGNED, "[64, 96]", subject="A"):
            tt.compile(func, None, layout)

    def test_saved_and_loaded(self, tmp_path):
        a, b = random(SHAPE, 1), random(SHAPE, 2)
        layout = {
            "A": nd_sharded(SHAPE, (32, 64), "DRAM", banks=[7, 2]),
            "C": nd_sharded(SHAPE, (32, 32), distribution="contiguous", **CORES),
        }
        tt.compile(kernels.binary.get_tir(*SHAPE, 32, 32, "add"), None, layout).save(tmp_path)
        loaded = tt.runtime.load(tmp_path)
        out = np.zeros(SHAPE, BF16)
        loaded(a, b, out)
        np.testing.assert_allclose(out.astype(np.float32), a.astype(np.float32) + b.astype(np.float32), atol=0.05)
        text = str(loaded.explain())
        assert "shards of C, shards_in_turn" in text
        assert loaded.explain().to_dict()["in_place"] == ["C"]

    def test_several_shards_count_towards_l1(self):
        func = kernels.binary.get_tir(4096, 4096, 32, 32, "add")
        layout = nd_sharded((4096, 4096), (512, 512), distribution="round_robin", core_ranges=[[0, 0, 3, 1]])
        with refused(Code.L1_CAPACITY, "C: 4,194,304 bytes"):
            tt.compile(func, None, {"C": layout})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"grid": (5, 2)}, "tiles with shards"),
        ({"grid": (5, 3, 1)}, "with shards"),
        ({"shard_tiles": (1, 0)}, "tiles with shards"),
        ({"cores": ((1, 1), (1, 1))}, "on 1 cores"),
        ({"cores": tuple(rectangle(8, 8))}, "15 shards on 64 cores"),
        ({"cores": ((0, 0), (1, 0)), "contiguous": True}, "15 shards on 2 cores"),
        ({"cores": ((12, 0),)}, "DRAM banks"),
        ({"cores": ((1, 1),)}, "DRAM banks"),
    ],
)
def test_a_program_whose_shards_do_not_fit_its_tensor_is_refused(changes, text):
    program = tt.compile(kernels.copy.get_tir(*SHAPE, 32, 32), None, {"A": nd_sharded(SHAPE, (32, 32), "DRAM")})
    check(program.spec, "here")
    first, *rest = program.spec.tensors
    first = msgspec.structs.replace(first, shard=msgspec.structs.replace(first.shard, **changes))
    with refused(Code.PROGRAM_MALFORMED, text):
        check(msgspec.structs.replace(program.spec, tensors=(first, *rest)), "here")


def test_auto_considers_shards_in_turn():
    func = kernels.binary.get_tir(256, 256, 32, 32, "add")
    layout = dict.fromkeys(
        "ABC", nd_sharded((256, 256), (32, 64), distribution="round_robin", core_ranges=[[0, 0, 7, 0]])
    )
    explained = tt.compile(func, None, layout, {"policy": "auto"}).explain()
    names = [explained.chosen.name, *(plan.name for plan in explained.runners_up)]
    assert any("shards of C, shards_in_turn" in name for name in names)
