"""Operands that one core of a group reads and multicasts to the others: legality, proof, code and numerics."""

from __future__ import annotations

import dataclasses

import kernels
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partition_support import device_with, rectangle, refused
from tilelang import language as T

import tilelang_tt as tt
from tilelang_tt import attrs
from tilelang_tt.codegen.lower.multicast import MulticastTensor, check_lock_step
from tilelang_tt.codegen.tile_program.expressions import TensorBlock
from tilelang_tt.codegen.tile_program.statements import Branch, Let, Load, Loop, TileProgram
from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, ScheduleError, TTError
from tilelang_tt.language.kernel import read_kernel
from tilelang_tt.layout import block_sharded
from tilelang_tt.partition import PlacedBuffer, UserSchedule, WorkGrid, WorkPartition, partition, repartition
from tilelang_tt.program import storage
from tilelang_tt.program.spec import MulticastSpec

BF16 = np.dtype(ml_dtypes.bfloat16)
N150 = load_device("wormhole_n150")
FOLLOWS = {"A": "M", "B": "N", "S": ""}
BUFFERS = [PlacedBuffer(name, written=False, follows=follows) for name, follows in FOLLOWS.items()]


def made_for(grid, policy, names, device=N150, **options):
    schedule = UserSchedule("global", policy=policy, multicast=tuple(names), **options)
    return partition(WorkGrid(grid[1], grid[0]), 4, device, BUFFERS, schedule)


# --- legality


@st.composite
def plans(draw):
    """(plane, policy, order, device): rectangles on a device that may lack cores."""
    columns, rows = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    cores = rectangle(columns, rows)
    gone = draw(st.sets(st.sampled_from(cores), max_size=min(2, len(cores) - 1)))
    plane = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    free = len(cores) - len(gone)
    gy = draw(st.integers(1, free))
    policy = draw(st.sampled_from(["block_2d", f"block_2d({gy},{max(1, free // gy)})"]))
    order = draw(st.sampled_from(["row_major", "column_major"]))
    return plane, policy, order, device_with([core for core in cores if core not in gone])


def sequences(made, follows):
    """Core -> which rows ("M"), columns ("N") or steps ("") of work tiles it goes through, in order."""
    pick = {"M": lambda tile: tile[0], "N": lambda tile: tile[1], "": lambda tile: 0}[follows]
    return {core: tuple(pick(tile) for tile in made.tiles(core)) for core in made.cores}


def oracle(made, follows):
    """Core -> the cores that step through the same blocks with it; None where that cannot be multicast."""
    found = sequences(made, follows)
    groups = {}
    for core, steps in found.items():
        for others in found.values():
            shorter, longer = sorted((steps, others), key=len)
            if set(steps) & set(others) and longer[: len(shorter)] != shorter:
                return None
        groups[core] = {other for other in found if set(found[other]) & set(steps)}
    for cores in groups.values():
        xs, ys = [x for x, _ in cores], [y for _, y in cores]
        full = {(x, y) for x in range(min(xs), max(xs) + 1) for y in range(min(ys), max(ys) + 1)}
        if cores != full or len(cores) < 2:
            return None
    return groups


@settings(max_examples=150)
@given(plans(), st.sampled_from(sorted(FOLLOWS)))
def test_a_multicast_is_legal_just_where_all_step_together(plan, name):
    plane, policy, order, device = plan
    schedule = UserSchedule("global", policy=policy, order=order)
    plain = partition(WorkGrid(plane[1], plane[0]), 4, device, BUFFERS, schedule)
    expected = oracle(plain, FOLLOWS[name])
    try:
        made = made_for(plane, policy, [name], device, order=order)
    except ScheduleError:
        made = None
    assert (made is None) == (expected is None)
    if made is None or expected is None:
        return
    made.verify(device)
    for core, group in zip(made.cores, made.multicast[name].groups, strict=True):
        x0, y0, x1, y1, *sender, steps = group
        members = {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}
        assert members == expected[core]
        assert tuple(sender) in members
        assert len(list(made.tiles(tuple(sender)))) == steps == max(len(list(made.tiles(core))) for core in members)
    assert dataclasses.replace(made, multicast={}) == plain, "nothing else changes"
    assert WorkPartition.from_attrs(made.to_attrs()) == made
    assert WorkPartition.from_spec(made.to_spec()) == made


