"""GridToPersistentTT consumes the runtime argument names: the grid becomes a loop per core over its own work tiles."""

import kernels
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilelang import tvm
from tvm import tirx

import tilelang_tt as tt
from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, PartitionError
from tilelang_tt.layout import block_sharded
from tilelang_tt.partition import WorkPartition
from tilelang_tt.transform import (
    GridToPersistentTT,
    InferDefaultTTSchedule,
    InferTTLayout,
    LayoutAwareWorkPartitionTT,
    PropagateTTLayout,
)


def lowered(run, func, layout=None, device="wormhole_n150"):
    func = tt.annotate_tt_layout(func, layout or {})
    before = InferDefaultTTSchedule(device), InferTTLayout(), PropagateTTLayout(), LayoutAwareWorkPartitionTT(device)
    return run(func, *before, GridToPersistentTT())


def tile_loop(func):
    loops = []
    tirx.stmt_functor.post_order_visit(
        func.body, lambda node: loops.append(node) if isinstance(node, tirx.For) else None
    )
    return next(loop for loop in loops if loop.loop_var.name == "tt_tile")


def visited(func, partition, core):
    """The (blockIdx.y, blockIdx.x) that the persistent loop of ``core`` recovers, by evaluating its TIR."""
    names = partition.runtime_arg_names
    scalars = dict(zip(func.params[-len(names) :], partition.core_payload(core), strict=True))
    loop = tile_loop(func)
    binds = {str(s.var.name): s for s in loop.body.seq if isinstance(s, tirx.Bind)}
    analyzer = tvm.arith.Analyzer()
    values = {var: tirx.IntImm("int32", value) for var, value in scalars.items()}
    count = int(analyzer.simplify(tirx.stmt_functor.substitute(loop.extent, values)))
    for step in range(count):
        at = {**values, loop.loop_var: tirx.IntImm("int32", step)}
        yield tuple(int(analyzer.simplify(tirx.stmt_functor.substitute(binds[n].value, at))) for n in ("by", "bx"))


LAYOUTS = {
    "global": None,
    "local_shard": {"C": block_sharded((320, 224), (3, 2))},
    "one shard a core": {"C": block_sharded((320, 224), (5, 7))},
}


@pytest.mark.parametrize("mode", LAYOUTS)
def test_over_all_cores_the_loop_visits_every_work_tile_once(run, mode):
    func = lowered(run, kernels.gemm.get_tir(320, 224, 64, 32, 32, 32), LAYOUTS[mode])
    partition = WorkPartition.from_func(func)
    seen = []
    for core in partition.cores:
        tiles = list(visited(func, partition, core))
        assert tiles == list(partition.tiles(core))
        assert all(partition.owner(*tile) == core for tile in tiles)
        seen += tiles
    assert sorted(seen) == [(m, n) for m in range(10) for n in range(7)]


@pytest.mark.parametrize("mode", LAYOUTS)
def test_the_function_is_well_formed_and_has_no_block_index(run, mode):
    func = lowered(run, kernels.gemm.get_tir(320, 224, 64, 32, 32, 32), LAYOUTS[mode])
    tirx.analysis.verify_well_formed(func)
    assert "blockIdx" not in func.without_attr("tt.block_vars").script()
    assert "launch_thread_idx" not in func.script()


def test_the_parameters_end_with_the_canonical_arguments(run):
    shards = {"C": block_sharded((256, 256), (2, 2))}
    func = lowered(run, kernels.gemm.get_tir(256, 256, 64, 64, 64, 32), shards)
    names = [str(param.name) for param in func.params[3:]]
    assert names == list(func.attrs["tt.runtime_arg_names"])
    assert all(param.dtype == "int32" for param in func.params[3:])


def test_the_reduction_loop_runs_to_kt(run):
    func = lowered(run, kernels.gemm.get_tir(64, 64, 256, 64, 64, 32))
    loops = []
    tirx.stmt_functor.post_order_visit(
        func.body, lambda node: loops.append(node) if isinstance(node, tirx.For) else None
    )
    reduction = next(loop for loop in loops if loop.annotations and "num_stages" in loop.annotations)
    assert str(reduction.extent.name) == "Kt"
    assert WorkPartition.from_func(func).runtime_constants["Kt"] == 8


def passes_of(func, *passes):
    return tvm.transform.Sequential(list(passes))(tvm.IRModule({"main": func}))["main"]


@st.composite
def partitions(draw):
    """A kernel of mt x nt blocks, a device with some cores missing, and no shards or shards of whole blocks."""
    mt, nt = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    device = load_device(draw(st.sampled_from(["wormhole_n150", "blackhole_p100"])))
    device = device.without(cores=draw(st.lists(st.sampled_from(device.cores), max_size=5, unique=True)))
    layout = None
    if draw(st.booleans()):
        rows, cols = draw(st.integers(1, mt)), draw(st.integers(1, nt))
        grid = (-(-mt // rows), -(-nt // cols))
        shards = block_sharded((32 * mt, 32 * nt), grid)
        shards["nd_shard"]["shard_shape_elems"] = [32 * rows, 32 * cols]
        layout = {"B": shards} if grid[0] * grid[1] <= len(device.cores) else None
    return (mt, nt), device, layout


@settings(max_examples=40)
@given(partitions())
def test_over_random_grids_devices_and_shards_every_work_tile_is_visited_once(case):
    (mt, nt), device, layout = case
    func = lowered(passes_of, kernels.copy.get_tir(32 * mt, 32 * nt, 32, 32), layout, device)
    partition = WorkPartition.from_func(func)
    partition.verify(device)
    seen = [tile for core in partition.cores for tile in visited(func, partition, core)]
    assert sorted(seen) == [(m, n) for m in range(mt) for n in range(nt)]


def test_batches_are_recovered_from_the_row(run):
    func = lowered(run, kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32))
    binds = {str(s.var.name): str(s.value) for s in tile_loop(func).body.seq if isinstance(s, tirx.Bind)}
    assert binds == {
        "bx": "(tt_start_tile + tt_tile) % Nt",
        "by": "(tt_start_tile + tt_tile) // Nt % 2",
        "bz": "(tt_start_tile + tt_tile) // Nt // 2",
    }


def test_a_kernel_of_one_dimension(run):
    import tilelang.language as T

    @T.prim_func
    def rows(A: T.Tensor((256, 64), "bfloat16"), B: T.Tensor((256, 64), "bfloat16")):
        with T.Kernel(8, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), "bfloat16")
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, B[bx * 32, 0])

    func = lowered(run, rows)
    assert WorkPartition.from_func(func).grid_tiles == (1, 8)
    binds = [str(s.var.name) for s in tile_loop(func).body.seq if isinstance(s, tirx.Bind)]
    assert binds == ["bx"]


def test_needs_the_partition(run):
    with pytest.raises(PartitionError) as refused:
        run(kernels.copy.get_tir(64, 64, 32, 32), GridToPersistentTT())
    assert refused.value.code is Code.METADATA_MISSING
    assert "run LayoutAwareWorkPartitionTT before GridToPersistentTT" in str(refused.value)
