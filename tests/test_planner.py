"""Policy auto: the choice of the cost model, and Program.explain with its command."""

from __future__ import annotations

import json
import time

import kernels
import ml_dtypes
import msgspec
import numpy as np
import pytest
from partition_support import refused

import tilelang_tt as tt
from tilelang_tt.cli import main
from tilelang_tt.devices import device_names, load_device
from tilelang_tt.errors import Code, TTError
from tilelang_tt.layout import block_sharded, height_sharded, nd_sharded
from tilelang_tt.partition import UserSchedule, plan
from tilelang_tt.partition.cost import traffic_of
from tilelang_tt.partition.planner import ALIKE
from tilelang_tt.partition.workload import accesses
from tilelang_tt.program import storage
from tilelang_tt.program.spec import TensorUseSpec, WorkloadSpec

N150 = load_device("wormhole_n150")


def gemm_workload(m, n, k, bm, bn, bk, layouts=None, schedule=None):
    """C[m, n] = A[m, k] @ B[k, n] in bfloat16."""

    def use(name, shape, roles, block, follows, written=False):
        layout = (layouts or {}).get(name, {})
        return TensorUseSpec(
            name, shape, "bfloat16", roles, block, not written, written, layout, follows=None if written else follows
        )

    tensors = (
        use("A", (m, k), ("M", "K"), (bm, bk), "M"),
        use("B", (k, n), ("K", "N"), (bk, bn), "N"),
        use("C", (m, n), ("M", "N"), (bm, bn), None, written=True),
    )
    return WorkloadSpec((-(-n // bn), -(-m // bm), 1), -(-k // bk), bm * bn * k // 32**3, tensors, schedule or {})


def test_the_first_candidate_is_the_fastest_and_none_is_illegal():
    found = plan(gemm_workload(2048, 1024, 512, 64, 64, 32), N150)
    cycles = [candidate.cost.cycles for candidate in found.candidates]
    assert cycles[0] <= ALIKE * min(cycles)
    for candidate in found.candidates:
        candidate.partition.verify(N150)
        assert candidate.executable
    assert not any(candidate.executable for candidate in found.modelled)
    assert any("multicast of A, B" in candidate.name for candidate in found.candidates)
    assert {"multicast along 8 x 8 cores, rows of blocks kept in L1"} <= {c.name for c in found.modelled}


def test_what_cannot_be_executed_is_never_chosen():
    found = plan(gemm_workload(512, 512, 512, 64, 64, 32), N150)
    assert found.modelled[0].cost.cycles < found.best.cost.cycles
    assert found.best.executable


def test_blocks_kept_in_l1_would_move_less_than_multicast_alone():
    found = plan(gemm_workload(2048, 2048, 1024, 128, 128, 32), N150)
    kept = next(c for c in found.modelled if "kept in L1" in c.name)
    shared = next(c for c in found.candidates if c.partition.multicast and c.cost.cores == kept.cost.cores)
    assert kept.cost.busiest.cycles < shared.cost.busiest.cycles


@pytest.mark.parametrize(
    ("shape", "block", "policy", "names"),
    [
        ((4096, 4096, 4096), (256, 256, 32), "block_2d(8,8)", ["A", "B"]),
        ((32, 4096, 4096), (32, 32, 64), "block_2d(1,64)", ["A"]),
    ],
)
def test_auto_multicasts_where_that_is_faster(shape, block, policy, names):
    found = plan(gemm_workload(*shape, *block), N150)
    alone = [candidate.cost.cycles for candidate in found.candidates if not candidate.partition.multicast]
    assert list(found.best.partition.multicast) == names
    assert found.best.schedule == {"partition_mode": "global", "policy": policy, "multicast": names}
    assert found.best.cost.cycles < 0.6 * min(alone)


def test_auto_leaves_multicast_where_nothing_is_gained():
    """Cores that compute longer than they read need not wait for each other."""
    found = plan(gemm_workload(256, 256, 2048, 256, 256, 32), N150)
    assert not found.best.partition.multicast


def test_the_schedule_may_fix_or_forbid_multicast():
    workload = gemm_workload(512, 512, 512, 64, 64, 32)
    for names in ((), ("B",), ("A", "B")):
        asked = UserSchedule(policy="auto", multicast=names)
        found = plan(workload, N150, asked)
        assert {tuple(candidate.partition.multicast) for candidate in found.candidates} == {names}
    func = kernels.gemm.get_tir(512, 512, 512, 64, 64, 32)
    program = tt.compile(func, schedule={"policy": "auto", "multicast": ["B"]})
    assert list(program.partition.multicast) == ["B"]
    assert "multicast of B" in program.explain().chosen.name
    assert not tt.compile(func, schedule={"policy": "auto", "multicast": []}).partition.multicast
    assert "multicast" not in tt.compile(func).kernels["reader"], "contiguous stays the default"


@pytest.mark.parametrize("schedule", [{"num_cores": 6}, {"core_grid": (4, 2)}, {"core_ranges": ((2, 2, 4, 4),)}])
def test_the_schedules_cores_are_kept(schedule):
    asked = UserSchedule(policy="auto", **schedule)
    allowed = set(asked.available_cores(N150))
    for candidate in plan(gemm_workload(512, 512, 64, 32, 32, 32), N150, asked).candidates:
        assert set(candidate.partition.cores) <= allowed
        assert len(candidate.partition.cores) <= schedule.get("num_cores", len(allowed))


def test_a_candidate_can_be_asked_for():
    workload = gemm_workload(512, 512, 64, 32, 32, 32)
    for candidate in plan(workload, N150).candidates:
        func = kernels.gemm.get_tir(512, 512, 64, 32, 32, 32)
        assert tt.compile(func, schedule=candidate.schedule).partition == candidate.partition
        break


def test_a_plan_that_does_not_fit_l1_is_no_candidate():
    """Shards of 1 MB: with C in place all fits, another block of C in a circular buffer does not."""
    shards = {"C": block_sharded((4096, 8192), (8, 8))}
    for candidate in plan(gemm_workload(4096, 8192, 64, 512, 1024, 32, shards), N150).candidates:
        assert candidate.partition.resident_buffers == ("C",)
    with refused(Code.L1_CAPACITY, "blocks of A", "blocks of C"):
        plan(gemm_workload(4096, 4096, 64, 1024, 1024, 32), N150)


def test_no_legal_plan_is_the_error_of_the_first():
    with refused(Code.TOO_MANY_CORES, subject="num_cores"):
        plan(gemm_workload(64, 64, 64, 32, 32, 32), N150, UserSchedule(num_cores=100))


@pytest.mark.parametrize("device", device_names())
def test_planning_costs_by_cores_not_by_work_tiles(device):
    chip = load_device(device)

    def best(m, n):
        least = float("inf")
        for _ in range(3):
            start = time.process_time()
            plan(gemm_workload(m, n, 768, 64, 64, 32), chip)
            least = min(least, time.process_time() - start)
        return least

    assert best(64 * 1024, 48 * 1024) < 4 * best(1024, 3072)


def run_gemm(program, m, n, k):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((m, k), (k, n)))
    c = np.full((m, n), np.nan, ml_dtypes.bfloat16)
    program(a, b, c)
    expected = a.astype(np.float32) @ b.astype(np.float32)
    assert np.abs(c.astype(np.float32) - expected).max() <= 2**-8 * np.abs(expected).max()


DISAGREEING = {"C": block_sharded((256, 256), (4, 2)), "A": height_sharded((256, 64), 8, axes=("M", "K"))}


@pytest.mark.parametrize("schedule", [{"policy": "auto"}, {"policy": "auto", "partition_mode": "local_shard"}])
@pytest.mark.parametrize("layout", [{}, {"C": DISAGREEING["C"]}, DISAGREEING], ids=["none", "C", "AC"])
def test_auto_runs(schedule, layout):
    func = kernels.gemm.get_tir(256, 256, 64, 32, 32, 32)
    if not layout and "partition_mode" in schedule:
        with refused(Code.SCHEDULE_INCOMPLETE):
            tt.compile(func, schedule=schedule, layout=layout)
        return
    program = tt.compile(func, schedule=schedule, layout=layout)
    assert program.partition.mode == schedule.get("partition_mode", program.partition.mode)
    run_gemm(program, 256, 256, 64)


def test_sharded_buffers_that_disagree_are_refused_unless_auto_may_choose():
    func = kernels.gemm.get_tir(256, 256, 64, 32, 32, 32)
    with refused(Code.SHARD_GRID_MISMATCH, "C: 4 x 2 shards", "A: 8 x 1 shards"):
        tt.compile(func, layout=DISAGREEING)
    program = tt.compile(func, layout=DISAGREEING, schedule={"policy": "auto", "partition_mode": "local_shard"})
    names = [candidate.name for candidate in (program.explain().chosen, *program.explain().runners_up)]
    assert any("shards of A" in name for name in names)
    assert any("shards of C" in name for name in names)


def test_auto_and_a_legacy_schedule_contradict():
    func = kernels.binary.get_tir(64, 64, 32, 32).with_attr("tt_tiles_per_core", [[0, 2], [2, 2]])
    with refused(Code.SCHEDULE_CONFLICT, subject="policy"):
        tt.compile(func, schedule={"policy": "auto"})
    func = kernels.binary.get_tir(64, 64, 32, 32).with_attr("tt_num_cores", 2)
    assert len(tt.compile(func, schedule={"policy": "auto"}).partition.cores) <= 2


# ---- explain -------------------------------------------------------------------------------------------------------

ADD = (256, 256, 32, 32)
SHARDS = block_sharded((256, 256), (4, 4))


@pytest.mark.parametrize(
    ("layout", "schedule", "text"),
    [
        ({}, {}, "nothing"),
        ({"C": SHARDS}, {}, "buffer C: the kernel's written tensor"),
        ({"A": SHARDS}, {}, "buffer A: the kernel's read tensor"),
        ({"C": SHARDS}, {"partition_mode": "global"}, "partition_mode: global"),
        ({}, {"policy": "block_cyclic"}, "policy: block_cyclic"),
        ({}, {"policy": "auto"}, "policy: auto"),
    ],
)
def test_explain_says_what_decided_the_mode(layout, schedule, text):
    explanation = tt.compile(kernels.binary.get_tir(*ADD), layout=layout, schedule=schedule).explain()
    assert explanation.decided_by.startswith(text)
    assert text in str(explanation)


def test_explain_names_a_legacy_schedule():
    func = kernels.binary.get_tir(64, 64, 32, 32).with_attr("tt_tiles_per_core", [[0, 2], [2, 2]])
    assert tt.compile(func).explain().decided_by.startswith("tt_tiles_per_core")


def test_explain_of_a_saved_program(tmp_path, capsys):
    program = tt.compile(kernels.gemm.get_tir(512, 512, 256, 64, 64, 32))
    program.save(tmp_path / "saved")
    assert main(["explain", str(tmp_path / "saved")]) == 0
    text = capsys.readouterr().out
    assert text.strip() == str(program.explain()).strip()
    for part in ("global, contiguous, row_major, 64 cores", "bound by NoC 0", "at most 1 work tiles per core", "bank "):
        assert part in text
    assert main(["explain", str(tmp_path / "saved"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values == json.loads(json.dumps(program.explain().to_dict()))
    assert values["chosen"]["cycles"] == max(
        values["chosen"]["compute_cycles"], *(1.2 * term["cycles"] for term in values["chosen"]["terms"])
    )


def test_explain_of_nothing_and_of_a_program_without_its_workload(tmp_path, capsys):
    assert main(["explain", str(tmp_path)]) == 2
    assert "[program-malformed]" in capsys.readouterr().err
    program = tt.compile(kernels.copy.get_tir(64, 64, 32, 32))
    storage.save(msgspec.structs.replace(program.spec, workload=None), program.sources, tmp_path / "old")
    assert main(["explain", str(tmp_path / "old")]) == 2
    with pytest.raises(TTError, match="compile the kernel again"):
        tt.Program(msgspec.structs.replace(program.spec, workload=None), program.sources).explain()


# ---- the model's counts are those of the generated kernels -----------------------------------------------------------

IN_TURN = {"distribution": "round_robin", "core_ranges": [[2, 1, 6, 1]]}
COUNTED = {
    "contiguous": ({}, {}),
    "block_2d": ({}, {"policy": "block_2d"}),
    "column_major on 5 cores": ({}, {"order": "column_major", "num_cores": 5}),
    "cyclic": ({}, {"policy": "block_cyclic(2)", "num_cores": 7}),
    "C in place": ({"C": block_sharded((256, 384), (4, 3))}, {}),
    "A in place": ({"A": height_sharded((256, 128), 8, axes=("M", "K"))}, {}),
    "A's shards read by others": (
        {"A": height_sharded((256, 128), 8, axes=("M", "K"))},
        {"partition_mode": "global", "policy": "block_2d"},
    ),
    "C's shards written by others": ({"C": block_sharded((256, 384), (4, 3))}, {"partition_mode": "global"}),
    "B over all cores' L1": ({"B": {"memory": "L1", "layout": "interleaved"}}, {}),
    "shards in DRAM": (
        {"A": height_sharded((256, 128), 8, "DRAM", axes=("M", "K")), "C": block_sharded((256, 384), (4, 3), "DRAM")},
        {},
    ),
    "shards on some DRAM banks": (
        {"B": nd_sharded((128, 384), (32, 64), "DRAM", axes=("K", "N"), banks=[7, 3, 5])},
        {"policy": "block_2d"},
    ),
    "runs of shards in DRAM": (
        {"B": nd_sharded((128, 384), (32, 64), "DRAM", axes=("K", "N"), banks=[7, 3], distribution="contiguous")},
        {},
    ),
    "several shards of C per core": ({"C": block_sharded((256, 384), (4, 3), **IN_TURN)}, {"order": "column_major"}),
    "several shards of A per core, read by others": (
        {"A": nd_sharded((256, 128), (64, 64), axes=("M", "K"), **IN_TURN)},
        {"partition_mode": "global"},
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_the_model_counts_what_the_kernels_move(case):
    """Bank by bank and core by core, and in bytes times hops, against the emulator's counts."""
    layout, schedule = COUNTED[case]
    m, n, k = 256, 384, 128
    program = tt.compile(kernels.gemm.get_tir(m, n, k, 32, 64, 32), layout=layout, schedule=schedule)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((m, k), (k, n)))
    _, report = program.run(a, b, np.zeros((m, n), ml_dtypes.bfloat16), report=True)
    device, workload = program.spec.device, program.spec.workload
    traffic = traffic_of(program.partition, device, accesses(workload, device))
    assert traffic.dram_bytes[0].sum(axis=0) == pytest.approx(report.dram_bank_read)
    assert traffic.dram_bytes[1].sum(axis=0) == pytest.approx(report.dram_bank_written)
    for core in report.cores:
        number = traffic.wiring.number[core.core]
        assert traffic.dram_bytes[0][number].sum() == pytest.approx(core.noc.dram_read)
    remote = report.noc.l1_remote_read + report.noc.l1_remote_written
    assert traffic.core_in.sum() == pytest.approx(remote)
    assert traffic.core_out.sum() == pytest.approx(remote)
    for noc in (0, 1):
        loads = traffic.links(noc)
        hops = 0.0 if loads is None else loads.horizontal.sum() + loads.vertical.sum()
        assert hops == pytest.approx(report.noc_byte_hops[noc])
    tiles = sum(row[5] for row in program.partition.core_ranges)
    assert workload.products * tiles == report.tiles.products


MULTICAST = {
    "both operands": ({"policy": "block_2d(4,3)", "multicast": ["A", "B"]}, "wormhole_n150"),
    "over the gap of Blackhole's columns": ({"policy": "block_2d(2,8)", "multicast": ["A", "B"]}, "blackhole_p150"),
    "columns": ({"policy": "block_2d(4,4)", "order": "column_major", "multicast": ["B"]}, "wormhole_n150"),
    "a rectangle": (
        {"policy": "block_2d(1,16)", "core_ranges": [[2, 3, 5, 6]], "multicast": ["A"]},
        "wormhole_n150",
    ),
}


@pytest.mark.parametrize("case", MULTICAST)
def test_the_model_counts_what_multicasts_move(case):
    schedule, chip = MULTICAST[case]
    m, n, k = 256, 32 * 48, 96
    program = tt.compile(kernels.gemm.get_tir(m, n, k, 32, 32, 32), chip, schedule=schedule)
    a, b, c = (np.ones(shape, ml_dtypes.bfloat16) for shape in ((m, k), (k, n), (m, n)))
    _, report = program.run(a, b, c, report=True)
    device, workload = program.spec.device, program.spec.workload
    traffic = traffic_of(program.partition, device, accesses(workload, device))
    assert traffic.dram_bytes[0].sum(axis=0) == pytest.approx(report.dram_bank_read, rel=0.2), "cores are sampled"
    for core in report.cores:
        number = traffic.wiring.number[core.core]
        assert traffic.dram_bytes[0][number].sum() == pytest.approx(core.noc.dram_read)
        assert traffic.core_out[number] == pytest.approx(core.noc.l1_multicast)
    received = 0
    for item in program.partition.multicast.values():
        x0, y0, x1, y1 = item.groups[0][:4]
        name = next(name for name, other in program.partition.multicast.items() if other is item)
        received += report.tensor_read[name] * ((x1 - x0 + 1) * (y1 - y0 + 1) - 1)
    assert traffic.core_in.sum() == pytest.approx(received)
    loads = traffic.links(0)
    assert loads.horizontal.sum() + loads.vertical.sum() == pytest.approx(report.noc_byte_hops[0], rel=0.02)


OTHER_KERNELS = {
    "transposed": (kernels.gemm_transposed.get_tir(128, 192, 128, 64, 64, 64, True, True), True),
    "bias and residual": (kernels.gemm_bias.get_tir(128, 128, 96, 32, 64, 32, residual=True), True),
    "batches": (kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32), True),
    "element-wise": (kernels.binary.get_tir(128, 192, 64, 96), True),
    "blocks past the end": (kernels.gemm.get_tir(160, 224, 64, 64, 64, 32), False),
}


@pytest.mark.parametrize("case", OTHER_KERNELS)
def test_the_model_counts_what_other_kernels_move(case):
    """In all, and where no block is cut off bank by bank."""
    func, exact = OTHER_KERNELS[case]
    program = tt.compile(func)
    tensors = [np.ones(tensor.shape, ml_dtypes.bfloat16) for tensor in program.spec.tensors]
    _, report = program.run(*tensors, report=True)
    device, workload = program.spec.device, program.spec.workload
    traffic = traffic_of(program.partition, device, accesses(workload, device))
    assert traffic.dram_bytes[0].sum() == pytest.approx(report.noc.dram_read)
    assert traffic.dram_bytes[1].sum() == pytest.approx(report.noc.dram_written)
    assert sum(program.explain().chosen.cost.bytes_read.values()) == pytest.approx(report.noc.dram_read)
    if exact:
        assert traffic.dram_bytes[0].sum(axis=0) == pytest.approx(report.dram_bank_read)
        assert traffic.dram_bytes[1].sum(axis=0) == pytest.approx(report.dram_bank_written)


def test_the_model_counts_shards_of_three_dimensions():
    """Cut along batches, rows and columns: no blocks of a matrix."""
    layout = {
        "A": nd_sharded((3, 64, 64), (2, 32, 32), "DRAM", axes=("B", "M", "K")),
        "C": nd_sharded((3, 64, 96), (2, 32, 64), "DRAM"),
    }
    program = tt.compile(kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32), None, layout)
    tensors = [np.ones(tensor.shape, ml_dtypes.bfloat16) for tensor in program.spec.tensors]
    _, report = program.run(*tensors, report=True)
    traffic = traffic_of(program.partition, program.spec.device, accesses(program.spec.workload, program.spec.device))
    assert traffic.dram_bytes[0].sum(axis=0) == pytest.approx(report.dram_bank_read)
    assert traffic.dram_bytes[1].sum(axis=0) == pytest.approx(report.dram_bank_written)