def test_senders_lie_on_diagonals():
    groups = made_for((16, 16), "block_2d(8,8)", "AB").multicast
    assert {group[4:6] for group in groups["A"].groups} == {(i, i) for i in range(8)}
    assert {group[4:6] for group in groups["B"].groups} == {(i, (i + 1) % 8) for i in range(8)}


@pytest.mark.parametrize(
    ("grid", "policy", "name", "text"),
    [
        ((16, 16), "contiguous", "A", "policy contiguous does not give cores rectangles"),
        ((16, 16), "block_cyclic(2)", "A", "policy block_cyclic(2) does not give cores rectangles"),
        (
            (16, 15),
            "block_2d(8,8)",
            "A",
            "cores that need the same blocks have 2 x 1 and 2 x 2 work tiles, in order row_major",
        ),
        ((16, 4), "block_2d(16,1)", "A", "core (0, 0) needs its blocks alone"),
        ((1, 20), "block_2d(1,20)", "A", "the 20 cores that need the same blocks, (0, 0) the first, are no rectangle"),
    ],
)
def test_refused_precisely(grid, policy, name, text):
    with refused(Code.SCHEDULE_CONFLICT, f"tensor '{name}' cannot be multicast: {text}", subject="multicast"):
        made_for(grid, policy, name)


def test_one_axis_may_be_clipped():
    assert set(made_for((16, 15), "block_2d(8,5)", "AB").multicast) == {"A", "B"}
    rows = made_for((15, 16), "block_2d(8,8)", "AB").multicast
    assert {group[5:] for group in rows["B"].groups} == {(y, 4) for y in range(7)}, (
        "the last row, with 2, sends nothing"
    )
    assert {group[6] for group in rows["A"].groups} == {4, 2}
    assert set(made_for((16, 15), "block_2d(8,8)", "AB", order="column_major").multicast) == {"A", "B"}
    with refused(Code.SCHEDULE_CONFLICT, "have 1 x 2 and 2 x 2 work tiles, in order column_major"):
        made_for((15, 16), "block_2d(8,8)", "B", order="column_major")


def test_refused_buffers():
    with refused(Code.UNKNOWN_BUFFER, "'X', which is no tensor"):
        made_for((8, 8), "block_2d", "X")
    schedule = UserSchedule("global", policy="block_2d", multicast=("C",))
    with refused(Code.SCHEDULE_CONFLICT, "not the same on several cores"):
        partition(WorkGrid(8, 8), 4, N150, [PlacedBuffer("C", written=True)], schedule)


def test_schedule_key():
    func = kernels.gemm.get_tir(128, 128, 64, 32, 32, 32)
    for value in ("A", [1], ["A", "A"], {"A": 1}):
        with refused(Code.SCHEDULE_MALFORMED, "a list of tensor names, each once"):
            tt.compile(func, schedule={"policy": "block_2d", "multicast": value})


# --- proof


def changed(made, name, place, group):
    groups = list(made.multicast[name].groups)
    groups[place] = group
    return dataclasses.replace(made, multicast={name: MulticastSpec(made.multicast[name].follows, tuple(groups))})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: changed(m, "A", 0, (0, 0, 2, 0, 0, 0, 4)), "a rectangle that is not the cores of its group"),
        (lambda m: changed(m, "A", 0, (0, 0, 3, 0, 9, 9, 4)), "a rectangle that is not the cores of its group"),
        (lambda m: changed(m, "A", 0, (0, 0, 0, 0, 0, 0, 4)), "without a sender or a receiver"),
        (
            lambda m: dataclasses.replace(
                m, multicast={"A": MulticastSpec("M", tuple((*g[:4], 9, 9, 4) for g in m.multicast["A"].groups))}
            ),
            "without a sender or a receiver",
        ),
        (lambda m: dataclasses.replace(m, multicast={"A": MulticastSpec("M", ())}), "has other rows"),
        (lambda m: dataclasses.replace(m, multicast={"A": MulticastSpec("K", m.multicast["A"].groups)}), "no axis"),
        (
            lambda m: dataclasses.replace(m, multicast={"A": MulticastSpec("N", m.multicast["A"].groups)}),
            "do not step together",
        ),
        (
            lambda m: dataclasses.replace(m, multicast={"A": MulticastSpec("M", ((0, 0, 3, 1, 0, 0, 4),) * 8)}),
            "do not step together",
        ),
    ],
)
def test_the_verifier_catches(change, text):
    made = made_for((4, 8), "block_2d(2,4)", "A")
    made.verify(N150)
    with refused(Code.PARTITION_INVALID, text, subject=attrs.MULTICAST):
        change(made).verify(N150)


