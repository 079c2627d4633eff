"""LayoutAwareWorkPartitionTT stamps the partition's attributes, exactly as the contract has them."""

import kernels
import pytest

import tilelang_tt as tt
from tilelang_tt.errors import Code, PartitionError, ScheduleError, TTError
from tilelang_tt.layout import block_sharded, height_sharded
from tilelang_tt.partition import WorkPartition
from tilelang_tt.transform import InferDefaultTTSchedule, InferTTLayout, LayoutAwareWorkPartitionTT, PropagateTTLayout

GLOBAL_ARGS = ["tt_start_tile", "tt_tile_count", "Mt", "Kt", "Nt"]
LOCAL_ARGS = [*GLOBAL_ARGS, "Sm", "Sn", "Gy", "Gx", "tt_shard_coord_y", "tt_shard_coord_x"]


def partitioned(run, func, layout=None, schedule=None, device="wormhole_n150"):
    func = tt.annotate_tt_layout(func, layout or {})
    func = tt.annotate_tt_schedule(func, schedule or {})
    passes = InferDefaultTTSchedule(device), InferTTLayout(), PropagateTTLayout(), LayoutAwareWorkPartitionTT(device)
    return run(func, *passes)


def gemm(m=256, n=256, k=96, block=64):
    return kernels.gemm.get_tir(m, n, k, block, block, 32)


def test_global(run, plain):
    written = plain(partitioned(run, gemm()))
    assert written["tt.partition_mode"] == "global"
    assert written["tt.grid_tiles"] == [4, 4]
    assert written["tt.shard_grid"] == [1, 1]
    assert written["tt.local_shape_tiles"] == [4, 4]
    assert written["tt.runtime_arg_names"] == GLOBAL_ARGS
    assert written["tt.runtime_constants"] == {"Mt": 4, "Kt": 3, "Nt": 4}
    assert written["tt.core_ranges"][:2] == [[0, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1]]
    assert written["tt.core_ranges"][8] == [0, 1, 0, 1, 8, 1]
    assert written["tt_core_runtime_args"] == [[tile, 1] for tile in range(16)]


def test_local_shard(run, plain):
    written = plain(partitioned(run, gemm(), {"C": block_sharded((256, 256), (2, 2))}))
    assert written["tt.partition_mode"] == "local_shard"
    assert written["tt.grid_tiles"] == [4, 4]
    assert written["tt.shard_grid"] == [2, 2]
    assert written["tt.local_shape_tiles"] == [2, 2]
    assert written["tt.runtime_arg_names"] == LOCAL_ARGS
    assert written["tt.runtime_constants"] == {"Mt": 4, "Kt": 3, "Nt": 4, "Sm": 2, "Sn": 2, "Gy": 2, "Gx": 2}
    assert written["tt.core_ranges"] == [
        [0, 0, 0, 0, 0, 4],
        [1, 0, 1, 0, 0, 4],
        [0, 1, 0, 1, 0, 4],
        [1, 1, 1, 1, 0, 4],
    ]
    assert written["tt_core_runtime_args"] == [[0, 4, 0, 0], [0, 4, 0, 1], [0, 4, 1, 0], [0, 4, 1, 1]]
    assert written["tt.driving_buffer"] == "C"


def test_kt_is_one_without_a_reduction_loop(run, plain):
    written = plain(partitioned(run, kernels.binary.get_tir(64, 64, 32, 32)))
    assert written["tt.runtime_constants"]["Kt"] == 1


def test_the_users_legacy_ranges_become_the_partition(run, plain):
    func = gemm(128, 128).with_attr({"tt_tiles_per_core": [[1, 3], [0, 1]]})
    written = plain(partitioned(run, func))
    assert written["tt_core_runtime_args"] == [[1, 3], [0, 1]]
    assert written["tt_tiles_per_core"] == [[1, 3], [0, 1]]


def test_the_mode_when_nobody_says(run):
    shards = block_sharded((256, 256), (2, 2))
    rows = height_sharded((256, 96), 4, axes=("M", "K"))
    uneven = height_sharded((256, 96), 8, axes=("M", "K"))
    dram = block_sharded((256, 256), (2, 2), memory="DRAM")

    def mode(layout, schedule=None):
        partition = WorkPartition.from_func(partitioned(run, gemm(), layout, schedule))
        return partition.mode, partition.driving_buffer

    assert mode({}) == ("global", None)
    assert mode({"C": shards}) == ("local_shard", "C")
    assert mode({"A": rows}) == ("local_shard", "A")
    assert mode({"A": uneven}) == ("global", None), "shards of 32 rows do not line up with blocks of 64"
    assert mode({"C": dram}) == ("global", None)
    assert mode({"C": shards}, {"partition_mode": "global"}) == ("global", None)


