"""Policies and orders: against slow, obvious oracles, by proof, and on the emulator."""

from __future__ import annotations

import kernels
import ml_dtypes
import numpy as np
import pytest
import z3
from hypothesis import assume, given
from hypothesis import strategies as st
from partition_support import assert_is, devices, placed, rectangle, refused

import tilelang_tt as tt
from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, TTError
from tilelang_tt.layout import block_sharded, height_sharded
from tilelang_tt.partition import UserSchedule, WorkGrid, WorkPartition, partition
from tilelang_tt.partition.policies import even_rectangles
from tilelang_tt.partition.traversal import Arithmetic, number_at, tile_at, visited_number

N150 = load_device("wormhole_n150")


def tiles_in_order(order, rows, columns):
    """Every tile of a rectangle, as its order says in words."""
    tiles = [(m, n) for m in range(rows) for n in range(columns)]
    if order == "row_major":
        return tiles
    if order == "column_major":
        return sorted(tiles, key=lambda tile: tile[::-1])
    sizes = [int(size) for size in order.partition("(")[2].rstrip(")").split(",")]
    bm, bn = sizes * 2 if len(sizes) == 1 else sizes
    return sorted(tiles, key=lambda tile: (tile[0] // bm, tile[1] // bn, *tile))


def oracle_block_2d(grid, shape, plane, cores):
    """Every tile -> core of a cut into Gy x Gx rectangles."""
    gx0, gy0 = min(x for x, _ in cores), min(y for _, y in cores)
    as_it_lies = {(i, j): (gx0 + j, gy0 + i) for i in range(grid[0]) for j in range(grid[1])}
    if 1 in grid or not set(as_it_lies.values()) <= set(cores):
        in_turn = sorted(cores, key=lambda core: core[::-1])
        as_it_lies = {place: in_turn[number] for number, place in enumerate(as_it_lies)}
    return {(m, n): as_it_lies[m // shape[0], n // shape[1]] for m in range(plane[0]) for n in range(plane[1])}


def oracle_cyclic(chunk, tiles, cores):
    """Every tile -> core: dealt out by chunks."""
    used = cores[: -(-len(tiles) // chunk)]
    return {tile: used[number // chunk % len(used)] for number, tile in enumerate(tiles)}


orders = (
    st.sampled_from(["row_major", "column_major"])
    | st.builds("match_shard({},{})".format, st.integers(1, 9), st.integers(1, 9))
    | st.builds("block_linear({})".format, st.integers(1, 9))
)
planes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def run(plane, device=N150, buffers=(), **schedule):
    return partition(WorkGrid(plane[1], plane[0]), 4, device, buffers, UserSchedule(**schedule))


class TestAgainstOracles:
    @given(devices(), planes, orders)
    def test_contiguous_runs_of_any_order(self, device, plane, order):
        made = run(plane, device, order=order)
        tiles = tiles_in_order(order, *plane)
        share, more = divmod(len(tiles), len(device.cores))
        owner = {}
        for number, core in enumerate(device.row_major_cores):
            own = tiles[len(owner) : len(owner) + share + (number < more)]
            assert list(made.tiles(core)) == own
            owner |= dict.fromkeys(own, core)
        assert_is(made, owner, device)

    @given(devices(), planes, orders, st.integers(1, 7))
    def test_block_cyclic(self, device, plane, order, chunk):
        made = run(plane, device, order=order, policy=f"block_cyclic({chunk})")
        tiles = tiles_in_order(order, *plane)
        owner = oracle_cyclic(chunk, tiles, device.row_major_cores)
        assert_is(made, owner, device)
        for core in made.cores:
            assert list(made.tiles(core)) == [tile for tile in tiles if owner[tile] == core]

    @given(devices(), planes, st.sampled_from(["row_major", "column_major"]), st.data())
    def test_block_2d(self, device, plane, order, data):
        gy = data.draw(st.integers(1, len(device.cores)))
        gx = data.draw(st.integers(1, len(device.cores) // gy))
        made = run(plane, device, order=order, policy=f"block_2d({gy},{gx})")
        shape = -(-plane[0] // gy), -(-plane[1] // gx)
        grid = -(-plane[0] // shape[0]), -(-plane[1] // shape[1])
        owner = oracle_block_2d(grid, shape, plane, device.row_major_cores)
        assert_is(made, owner, device)
        for core in made.cores:
            assert list(made.tiles(core)) == [tile for tile in tiles_in_order(order, *plane) if owner[tile] == core]
        assert made.policy == f"block_2d({grid[0]},{grid[1]})"

    @given(devices(), planes)
    def test_block_2d_left_to_itself_has_the_least_possible_maximum(self, device, plane):
        made = run(plane, device, policy="block_2d")
        cuts = [(gy, gx) for gy in range(1, 37) for gx in range(1, 37) if gy * gx <= len(device.cores)]
        least = min(-(-plane[0] // gy) * -(-plane[1] // gx) for gy, gx in cuts)
        assert max(row[5] for row in made.core_ranges) == least
        made.verify(device)

    @given(devices(), planes, orders, st.tuples(st.integers(1, 4), st.integers(1, 4)))
    def test_orders_within_shards(self, device, plane, order, shape):
        grid = tuple(-(-size // part) for size, part in zip(plane, shape, strict=True))
        assume(grid[0] * grid[1] <= len(device.cores))
        schedule = {"partition_mode": "local_shard", "shard_grid": grid, "local_shape_tiles": shape}
        made, plain = run(plane, device, order=order, **schedule), run(plane, device, **schedule)
        made.verify(device)
        if order.startswith("match_shard"):
            assert made == plain
        for core in plain.cores:
            own = list(plain.tiles(core))
            (m0, n0), (m1, n1) = own[0], own[-1]
            within = tiles_in_order("row_major" if "match" in order else order, m1 - m0 + 1, n1 - n0 + 1)
            assert list(made.tiles(core)) == [(m0 + m, n0 + n) for m, n in within]
            assert all(made.owner(*tile) == core for tile in own)

    @given(devices(), planes, orders, st.sampled_from(["contiguous", "block_2d", "block_cyclic", "block_cyclic(3)"]))
    def test_attributes_and_spec_give_back_the_same_partition(self, device, plane, order, policy):
        assume(policy != "block_2d" or order in ("row_major", "column_major"))
        made = run(plane, device, order=order, policy=policy)
        assert WorkPartition.from_attrs(made.to_attrs()) == made
        assert WorkPartition.from_spec(made.to_spec()) == made

    @given(devices(), planes, orders, st.sampled_from(["contiguous", "block_2d", "block_cyclic(2)"]), st.data())
    def test_no_number_can_be_changed_unnoticed(self, device, plane, order, policy, data):
        assume(policy != "block_2d" or order in ("row_major", "column_major"))
        values = run(plane, device, order=order, policy=policy).to_attrs()
        key = data.draw(st.sampled_from(["tt.runtime_constants", "tt.core_ranges", "tt_core_runtime_args"]))
        row = data.draw(
            st.sampled_from(sorted(values[key]) if isinstance(values[key], dict) else range(len(values[key])))
        )
        change = data.draw(st.integers(-9, 9).filter(bool))
        if key == "tt.runtime_constants":
            values[key][row] += change
        else:
            values[key][row][data.draw(st.integers(0, len(values[key][row]) - 1))] += change
        with refused(Code.PARTITION_INVALID):
            WorkPartition.from_attrs(values).verify(device, kt=4)


class TestChoice:
    def test_rectangles_lie_on_the_cores_as_on_the_plane(self):
        made = run((16, 16), policy="block_2d")
        assert made.policy == "block_2d(8,8)"
        assert made.owner(5, 12) == (6, 2)
        assert made.core_ranges[0] == (0, 0, 0, 0, 0, 4)
        assert made.runtime_constants == {"Mt": 16, "Kt": 4, "Nt": 16, "tt_run_tiles": 2, "tt_run_stride": 16}
        assert made.runtime_arg_names[-2:] == ("tt_run_tiles", "tt_run_stride")
        assert (made.mode, made.shard_grid, made.local_shape_tiles) == ("global", (1, 1), (16, 16))

    def test_a_tall_plane_is_cut_into_bands(self):
        assert run((640, 1), policy="block_2d").policy == "block_2d(64,1)"

    def test_within_core_ranges_and_num_cores(self):
        made = run((8, 8), policy="block_2d", core_ranges=((2, 3, 5, 6),))
        assert made.policy == "block_2d(4,4)"
        assert made.owner(0, 0) == (2, 3)
        assert made.owner(7, 7) == (5, 6)
        assert len(run((8, 8), policy="block_2d", num_cores=6).cores) <= 6
        assert len(run((8, 8), policy="block_cyclic", num_cores=6).cores) == 6

    def test_match_shard_takes_the_shards_of_a_buffer(self):
        raw = block_sharded((512, 512), (4, 2))
        c = placed("C", raw["nd_shard"], (512, 512), ("M", "N"), (32, 32), (16, 16), written=True)
        made = run((16, 16), buffers=[c], partition_mode="global", order="match_shard")
        assert made.order == "match_shard(4,8)"
        assert list(made.tiles((0, 0)))[:4] == [(0, 0), (0, 1), (0, 2), (0, 3)]
        assert made.owner(1, 0) == (2, 0)

    def test_ten_thousand_cores_are_soon_cut(self):
        cut = even_rectangles((32_000, 31_250), rectangle(64, 70))
        assert cut.grid[0] * cut.grid[1] <= 4480


REFUSED = [
    ("more rectangles than cores", {"policy": "block_2d(9,8)"}, Code.TOO_MANY_CORES, "72 cores"),
    ("rectangles and blocks", {"policy": "block_2d", "order": "block_linear(2)"}, Code.SCHEDULE_CONFLICT, "rectangles"),
    ("nothing to match", {"order": "match_shard"}, Code.SCHEDULE_INCOMPLETE, "match_shard(Sm,Sn)"),
    (
        "a policy over shards",
        {"policy": "block_cyclic", "partition_mode": "local_shard", "shard_grid": (1, 1), "local_shape_tiles": (8, 8)},
        Code.SCHEDULE_CONFLICT,
        "shards decide",
    ),
]


@pytest.mark.parametrize(
    ("schedule", "code", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused(schedule, code, text):
    with refused(code, text):
        run((8, 8), **schedule)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tt.policy", "block_2d(2,2)"),
        ("tt.policy", "block_2d(8,4)"),
        ("tt.policy", "block_cyclic(2)"),
        ("tt.policy", "contiguous"),
        ("tt.policy", "block_2d"),
        ("tt.policy", "nonsense"),
        ("tt.order", "row_major"),
        ("tt.order", "block_linear(2)"),
        ("tt.order", "match_shard"),
        ("tt.order", "nonsense(1)"),
    ],
)
def test_another_name_is_noticed(key, value):
    values = run((8, 8), policy="block_2d(4,8)", order="column_major").to_attrs()
    assert (values["tt.policy"], values["tt.order"]) == ("block_2d(4,8)", "column_major")
    with refused(Code.PARTITION_INVALID):
        WorkPartition.from_attrs({**values, key: value}).verify(N150)
    del values[key]
    with refused(Code.PARTITION_INVALID):
        WorkPartition.from_attrs(values).verify(N150)


# ---- on the emulator -----------------------------------------------------------------------------------------------

PLANS = [
    {"policy": "block_2d"},
    {"policy": "block_2d(3,2)", "order": "column_major"},
    {"policy": "block_cyclic"},
    {"policy": "block_cyclic(2)", "order": "block_linear(2)", "num_cores": 5},
    {"order": "column_major", "num_cores": 7},
    {"order": "match_shard(2,3)", "num_cores": 4},
    {"order": "block_linear(3)", "core_ranges": [[1, 1, 3, 2]]},
    {"partition_mode": "local_shard", "shard_grid": [2, 2], "local_shape_tiles": [3, 4], "order": "column_major"},
    {"partition_mode": "local_shard", "shard_grid": [2, 2], "local_shape_tiles": [3, 4], "order": "block_linear(2)"},
]


@pytest.mark.parametrize("schedule", PLANS, ids=lambda plan: " ".join(map(str, plan.values())))
def test_runs(schedule):
    m, n, k = 160, 224, 64
    program = tt.compile(kernels.gemm.get_tir(m, n, k, 32, 32, 32), schedule=schedule)
    assert program.partition.grid_tiles == (5, 7)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((m, k), (k, n)))
    c = np.full((m, n), np.nan, ml_dtypes.bfloat16)
    program(a, b, c)
    expected = a.astype(np.float32) @ b.astype(np.float32)
    assert np.abs(c.astype(np.float32) - expected).max() <= 2**-8 * np.abs(expected).max()


@pytest.mark.parametrize("schedule", [{"policy": "block_2d"}, {"order": "column_major"}, {"policy": "block_cyclic(3)"}])
def test_batches_run(schedule):
    program = tt.compile(kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32), schedule=schedule)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((3, 64, 64), (3, 64, 96)))
    c = np.full((3, 64, 96), np.nan, ml_dtypes.bfloat16)
    program(a, b, c)
    expected = a.astype(np.float32) @ b.astype(np.float32)
    assert np.abs(c.astype(np.float32) - expected).max() <= 2**-8 * np.abs(expected).max()


def test_a_driving_buffers_shards_in_another_order():
    layout = {name: height_sharded((256, 128), 4) for name in "AC"}
    program = tt.compile(kernels.binary.get_tir(256, 128, 32, 32), layout=layout, schedule={"order": "column_major"})
    assert (program.partition.mode, program.partition.order) == ("local_shard", "column_major")
    a, b = (np.random.default_rng(i).standard_normal((256, 128)).astype(ml_dtypes.bfloat16) for i in (1, 2))
    c = np.zeros((256, 128), ml_dtypes.bfloat16)
    _, report = program.run(a, b, c, report=True)
    assert report.tensor_written.get("C", 0) == 0
    assert np.abs(c.astype(np.float32) - (a.astype(np.float32) + b.astype(np.float32))).max() <= 2**-6


def test_a_legacy_schedule_and_a_policy_contradict():
    func = kernels.binary.get_tir(64, 64, 32, 32).with_attr("tt_tiles_per_core", [[0, 2], [2, 2]])
    with refused(Code.SCHEDULE_CONFLICT, "tt_tiles_per_core", subject="policy"):
        tt.compile(func, schedule={"policy": "block_2d"})
    with pytest.raises(TTError):
        tt.compile(func, schedule={"order": "column_major"})


# ---- proof ---------------------------------------------------------------------------------------------------------


class Proof:
    """Arithmetic over symbols in which every quotient and minimum is claimed beforehand, and the claim proven.

    ``a // b == q`` holds if and only if ``0 <= a - q * b < b``, which is polynomial, and so is what a minimum is.
    Claims are proven over the reals from ``facts``, in which integrality enters as ``x <= y - 1``.
    """

    def __init__(self, facts, quotients=(), minima=()):
        self.facts, self.quotients, self.minima, self.known = list(facts), list(quotients), list(minima), []

    def prove(self, *claims):
        for claim in claims:
            solver = z3.Tactic("qfnra-nlsat").solver()
            solver.set("timeout", 30_000)
            solver.add(*self.facts, z3.Not(claim))
            assert solver.check() == z3.unsat, claim

    def div(self, a, b):
        for known_a, known_b, quotient in self.known:
            if a.eq(known_a) and b.eq(known_b):
                return quotient
        quotient = self.quotients.pop(0)
        self.prove(b >= 1, a - quotient * b >= 0, a - quotient * b <= b - 1)
        self.known.append((a, b, quotient))
        return quotient

    def mod(self, a, b):
        return a - self.div(a, b) * b

    def min(self, a, b):
        least = self.minima.pop(0)
        self.prove(least <= a, least <= b, z3.Or(least == a, least == b))
        return least

    @property
    def on(self):
        return Arithmetic(self.div, self.mod, self.min)


def is_min(least, a, b):
    return z3.Or(z3.And(least == a, a <= b), z3.And(least == b, b <= a))


def test_index_recovery_is_inverse_to_the_numbering_for_every_rectangle_and_block():
    """Tile (i, j) of block (band, place): whatever the sizes, so for row_major, column_major and every other order."""
    band, place, i, j, rows, columns, bm, bn, height, width = z3.Reals("band place i j rows columns bm bn height width")
    facts = [*(value >= 0 for value in (band, place, i, j)), bm >= 1, bn >= 1, i <= height - 1, j <= width - 1]
    facts += [is_min(height, bm, rows - band * bm), is_min(width, bn, columns - place * bn)]
    m, n = band * bm + i, place * bn + j
    proof = Proof(facts, [band, place, band, place, i], [height, width, height, width])
    number = number_at(m, n, rows, columns, (bm, bn), proof.on)
    proof.prove(number >= 0, number <= rows * columns - 1)
    found_m, found_n = tile_at(number, rows, columns, (bm, bn), proof.on)
    proof.prove(found_m == m, found_n == n)
    assert not proof.quotients
    assert not proof.minima


def test_row_major_and_column_major_are_blocks_of_one_row_and_one_column():
    m, n, rows, columns = z3.Reals("m n rows columns")
    facts = [m >= 0, n >= 0, m <= rows - 1, n <= columns - 1]
    one, zero = z3.RealVal(1), z3.RealVal(0)
    proof = Proof(facts, [m, zero], [one, columns])
    proof.prove(number_at(m, n, rows, columns, (one, columns), proof.on) == m * columns + n)
    proof = Proof(facts, [zero, n], [rows, one])
    proof.prove(number_at(m, n, rows, columns, (rows, one), proof.on) == n * rows + m)


def test_the_runs_of_block_2d_are_its_rectangle():
    """Step i * width + j of the core with rectangle (y, x) visits tile (i, j) of that rectangle."""
    y, x, i, j, mt, nt, sm, sn, width = z3.Reals("y x i j mt nt sm sn width")
    facts = [*(value >= 0 for value in (y, x, i, j)), sm >= 1, sn >= 1, i <= sm - 1, j <= width - 1]
    facts += [is_min(width, sn, nt - x * sn), y * sm + i <= mt - 1]
    proof = Proof(facts, [y * sm, i], [width])
    number = visited_number(i * width + j, y * sm * nt + x * sn, sn, nt, proof.on)
    proof.prove(number == (y * sm + i) * nt + x * sn + j)


def test_the_runs_of_block_cyclic_are_every_cores_turn():
    """Step turn * chunk + k of core c visits tile k of chunk turn * cores + c."""
    core, cores, turn, chunk, k = z3.Reals("core cores turn chunk k")
    facts = [*(value >= 0 for value in (core, turn, k)), chunk >= 1, core <= cores - 1, k <= chunk - 1]
    proof = Proof(facts, [z3.RealVal(0), turn], [chunk])
    number = visited_number(turn * chunk + k, core * chunk, chunk, chunk * cores, proof.on)
    proof.prove(number == (turn * cores + core) * chunk + k)