def test_unequal_work_in_a_group_is_caught():
    clipped = made_for((4, 7), "block_2d(2,4)", "")
    groups = tuple((0, y, 3, y, 0, y, 4) for y in (0, 1) for _ in range(4))
    with refused(Code.PARTITION_INVALID, "do not step together"):
        dataclasses.replace(clipped, multicast={"A": MulticastSpec("M", groups)}).verify(N150)
    rows = made_for((3, 8), "block_2d(2,4)", "B")
    for change in (lambda group: (*group[:6], 5), lambda group: (*group[:5], 1, 2)):
        groups = tuple(change(group) for group in rows.multicast["B"].groups)
        with refused(Code.PARTITION_INVALID, "has a sender with fewer steps than its group", "4 steps"):
            dataclasses.replace(rows, multicast={"B": MulticastSpec("N", groups)}).verify(N150)


def test_another_axis_than_the_kernels_is_caught():
    func = kernels.gemm.get_tir(128, 128, 64, 32, 32, 32)
    program = tt.compile(func, schedule={"policy": "block_2d(2,2)", "multicast": ["A"]})
    made = program.partition
    swapped = dataclasses.replace(made, multicast={"B": made.multicast["A"]})
    from tilelang_tt.partition import verify_buffers
    from tilelang_tt.partition.workload import placed_buffers

    with refused(Code.PARTITION_INVALID, "follow another axis than the kernel"):
        verify_buffers(swapped, N150, placed_buffers(program.spec.workload))


# --- what moves a tensor's blocks


def follows(func):
    return {tensor.name: tensor.follows for tensor in read_kernel(func).tensors}


def test_follows():
    assert follows(kernels.gemm.get_tir(128, 128, 64, 32, 32, 32)) == {"A": "M", "B": "N", "C": None}
    both = kernels.gemm_transposed.get_tir(128, 128, 64, 32, 32, 32, True, True)
    assert follows(both) == {"A": "M", "B": "N", "C": None}
    batched = kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32)
    assert follows(batched)["A"] == "M"
    assert follows(batched)["B"] is None, "batches go along M, columns along N"
    assert follows(kernels.gemm_bias.get_tir(128, 128, 64, 32, 32, 32))["bias"] == "N"


def two_sources(same_buffer, skewed=False):
    @T.prim_func
    def main(
        A: T.Tensor((128, 64), "bfloat16"), B: T.Tensor((128, 64), "bfloat16"), C: T.Tensor((128, 128), "bfloat16")
    ):
        with T.Kernel(4, 4, threads=128) as (bx, by):
            X = T.alloc_shared((32, 32), "bfloat16")
            Y = T.alloc_shared((32, 32), "bfloat16")
            T.copy(A[by * 32, (bx % 2) * 32 if skewed else 0], X)
            T.copy(X, C[by * 32, bx * 32])
            T.copy(B[by * 32, 32], X if same_buffer else Y)
            T.copy(X if same_buffer else Y, C[by * 32, bx * 32])

    return main


def test_a_loop_that_may_end_early_shares_nothing():
    @T.prim_func
    def main(A: T.Tensor((128, 64), "bfloat16"), C: T.Tensor((128, 128), "bfloat16")):
        with T.Kernel(4, 4, threads=128) as (bx, by):
            X = T.alloc_shared((32, 32), "bfloat16")
            for k in T.serial(2):
                T.copy(A[by * 32, k * 32], X)
                T.copy(X, C[by * 32, bx * 32])
                if by > 1:
                    T.loop_break()

    assert follows(main) == {"A": None, "C": None}