def test_runs_again_over_its_own_output(run, plain):
    once = partitioned(run, gemm(), {"C": block_sharded((256, 256), (2, 2))})
    twice = run(once, LayoutAwareWorkPartitionTT("wormhole_n150"))
    assert plain(once) == plain(twice)


def test_needs_the_layouts(run):
    with pytest.raises(PartitionError) as refused:
        run(gemm(), LayoutAwareWorkPartitionTT())
    assert refused.value.code is Code.METADATA_MISSING


SHARDS = block_sharded((256, 256), (2, 2))
REFUSED = {
    "a shard that is not whole work tiles": (
        {"C": block_sharded((256, 256), (8, 2))},
        {},
        PartitionError,
        Code.SHARD_NOT_WORK_TILES,
        "multiple of 64",
    ),
    "shards of two buffers that disagree": (
        {"A": height_sharded((256, 96), 2, axes=("M", "K")), "C": block_sharded((256, 256), (4, 2))},
        {},
        PartitionError,
        Code.SHARD_GRID_MISMATCH,
        "A",
    ),
    "more shards than cores": (
        {"C": block_sharded((256, 256), (4, 4), core_ranges=[(0, 0, 1, 1)])},
        {},
        TTError,
        Code.TOO_MANY_SHARDS,
        "16",
    ),
    "a core range off the device": (
        {"C": block_sharded((256, 256), (2, 2), core_ranges=[(7, 7, 8, 8)])},
        {},
        TTError,
        Code.CORE_OFF_DEVICE,
        "8",
    ),
    "core ranges that overlap": (
        {"C": block_sharded((256, 256), (2, 2), core_ranges=[(0, 0, 1, 0), (1, 0, 2, 0)])},
        {},
        TTError,
        Code.CORE_RANGES_OVERLAP,
        "(1, 0)",
    ),
    "more cores than there are": ({}, {"num_cores": 65}, ScheduleError, Code.TOO_MANY_CORES, "65"),
    "an unknown key": ({}, {"num_core": 8}, ScheduleError, Code.UNKNOWN_KEY, "did you mean 'num_cores'?"),
    "another grid than the launch grid": (
        {},
        {"grid_tiles": [4, 5]},
        ScheduleError,
        Code.GRID_TILES_MISMATCH,
        "[4, 4]",
    ),
    "an override of wrong length": ({}, {"grid_tiles": [4]}, ScheduleError, Code.SCHEDULE_MALFORMED, "[4]"),
    "an override without its other half": (
        {},
        {"partition_mode": "local_shard", "shard_grid": [2, 2]},
        ScheduleError,
        Code.SCHEDULE_INCOMPLETE,
        "local_shape_tiles",
    ),
    "runtime arguments in another order": (
        {},
        {"runtime_args": ["tt_tile_count", "tt_start_tile", "Mt", "Kt", "Nt"]},
        ScheduleError,
        None,
        "['tt_start_tile', 'tt_tile_count', 'Mt', 'Kt', 'Nt']",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(run, case):
    layout, schedule, kind, code, text = REFUSED[case]
    with pytest.raises(kind) as refused:
        partitioned(run, gemm(), layout, schedule)
    error = refused.value
    assert isinstance(error, TTError)
    assert isinstance(error, ValueError)
    if code is not None:
        assert error.code is code
    assert text in str(error)
    assert error.found is not None
    assert error.expected is not None


LEGACY = {
    "that overlap": ([[0, 3], [2, 2]], "2"),
    "that leave tiles out": ([[0, 1], [2, 2]], "1"),
    "that run past the end": ([[0, 2], [2, 3]], "past the end"),
}


@pytest.mark.parametrize("case", LEGACY)
def test_legacy_ranges_are_refused(run, case):
    ranges, text = LEGACY[case]
    with pytest.raises(ScheduleError) as refused:
        partitioned(run, gemm(128, 128).with_attr("tt_tiles_per_core", ranges))
    assert refused.value.code is Code.LEGACY_RANGES
    assert text in str(refused.value)
