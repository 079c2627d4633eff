"""VerifyTTPartition accepts what the passes write, and finds every attribute or loop that was tampered with."""

import kernels
import pytest
from tvm import tirx

import tilelang_tt as tt
from tilelang_tt.errors import CapacityError, Code, PartitionError
from tilelang_tt.layout import block_sharded
from tilelang_tt.transform import VerifyTTPartition
from tilelang_tt.transform.pipeline import tt_passes

STAGES = {"partitioned": 8, "persistent": 10}


def annotated(run, stage, sharded=True, shape=(256, 256)):
    func = kernels.gemm.get_tir(*shape, 64, 64, 64, 32)
    if sharded:
        func = tt.annotate_tt_layout(func, {"C": block_sharded(shape, (2, 2))})
    return run(func, *tt_passes("wormhole_n150")[: STAGES[stage]])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("sharded", [False, True])
def test_accepts_what_the_passes_write(run, plain, stage, sharded):
    func = annotated(run, stage, sharded)
    assert plain(run(func, VerifyTTPartition())) == plain(func)


MUTATIONS = {
    "tt.partition_mode": "global",
    "tt.grid_tiles": [4, 5],
    "tt.shard_grid": [2, 1],
    "tt.local_shape_tiles": [2, 3],
    "tt.runtime_arg_names": ["tt_start_tile", "tt_tile_count", "Mt", "Nt", "Kt"],
    "tt.core_ranges": [[0, 0, 0, 0, 0, 4], [1, 0, 1, 0, 0, 4], [0, 1, 0, 1, 0, 4], [1, 0, 1, 0, 0, 4]],
    "tt_core_runtime_args": [[0, 4, 0, 0], [0, 4, 0, 1], [0, 4, 1, 0], [0, 3, 1, 1]],
    "tt.runtime_constants": {"Mt": 4, "Kt": 2, "Nt": 4, "Sm": 2, "Sn": 2, "Gy": 2, "Gx": 3},
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("key", MUTATIONS)
def test_finds_a_changed_attribute(run, stage, key):
    func = annotated(run, stage).with_attr(key, MUTATIONS[key])
    with pytest.raises(PartitionError) as refused:
        run(func, VerifyTTPartition())
    assert refused.value.code in (Code.PARTITION_INVALID, Code.PERSISTENT_INVALID)


@pytest.mark.parametrize("key", MUTATIONS)
def test_finds_a_missing_attribute(run, key):
    with pytest.raises(PartitionError) as refused:
        run(annotated(run, "partitioned").without_attr(key), VerifyTTPartition())
    assert refused.value.code is Code.METADATA_MISSING
    assert key in str(refused.value)


def test_finds_a_wrong_number_of_reduction_steps(run):
    func = annotated(run, "partitioned", sharded=False)
    func = func.with_attr("tt.runtime_constants", {"Mt": 4, "Kt": 3, "Nt": 4})
    with pytest.raises(PartitionError) as refused:
        run(func, VerifyTTPartition())
    assert "Kt" in str(refused.value)


def test_finds_a_core_that_the_device_lacks(run):
    device = tt.devices.load_device("wormhole_n150").without(cores=[(1, 1)])
    with pytest.raises(PartitionError) as refused:
        run(annotated(run, "partitioned"), VerifyTTPartition(device))
    assert "[1, 1, 1, 1, 0, 4]" in str(refused.value)


def rewritten(func, change):
    body = tirx.stmt_functor.ir_transform(func.body, None, change, ["tirx.For", "tirx.Bind"])
    return tirx.PrimFunc(func.params, body, func.ret_type, func.buffer_map, func.attrs)


def shorter_loop(node):
    if isinstance(node, tirx.For) and node.loop_var.name == "tt_tile":
        return tirx.For(node.loop_var, node.min, node.extent - 1, node.kind, node.body)
    return None


def later_start(node):
    if isinstance(node, tirx.For) and node.loop_var.name == "tt_tile":
        return tirx.For(node.loop_var, tirx.IntImm("int32", 1), node.extent, node.kind, node.body)
    return None


def shifted_column(node):
    if isinstance(node, tirx.Bind) and node.var.name == "bx":
        return tirx.Bind(node.var, node.value + 1)
    return None


@pytest.mark.parametrize("change", [shorter_loop, later_start, shifted_column])
@pytest.mark.parametrize("sharded", [False, True])
def test_finds_a_loop_that_visits_other_tiles(run, change, sharded):
    func = rewritten(annotated(run, "persistent", sharded), change)
    with pytest.raises(PartitionError) as refused:
        run(func, VerifyTTPartition())
    assert refused.value.code is Code.PERSISTENT_INVALID


def fewer_shards(node):
    if isinstance(node, tirx.For) and node.loop_var.name == "tt_shard":
        return tirx.For(node.loop_var, node.min, node.extent - 1, node.kind, node.body)
    return None


def another_shard(node):
    if isinstance(node, tirx.Bind) and node.var.name == "tt_shard_x":
        return tirx.Bind(node.var, node.value + 1)
    return None


def one_shard(node):
    if isinstance(node, tirx.For) and node.loop_var.name == "tt_shard":
        renamed = tirx.Var("step", "int32")
        body = tirx.stmt_functor.substitute(node.body, {node.loop_var: renamed})
        return tirx.For(renamed, node.min, node.extent, node.kind, body)
    return None


@pytest.mark.parametrize("change", [shorter_loop, shifted_column, fewer_shards, another_shard, one_shard])
def test_finds_a_loop_over_other_shards(run, change):
    layout = block_sharded((256, 256), (4, 2), distribution="round_robin", core_ranges=[[0, 0, 2, 0]])
    func = tt.annotate_tt_layout(kernels.gemm.get_tir(256, 256, 64, 64, 64, 32), {"C": layout})
    func = run(func, *tt_passes("wormhole_n150")[: STAGES["persistent"]])
    run(func, VerifyTTPartition())
    with pytest.raises(PartitionError) as refused:
        run(rewritten(func, change), VerifyTTPartition())
    assert refused.value.code is Code.PERSISTENT_INVALID


def test_finds_shards_larger_than_l1(run):
    shape = (2048, 2048)
    with pytest.raises(CapacityError) as refused:
        run(annotated(run, "partitioned", shape=shape), VerifyTTPartition())
    assert refused.value.code is Code.L1_CAPACITY
    assert "2,097,152 bytes" in str(refused.value)
    assert "1,393,312 bytes" in str(refused.value)