def test_what_cannot_be_shared_follows_nothing():
    assert follows(two_sources(same_buffer=True)) == {"A": None, "B": None, "C": None}
    assert follows(two_sources(same_buffer=False)) == {"A": "M", "B": "M", "C": None}
    assert follows(two_sources(same_buffer=False, skewed=True))["A"] is None


# --- code


def block(tensor, row="0", col="0"):
    return TensorBlock(tensor, "0", row, col, 1, 1, 8, 8)


def tile_program(*body):
    lets = (Let("by", "tt_number / Nt"), Let("bx", "tt_number % Nt"))
    loop = Loop("tt_tile", "tt_tile_count", (Let("tt_number", "tt_start_tile + tt_tile"), *lets, *body))
    return TileProgram("main", (), (), loop, None, {"by": "M", "bx": "N"}, frozenset({"Mt", "Kt", "Nt"}))


def checked(*body, follows="M"):
    check_lock_step(tile_program(*body), {"A": MulticastTensor("A", follows, 0)})


def test_lock_step_holds():
    checked(Loop("k", "Kt", (Load(block("A", "by", "k"), "A_s"), Load(block("B", "k", "bx"), "B_s"))))
    checked(Let("first", "by * 2"), Loop("k", "first + 1", (Load(block("A", "first", "k"), "A_s"),)))
    checked(Branch("floor_mod(by, 2) == 0 && Kt > 1", (Load(block("A", "by"), "A_s"),)))
    checked(Load(block("A"), "A_s"), follows="")
    checked(Load(block("A", "3"), "A_s"), follows="N")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ((Load(block("A", "bx"), "A_s"),), "follows bx, not axis M alone"),
        ((Load(block("A", "by", "tt_tile"), "A_s"),), "follows tt_start_tile|follows tt_tile"),
        ((Let("x", "bx + 1"), Load(block("A", "by", "x"), "A_s")), "follows bx"),
        ((Loop("k", "bx + 1", (Load(block("A", "by", "k"), "A_s"),)),), "follows bx"),
        ((Branch("int32_t(bx) - 1 > 0", (Load(block("A", "by"), "A_s"),)),), "follows bx"),
        ((Branch("by > 1", (), (Loop("k", "bx", (Load(block("A", "by"), "A_s"),)),)),), "follows bx"),
        ((Loop("i", "bx + 1", (Loop("k", "4", (Load(block("A", "by", "k"), "A_s"),)),)),), "follows bx"),
        ((Load(block("A", "by"), "S"), Load(block("B", "by"), "S")), "S holds blocks of"),
        ((Load(block("B", "by"), "S"), Load(block("A", "by"), "S")), "S holds blocks of"),
    ],
)
def test_lock_step_is_refused(body, text):
    with pytest.raises(TTError) as caught:
        checked(*body)
    assert caught.value.code is Code.UNSUPPORTED
    assert any(part in str(caught.value) for part in text.split("|"))


def test_the_reader_says_what_it_does():
    func = kernels.gemm.get_tir(128, 128, 64, 32, 32, 32)
    plain = tt.compile(func, schedule={"policy": "block_2d(2,2)"})
    shared = tt.compile(func, schedule={"policy": "block_2d(2,2)", "multicast": ["A"]})
    assert "multicast" not in plain.kernels["reader"]
    assert plain.spec.semaphores == ()
    assert [(item.id, item.name) for item in shared.spec.semaphores] == [(0, "A_ready"), (1, "A_arrived")]
    reader = shared.kernels["reader"]
    assert "const auto A_multicast = multicast_of(7, 0);" in reader
    assert "multicast_block(A_multicast, cb_A_shared_l1, 2048);" in reader
    assert "B_multicast" not in reader
    for role in ("compute", "writer"):
        assert shared.kernels[role].splitlines()[-20:] == plain.kernels[role].splitlines()[-20:], role


def test_more_than_there_are_semaphores_for():
    from tilelang_tt.codegen.lower.multicast import multicast_tensors

    made = made_for((4, 8), "block_2d(2,4)", "A")
    many = dataclasses.replace(made, multicast={f"A{i}": made.multicast["A"] for i in range(9)})
    with refused(Code.L1_CAPACITY, "9 tensors", "at most 8"):
        multicast_tensors(many)


