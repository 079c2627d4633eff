"""VerifyTTPartition on functions whose attributes were changed, and repartition for another launch grid."""

from __future__ import annotations

import copy
import time

import kernels
import pytest
from hypothesis import given
from hypothesis import strategies as st
from partition_support import devices, refused
from tilelang import tvm

import tilelang_tt as tt
from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, TTError
from tilelang_tt.language.plain import plain_attrs
from tilelang_tt.layout import block_sharded, height_sharded
from tilelang_tt.partition import UserSchedule, WorkGrid, partition, repartition
from tilelang_tt.transform import (
    GridToPersistentTT,
    InferDefaultTTSchedule,
    InferTTLayout,
    LayoutAwareWorkPartitionTT,
    PropagateTTLayout,
    VerifyTTPartition,
)


def run_passes(func, *passes):
    return tvm.transform.Sequential(list(passes))(tvm.IRModule({"main": func}))["main"]


N150 = load_device("wormhole_n150")
SHARDS = block_sharded((128, 128), (2, 2))
IN_TURN = block_sharded((128, 128), (4, 2), distribution="round_robin", core_ranges=[(0, 0, 2, 0)])
A_IN_TURN = height_sharded((128, 64), 4, axes=("M", "K"), core_ranges=[(0, 1, 3, 1)])
CASES = {
    "global": ({}, {"num_cores": 5}),
    "block_2d by columns": ({}, {"policy": "block_2d(2,2)", "order": "column_major"}),
    "cyclic by blocks": ({}, {"policy": "block_cyclic(2)", "order": "block_linear(2)", "num_cores": 3}),
    "shards": ({"C": SHARDS, "A": height_sharded((128, 64), 2, axes=("M", "K"), core_ranges=[(0, 0, 0, 1)])}, {}),
    "shards in turn": ({"C": IN_TURN, "A": A_IN_TURN}, {"order": "column_major"}),
    "two written alike": ({"C": SHARDS}, {"order": "column_major"}),
    "auto": ({"C": SHARDS}, {"policy": "auto", "partition_mode": "local_shard"}),
}
PARTITION_ATTRS = [
    *["tt.partition_mode", "tt.grid_tiles", "tt.shard_grid", "tt.local_shape_tiles", "tt.runtime_arg_names"],
    *["tt.runtime_constants", "tt.core_ranges", "tt_core_runtime_args", "tt.driving_buffer", "tt.resident_buffers"],
    *["tt.policy", "tt.order", "tt.reduction_steps"],
]


def annotated(case):
    layout, schedule = CASES[case]
    func = tt.annotate_tt_layout(kernels.gemm.get_tir(128, 128, 64, 32, 32, 32), layout)
    passes = InferDefaultTTSchedule(), InferTTLayout(), PropagateTTLayout(), LayoutAwareWorkPartitionTT()
    return run_passes(tt.annotate_tt_schedule(func, schedule), *passes)


def mutations(value, path=()):
    """Every way to change one value within nested lists and dictionaries."""
    if isinstance(value, (list, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from mutations(item, (*path, key))
        if isinstance(value, list) and value:
            yield path, value[:-1]
        return
    for new in (
        ("A", "B", "C", "row_major", "column_major", "global", "contiguous")
        if isinstance(value, str)
        else (
            value + 1,
            value - 1,
            0,
            2,
        )
    ):
        if new != value:
            yield path, new


def with_mutation(value, path, new):
    if not path:
        return new
    value = copy.deepcopy(value)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = new
    return value


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_any_change_of_any_partition_attribute_is_noticed(case, persistent):
    func = annotated(case)
    if persistent:
        func = run_passes(func, GridToPersistentTT())
    run_passes(func, VerifyTTPartition())
    plain, noticed = plain_attrs(func), 0
    for key in PARTITION_ATTRS:
        if key not in plain:
            continue
        changed = list(mutations(plain[key]))
        for path, new in changed[:: max(1, len(changed) // 25)]:
            with pytest.raises(TTError):
                run_passes(func.with_attr(key, with_mutation(plain[key], path, new)), VerifyTTPartition())
            noticed += 1
        with pytest.raises(TTError):
            run_passes(func.without_attr(key), VerifyTTPartition())
    assert noticed > 30


@pytest.mark.parametrize(
    ("schedule", "subject"),
    [
        ({"core_ranges": [[4, 4, 7, 7]]}, "tt.core_ranges"),
        ({"num_cores": 3}, "tt.core_ranges"),
        ({"partition_mode": "local_shard"}, "tt.partition_mode"),
        ({"policy": "block_2d"}, "tt.policy"),
        ({"order": "column_major"}, "tt.order"),
    ],
)
def test_a_partition_that_does_not_keep_the_schedule(schedule, subject):
    func = tt.annotate_tt_schedule(annotated("global"), schedule)
    with refused(Code.PARTITION_INVALID, subject=subject):
        run_passes(func, VerifyTTPartition())


class TestRepartition:
    @given(
        devices(),
        st.tuples(*[st.integers(1, 12)] * 4),
        st.sampled_from(["contiguous", "block_2d", "block_cyclic(2)"]),
        st.sampled_from(["row_major", "column_major"]),
    )
    def test_global_is_what_planning_for_the_grid_gives(self, device, sizes, policy, order):
        before, now = WorkGrid(sizes[0], sizes[1]), WorkGrid(sizes[2], sizes[3])
        schedule = UserSchedule(policy=policy, order=order)
        made = repartition(partition(before, 4, device, schedule=schedule), now, device, kt=7)
        made.verify(device, kt=7)
        assert made.grid_tiles == (now.mt, now.nt)
        assert made.policy.partition("(")[0] == policy.partition("(")[0]

    def test_the_schedules_cores_stay(self):
        schedule = UserSchedule(core_ranges=((2, 2, 3, 3),))
        made = partition(WorkGrid(1), 1, N150, schedule=schedule)
        assert repartition(made, WorkGrid(9), N150, schedule=schedule).cores == ((2, 2), (3, 2), (2, 3), (3, 3))

    def test_shards_are_clipped(self):
        schedule = UserSchedule("local_shard", shard_grid=(4, 2), local_shape_tiles=(2, 3))
        made = partition(WorkGrid(6, 8), 1, N150, schedule=schedule)
        smaller = repartition(made, WorkGrid(6, 3), N150)
        smaller.verify(N150)
        assert smaller.core_runtime_args == ((0, 6, 0, 0), (0, 6, 0, 1), (0, 3, 1, 0), (0, 3, 1, 1))
        with refused(Code.SHARD_GRID_COVERAGE, "[8, 6]"):
            repartition(made, WorkGrid(6, 9), N150)

    @pytest.mark.parametrize("policy", ["contiguous", "block_2d", "block_cyclic"])
    def test_takes_less_than_a_millisecond(self, policy):
        chip = load_device("blackhole_p150")
        made = partition(WorkGrid(64, 1), 8, chip, schedule=UserSchedule(policy=policy))
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            repartition(made, WorkGrid(64, 1000), chip)
            best = min(best, time.process_time() - start)
        assert best < 1e-3