# --- numerics


def run_gemm(shape, tile, schedule, device="wormhole_n150", dtype="bfloat16", layout=None, relu=False, stages=2):
    m, n, k = shape
    func = kernels.gemm.get_tir(m, n, k, *tile, dtype=dtype, relu=relu, stages=stages)
    program = tt.compile(func, device, layout or {}, schedule)
    rng, kind = np.random.default_rng(m + n + k), BF16 if dtype == "bfloat16" else np.float32
    a, b = rng.standard_normal((m, k)).astype(kind), rng.standard_normal((k, n)).astype(kind)
    c = np.zeros((m, n), kind)
    _, report = program.run(a, b, c, report=True)
    expected = a.astype(np.float32) @ b.astype(np.float32)
    expected = np.maximum(expected, 0) if relu else expected
    assert np.abs(c.astype(np.float32) - expected).max() <= 6e-3 * np.abs(expected).max()
    return program, report


BOTH = ["A", "B"]
HARVESTED = N150.without(rows=[0, 5], columns=[7])


@pytest.mark.parametrize(
    ("shape", "tile", "policy", "names", "device"),
    [
        ((64, 256, 64), (32, 32, 32), "block_2d(1,8)", ["A"], "wormhole_n150"),
        ((256, 64, 64), (32, 32, 32), "block_2d(8,1)", ["B"], "wormhole_n150"),
        ((32, 1024, 96), (32, 32, 32), "block_2d(1,16)", ["A"], "wormhole_n150"),
        ((256, 256, 64), (32, 32, 32), "block_2d(8,8)", BOTH, "wormhole_n150"),
        ((320, 416, 32), (32, 32, 32), "block_2d(10,13)", BOTH, "blackhole_p150"),
        ((128, 192, 160), (32, 32, 32), "block_2d(2,3)", BOTH, HARVESTED),
        ((160, 192, 160), (32, 64, 32), "block_2d(3,3)", ["B", "A"], "wormhole_n150"),
        ((256, 384, 96), (64, 128, 32), "block_2d(2,3)", ["B", "A"], "wormhole_n150"),
    ],
)
def test_numerics_and_bytes(shape, tile, policy, names, device):
    program, report = run_gemm(shape, tile, {"policy": policy, "multicast": names}, device)
    _, alone = run_gemm(shape, tile, {"policy": policy}, device)
    for name in BOTH:
        groups = program.partition.multicast.get(name)
        # What is read for a group, its cores would each have read for as many work tiles as they have.
        steps = sum(group[6] for group in set(groups.groups)) if groups else len(alone.cores)
        tiles = sum(row[5] for row in program.partition.core_ranges) if groups else len(alone.cores)
        assert report.tensor_read[name] * tiles == alone.tensor_read[name] * steps, name
    assert report.noc.l1_multicast == sum(report.tensor_read[name] for name in names)
    assert report.tiles == alone.tiles


@pytest.mark.parametrize("stages", [0, 1, 3])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_depths_and_dtypes(dtype, stages):
    options = {"dtype": dtype, "stages": stages, "relu": True}
    run_gemm((128, 256, 224), (64, 64, 32), {"policy": "block_2d(2,4)", "multicast": BOTH}, **options)


CLIPPED = {
    "rows": ((160, 256, 96), "block_2d(2,4)", "row_major", {"A", "B"}),
    "many rows": ((7 * 32, 4 * 32, 64), "block_2d(3,2)", "row_major", {"A", "B"}),
    "columns": ((128, 7 * 32, 96), "block_2d(2,3)", "column_major", {"A", "B"}),
    "both": ((160, 7 * 32, 64), "block_2d(2,3)", "row_major", {"B"}),
    "both, by columns": ((160, 7 * 32, 64), "block_2d(2,3)", "column_major", {"A"}),
}


@pytest.mark.parametrize(("case", "stages"), [*((case, 2) for case in CLIPPED), ("rows", 1), ("rows", 3)])
def test_cores_with_less_work_take_part_to_the_end(case, stages):
    """Their rest is received where the next block would have been, and not used."""
    shape, policy, order, names = CLIPPED[case]
    schedule = {"policy": policy, "order": order, "multicast": sorted(names)}
    program, report = run_gemm(shape, (32, 32, 32), schedule, stages=stages)
    assert len({row[5] for row in program.partition.core_ranges}) > 1
    assert "tt_rest" in program.kernels["reader"]
    for name in names:
        groups = set(program.partition.multicast[name].groups)
        assert report.tensor_read[name] == sum(group[6] for group in groups) * 2048 * shape[2] // 32


def test_column_major_and_chosen_cores():
    schedule = {"policy": "block_2d(2,2)", "order": "column_major", "core_ranges": [[3, 4, 4, 5]], "multicast": BOTH}
    program, _ = run_gemm((256, 256, 64), (32, 32, 32), schedule)
    assert {group[:4] for group in program.partition.multicast["A"].groups} == {(3, 4, 4, 4), (3, 5, 4, 5)}


def test_blocks_past_the_end():
    run_gemm((250, 250, 100), (64, 64, 32), {"policy": "block_2d(2,4)", "multicast": BOTH})


@pytest.mark.parametrize("names", [["A"], ["B"], BOTH])
@pytest.mark.parametrize(
    ("shape", "tile", "policy"),
    [
        ((128, 128, 149), (64, 64, 96), "block_2d(2,2)"),
        ((160, 224, 64), (64, 96, 64), "block_2d(3,3)"),
        ((420, 290, 70), (96, 128, 96), "block_2d(3,3)"),
    ],
)
def test_whole_tiles_past_the_end_are_sent_as_zeros(shape, tile, policy, names):
    """Along K, along M and N, and along all three, with cores that have less work than their group."""
    program, _ = run_gemm(shape, tile, {"policy": policy, "multicast": names})
    assert "zero_tile(" in program.kernels["reader"]


def test_shards_in_l1_decide():
    layout = {"C": block_sharded((256, 512), (2, 4))}
    program, report = run_gemm((256, 512, 128), (64, 64, 32), {"multicast": BOTH}, layout=layout)
    assert program.partition.mode == "local_shard"
    assert report.noc.dram_read == 2 * 2 * (256 * 128 + 512 * 128), "a core has 2 x 2 work tiles"
    with refused(Code.SCHEDULE_CONFLICT, "'A' cannot be multicast: every core uses it where it lies"):
        shards = {"A": block_sharded((256, 256), (4, 1), axes=("M", "K"))}
        run_gemm((256, 256, 256), (64, 64, 32), {"multicast": ["A"]}, layout=shards)


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_transposed_operands(trans_a, trans_b):
    func = kernels.gemm_transposed.get_tir(128, 192, 96, 64, 64, 32, trans_a, trans_b)
    program = tt.compile(func, schedule={"policy": "block_2d(2,3)", "multicast": BOTH})
    rng = np.random.default_rng(0)
    a = rng.standard_normal((96, 128) if trans_a else (128, 96)).astype(BF16)
    b = rng.standard_normal((192, 96) if trans_b else (96, 192)).astype(BF16)
    c = np.zeros((128, 192), BF16)
    program(a, b, c)
    expected = (a.T if trans_a else a).astype(np.float32) @ (b.T if trans_b else b).astype(np.float32)
    assert np.abs(c.astype(np.float32) - expected).max() <= 6e-3 * np.abs(expected).max()


def test_an_attention_shares_keys_and_values():
    """K and V of a head are the same for all rows of queries: columns of cores share them where heads lie along x."""

    @T.prim_func
    def main(
        Q: T.Tensor((4, 128, 64), "bfloat16"),
        K: T.Tensor((4, 96, 64), "bfloat16"),
        Out: T.Tensor((4, 128, 96), "bfloat16"),
    ):
        with T.Kernel(4, 4, threads=128) as (head, by):
            q = T.alloc_shared((32, 64), "bfloat16")
            k = T.alloc_shared((32, 64), "bfloat16")
            s = T.alloc_fragment((32, 32), "float32")
            T.copy(Q[head, by * 32, 0], q)
            for j in T.Pipelined(3, num_stages=2):
                T.copy(K[head, j * 32, 0], k)
                T.gemm(q, k, s, transpose_B=True, clear_accum=True)
                T.copy(s, Out[head, by * 32, j * 32])

    assert follows(main) == {"Q": None, "K": "N", "Out": None}
    program = tt.compile(main, schedule={"policy": "block_2d(4,2)", "multicast": ["K"]})
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((4, 128, 64)).astype(BF16), rng.standard_normal((4, 96, 64)).astype(BF16)
    out = np.zeros((4, 128, 96), BF16)
    _, report = program.run(q, k, out, report=True)
    expected = np.einsum("hmd,hnd->hmn", q.astype(np.float32), k.astype(np.float32))
    assert np.abs(out.astype(np.float32) - expected).max() <= 6e-3 * np.abs(expected).max()
    assert report.tensor_read["K"] == k.nbytes


def test_a_bias_and_a_residual():
    func = kernels.gemm_bias.get_tir(128, 256, 96, 64, 64, 32, residual=True)
    rng = np.random.default_rng(0)
    a, b, bias, r = (rng.standard_normal(shape).astype(BF16) for shape in ((128, 96), (96, 256), (256,), (128, 256)))
    schedule = {"policy": "block_2d(2,4)", "multicast": ["A", "B", "bias"]}
    c, alone = np.zeros((128, 256), BF16), np.zeros((128, 256), BF16)
    tt.compile(func, schedule=schedule)(a, b, bias, r, c)
    tt.compile(func, schedule={"policy": "block_2d(2,4)"})(a, b, bias, r, alone)
    assert (c == alone).all(), "bit for bit"
    with refused(Code.SCHEDULE_CONFLICT, "'R' cannot be multicast: its blocks are not the same on several cores"):
        tt.compile(func, schedule={"policy": "block_2d(2,4)", "multicast": ["R"]})


def test_saved_and_loaded(tmp_path):
    func = kernels.gemm.get_tir(128, 128, 64, 32, 32, 32)
    program = tt.compile(func, schedule={"policy": "block_2d(2,2)", "multicast": BOTH})
    spec, sources = storage.read(program.save(tmp_path / "program"))
    assert spec == program.spec
    loaded = tt.Program(spec, sources)
    assert "multicast of A, B" in str(loaded.explain())


def test_repartition_keeps_the_multicast():
    made = made_for((8, 8), "block_2d(4,4)", "AB")
    again = repartition(made, WorkGrid(16, 24), N150)
    assert set(again.multicast) == {"A", "B"}
    again.verify(N150)
    with refused(Code.SCHEDULE_CONFLICT, "'A' cannot be multicast"):
        repartition(made, WorkGrid(61, 8), N150)


def test_a_kernel_made_for_equal_shares_is_refused_unequal_ones():
    made = made_for((16, 16), "block_2d(8,8)", "AB")
    with refused(Code.PARTITION_INVALID, "other work tiles than its group"):
        repartition(made, WorkGrid(16, 15), N150)
    clipped = made_for((15, 16), "block_2d(8,8)", "AB")
    repartition(clipped, WorkGrid(16, 23), N150).verify(N150)


# --- kernels that are no plain product


def run_both(func, schedule, names, tensors, outputs):
    """Bit for bit the same with and without multicast; returns the report of the former."""
    results = []
    for extra in ({}, {"multicast": names}):
        given = {name: array.copy() for name, array in tensors.items()}
        _, report = tt.compile(func, schedule={**schedule, **extra}).run(*given.values(), report=True)
        results.append(([given[name] for name in outputs], report))
    for alone, shared in zip(results[0][0], results[1][0], strict=True):
        assert np.isfinite(shared.astype(np.float32)).all()
        assert (alone == shared).all()
    assert results[1][1].noc.dram_read < results[0][1].noc.dram_read
    return results[1][1]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(BF16)


UNEQUAL = {"policy": "block_2d(2,4)"}


@pytest.mark.parametrize("schedule", [UNEQUAL, {"policy": "block_2d(4,2)"}, {"policy": "block_2d(5,1)"}])
def test_copies_that_the_compute_kernel_has_no_part_in(schedule):
    @T.prim_func
    def main(B: T.Tensor((64, 256), "bfloat16"), C: T.Tensor((5 * 64, 256), "bfloat16")):
        with T.Kernel(4, 5, threads=128) as (bx, by):
            X = T.alloc_shared((64, 64), "bfloat16")
            T.copy(B[0, bx * 64], X)
            T.copy(X, C[by * 64, bx * 64])

    b, c = normal(64, 256), np.full((320, 256), np.nan, BF16)
    run_both(main, schedule, ["B"], {"B": b, "C": c}, ["C"])


def test_blocks_that_expressions_read():
    @T.prim_func
    def main(
        A: T.Tensor((160, 256), "bfloat16"),
        V: T.Tensor((256,), "bfloat16"),
        W: T.Tensor((32, 64), "bfloat16"),
        C: T.Tensor((160, 256), "bfloat16"),
    ):
        with T.Kernel(4, 5, threads=128) as (bx, by):
            X = T.alloc_shared((32, 64), "bfloat16")
            T.copy(A[by * 32, bx * 64], X)
            for i, j in T.Parallel(32, 64):
                X[i, j] = X[i, j] * W[i, j] + V[bx * 64 + j]
            T.copy(X, C[by * 32, bx * 64])

    assert follows(main) == {"A": None, "V": "N", "W": "", "C": None}
    tensors = {"A": normal(160, 256), "V": normal(256, seed=1), "W": normal(32, 64, seed=2), "C": normal(160, 256)}
    report = run_both(main, UNEQUAL, ["W", "V"], tensors, ["C"])
    assert report.tensor_read["W"] == 3 * 2 * 2048, "two tiles at each of three steps, for the whole grid"


def test_conditions_and_lengths_that_follow_the_shared_axis():
    @T.prim_func
    def main(
        A: T.Tensor((128, 128), "bfloat16"), B: T.Tensor((128, 256), "bfloat16"), C: T.Tensor((128, 256), "bfloat16")
    ):
        with T.Kernel(8, 4, threads=128) as (bx, by):
            a = T.alloc_shared((32, 32), "bfloat16")
            b = T.alloc_shared((32, 32), "bfloat16")
            c = T.alloc_fragment((32, 32), "float32")
            T.clear(c)
            for k in T.Pipelined(by + 1, num_stages=2):
                T.copy(A[by * 32, k * 32], a)
                T.copy(B[k * 32, bx * 32], b)
                T.gemm(a, b, c)
            T.copy(c, C[by * 32, bx * 32])

    assert follows(main) == {"A": "M", "B": None, "C": None}, "how many blocks of B differs from row to row"
    tensors = {"A": normal(128, 128), "B": normal(128, 256, seed=1), "C": normal(128, 256)}
    run_both(main, {"policy": "block_2d(2,4)"}, ["A"], tensors, ["C"])
    with refused(Code.SCHEDULE_CONFLICT, "'B' cannot be multicast"):
        tt.compile(main, schedule={"policy": "block_2d(2,4)", "multicast": ["B"]})


def test_blocks_under_a_condition():
    @T.prim_func
    def main(
        A: T.Tensor((160, 64), "bfloat16"), B: T.Tensor((64, 128), "bfloat16"), C: T.Tensor((160, 128), "bfloat16")
    ):
        with T.Kernel(4, 5, threads=128) as (bx, by):
            a = T.alloc_shared((32, 64), "bfloat16")
            b = T.alloc_shared((64, 32), "bfloat16")
            c = T.alloc_fragment((32, 32), "float32")
            T.clear(c)
            T.copy(B[0, bx * 32], b)
            if by % 2 == 1:
                T.copy(A[by * 32, 0], a)
                T.gemm(a, b, c)
            T.copy(c, C[by * 32, bx * 32])

    assert follows(main) == {"A": "M", "B": "N", "C": None}
    tensors = {"A": normal(160, 64), "B": normal(64, 128, seed=1), "C": normal(160, 128)}
    for policy in ("block_2d(2,2)", "block_2d(5,4)", "block_2d(1,4)"):
        names = ["A"] if policy == "block_2d(1,4)" else BOTH
        run_both(main, {"policy": policy}, names, tensors, ["C"])
