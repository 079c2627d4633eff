"""The ttnn executor on an open device: ttnn tensors, their layouts, what is refused, and what is cached."""

import itertools

import ml_dtypes
import msgspec
import numpy as np
import pytest
from emulator_programs import BF16, COPY, buffer, compute, stream_program, tensor

from tilelang_tt.devices import load_device
from tilelang_tt.errors import Code, ExecutionError, LayoutError, ProgramError
from tilelang_tt.layout import parse_user_layout
from tilelang_tt.program import Program
from tilelang_tt.program.spec import ShardSpec
from tilelang_tt.runtime.call import call
from tilelang_tt.runtime.ttnn_executor import TtnnProgram, device_of, layout_of
from tilelang_tt.runtime.ttnn_executor.call import _programs
from tilelang_tt.runtime.ttnn_executor.layouts import memory_config, shard_of
from tilelang_tt.runtime.ttnn_executor.tensors import allocate, download, upload

SHAPE = (96, 160)
SUBTRACT = compute("compute_kernel_hw_startup(0, 1, 16);", "sub_tiles(0, 1, 0, 0, 0);", 2, once="sub_init(0, 1);")


def run(program, *tensors):
    return call(program, tensors, executor="ttnn")[0]


def values(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(-20, 20, shape).astype(BF16)


@pytest.fixture(scope="module")
def ttnn(device):
    # After the device: where there is none, there may be no ttnn either.
    import ttnn

    return ttnn


@pytest.fixture(scope="module")
def subtraction(device):
    """The program C = A - B, compiled for a part of the device's grid."""

    def build(**changes):
        model = device_of(device)
        part = msgspec.structs.replace(model, cores=tuple(core for core in model.cores if max(core) < 4), noc=None)
        spec, sources = stream_program(
            [tensor("A", SHAPE, BF16, "in"), tensor("B", SHAPE, BF16, "in")],
            tensor("C", SHAPE, BF16, "out"),
            SUBTRACT,
            cores=7,
            device=part,
        )
        return Program(msgspec.structs.replace(spec, **changes), sources)

    return build


# ---- calling ---------------------------------------------------------------------------------------------------------


def test_numpy_arrays_in_place_and_returned(subtraction):
    a, b, c = values(1), values(2), np.full(SHAPE, np.nan, BF16)
    assert run(subtraction(), a, b, c) is None
    np.testing.assert_array_equal(c, a - b)
    np.testing.assert_array_equal(run(subtraction(out_idx=(2,)), a, b), a - b)


def test_outputs_that_are_not_contiguous(subtraction):
    a, b, wide = values(1), values(2), np.full((SHAPE[0], 2 * SHAPE[1]), 7, BF16)
    run(subtraction(), np.asfortranarray(a), b, wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], a - b)
    assert (wide[:, 1::2] == 7).all()


def test_ttnn_tensors_in_place_and_returned(subtraction, device):
    program = subtraction()
    specs = program.spec.tensors
    a, b = (upload(spec, values(seed), device) for spec, seed in zip(specs, (1, 2), strict=False))
    c = allocate(specs[2], device)
    # ttnn tensors choose the executor.
    assert call(program, [a, b, c]) == (None, None)
    np.testing.assert_array_equal(download(specs[2], c), values(1) - values(2))
    returned, _ = call(subtraction(out_idx=(2,)), [a, b])
    np.testing.assert_array_equal(download(specs[2], returned), values(1) - values(2))


def test_ttnn_and_numpy_tensors_in_one_call(subtraction, device):
    program, c = subtraction(), np.zeros(SHAPE, BF16)
    run(program, upload(program.spec.tensors[0], values(1), device), values(2), c)
    np.testing.assert_array_equal(c, values(1) - values(2))


def test_a_second_call_takes_other_tensors_and_builds_nothing(subtraction, device):
    program = subtraction()
    specs = program.spec.tensors
    kept = []
    for seed in (1, 2, 3):
        a, b = upload(specs[0], values(seed), device), upload(specs[1], values(10 + seed), device)
        c = allocate(specs[2], device)
        kept.append((a, b, c))
        run(program, a, b, c)
        np.testing.assert_array_equal(download(specs[2], c), values(seed) - values(10 + seed))
    loaded = _programs[program]
    assert len(loaded._prepared) == 1
    assert loaded.descriptor(kept[2]) is loaded.descriptor(kept[2])
    entries = device.num_program_cache_entries()
    run(program, *kept[0])
    assert device.num_program_cache_entries() == entries


def test_one_tensor_for_two_parameters(subtraction, device):
    program = subtraction()
    specs = program.spec.tensors
    a = upload(specs[0], values(1), device)
    run(program, a, a, a)
    assert not download(specs[2], a).any()


def test_values_survive_the_way_to_the_device_and_back(device):
    tops = {"bfloat16": ml_dtypes.finfo(BF16), "float32": np.finfo(np.float32)}
    for dtype, top in tops.items():
        spec = tensor("A", (33, 70), BF16 if dtype == "bfloat16" else np.float32, "in")
        array = np.random.default_rng(0).standard_normal(spec.shape).astype(np.float32)
        array[0, :7] = [0.0, -0.0, np.inf, -np.inf, np.nan, float(top.max), float(top.tiny)]
        array = array.astype(BF16 if dtype == "bfloat16" else np.float32)
        back = download(spec, upload(spec, array, device))
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back.astype(np.float32), array.astype(np.float32))
    for shape in ((40,), (3, 40, 64), (1, 2, 33, 5)):
        spec, array = tensor("A", shape, BF16, "in"), values(0, shape)
        np.testing.assert_array_equal(download(spec, upload(spec, array, device)), array)


# ---- refused tensors -------------------------------------------------------------------------------------------------


def refused(code, call, *fragments):
    with pytest.raises(ProgramError) as caught:
        call()
    assert caught.value.code == code
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_tensors_unlike_the_compiled_ones_are_refused(subtraction, device, ttnn):
    program = subtraction()
    good = [upload(spec, values(1), device) for spec in program.spec.tensors]

    def with_b(b):
        return lambda: run(program, good[0], b, good[2])

    float32 = upload(tensor("B", SHAPE, np.float32, "in"), values(1).astype(np.float32), device)
    refused(Code.ARGUMENT_DTYPE, with_b(float32), "subject: B", "found: float32", "expected: bfloat16")
    wide = upload(tensor("B", (96, 192), BF16, "in"), values(1, (96, 192)), device)
    refused(Code.ARGUMENT_SHAPE, with_b(wide), "found: [96, 192]", "expected: [96, 160]")
    in_l1 = upload(tensor("B", SHAPE, BF16, "in", memory="L1"), values(1), device)
    refused(Code.ARGUMENT_LAYOUT, with_b(in_l1), "found: L1 interleaved", "expected: DRAM interleaved")
    shard = ShardSpec((3, 1), (1, 5), ((0, 0), (1, 0), (2, 0)))
    sharded = upload(tensor("B", SHAPE, BF16, "in", shard, "L1"), values(1), device)
    refused(Code.ARGUMENT_LAYOUT, with_b(sharded), "found: L1 sharded 3 x 1, 1 x 5 tiles each, on cores (0, 0), (1, 0)")
    rows = ttnn.to_layout(good[1], ttnn.ROW_MAJOR_LAYOUT)
    refused(Code.ARGUMENT_LAYOUT, with_b(rows), "found: ROW_MAJOR layout", "expected: TILE layout")
    refused(Code.ARGUMENT_LAYOUT, with_b(good[1].cpu()), "found: the host")
    run(program, *good)


def test_shards_on_other_cores_are_refused(device):
    cores = ((0, 0), (1, 0), (2, 0))
    program = sharded_copy(device, ShardSpec((3, 1), (1, 5), cores))
    spec = program.spec.tensors[0]
    moved = msgspec.structs.replace(spec, shard=ShardSpec((3, 1), (1, 5), cores[::-1]))
    call = lambda: run(program, upload(moved, values(1), device), upload(spec, values(2), device))  # noqa: E731
    refused(Code.ARGUMENT_LAYOUT, call, "found: L1 sharded 3 x 1", "(2, 0), (1, 0), (0, 0)", "(0, 0), (1, 0), (2, 0)")


def test_other_devices_are_refused(subtraction, device):
    model = device_of(device)
    other = load_device("blackhole_p150" if model.arch == "wormhole" else "wormhole_n150")
    taller = msgspec.structs.replace(model, cores=(*model.cores, (0, model.grid[1])), noc=None, name="taller")
    spec = subtraction().spec
    rows = ((0, model.grid[1], 0, model.grid[1], *spec.partition.core_runtime_args[0]), *spec.partition.core_ranges[1:])
    outside = msgspec.structs.replace(spec.partition, core_ranges=rows)
    for changes in ({"device": other}, {"device": taller, "partition": outside}):
        with pytest.raises(ExecutionError) as caught:
            run(subtraction(**changes), values(1), values(2), values(3))
        assert caught.value.code == Code.DEVICE_MISMATCH
        assert model.name in str(caught.value.found)
        assert changes["device"].name in str(caught.value.expected)
        assert "grid" in str(caught.value.found)
    # A device with more cores does for a program that runs on those that both have.
    np.testing.assert_array_equal(
        run(subtraction(device=taller, out_idx=(2,)), values(1), values(2)), values(1) - values(2)
    )


def test_kernels_that_ttnn_cannot_build_end_in_an_error(subtraction):
    program = subtraction()
    broken = {**program.sources, "compute.cpp": program.sources["compute.cpp"].replace("sub_tiles", "sub_titles")}
    c = np.full(SHAPE, 5, BF16)
    with pytest.raises(ExecutionError) as caught:
        run(Program(program.spec, broken), values(1), values(2), c)
    assert caught.value.code == Code.DEVICE_FAULT
    assert "sub_titles" in str(caught.value)
    assert (c == 5).all()
    run(program, values(1), values(2), c)
    np.testing.assert_array_equal(c, values(1) - values(2))


def test_tensors_too_large_for_l1_end_in_an_error(device):
    spec = tensor("A", (8192, 8192), np.float32, "in", memory="L1")
    with pytest.raises(ExecutionError) as caught:
        allocate(spec, device)
    assert caught.value.code == Code.DEVICE_FAULT


def test_float16_is_refused(device):
    spec, sources = stream_program(
        [tensor("A", SHAPE, np.float16, "in")], tensor("B", SHAPE, np.float16, "out"), COPY, device=device_of(device)
    )
    with pytest.raises(ExecutionError) as caught:
        run(Program(spec, sources), np.zeros(SHAPE, np.float16), np.zeros(SHAPE, np.float16))
    assert caught.value.code == Code.UNSUPPORTED
    assert "ttnn has no tiles of format Float16" in str(caught.value)


def test_kernels_for_another_version_of_ttnn_are_refused(subtraction):
    with pytest.raises(ExecutionError) as caught:
        run(subtraction(metalium_api="ttnn-0.50"), values(1), values(2), values(3))
    assert caught.value.code == Code.EXECUTOR_UNAVAILABLE
    assert (caught.value.found, caught.value.expected) == ("ttnn-0.50", "ttnn-0.81")


# ---- layouts ---------------------------------------------------------------------------------------------------------


def cores_of(ttnn, device, placed):
    """The logical cores that ttnn deals a tensor's shards to, or (bank, 0), from what it tells kernels about it."""
    args = list(ttnn.TensorAccessorArgs(placed).get_compile_time_args())
    # The highest bit says that shards are dealt out in runs.
    rank, banks = args[2], args[3] & 0xFFFF
    extents, sizes = args[4 : 4 + rank], args[4 + rank : 4 + 2 * rank]
    packed = [half for word in args[4 + 2 * rank :] for half in (word & 0xFFFF, word >> 16)][:banks]
    logical = {bank << 8: (bank, 0) for bank in range(device_of(device).dram_banks)}
    if placed.memory_config().buffer_type == ttnn.BufferType.L1:
        logical = {}
    for x, y in device_of(device).cores:
        core = device.worker_core_from_logical_core(ttnn.CoreCoord(x, y))
        logical[core.x << 8 | core.y] = (x, y)
    shards = int(np.prod([-(-extent // size) for extent, size in zip(extents, sizes, strict=True)]))
    return tuple(logical[word] for word in packed[:shards])


def memory_configs(ttnn):
    """All kinds of sharded memory configurations that fit a tensor of ``SHAPE``."""
    layouts, orientations, l1 = ttnn.TensorMemoryLayout, ttnn.ShardOrientation, ttnn.BufferType.L1
    dram, runs = ttnn.BufferType.DRAM, ttnn.ShardDistributionStrategy.CONTIGUOUS_1D
    plane = ttnn.ShardDistributionStrategy.GRID_2D

    def areas(*ranges):
        coord = ttnn.CoreCoord
        return ttnn.CoreRangeSet([ttnn.CoreRange(coord(a, b), coord(c, d)) for a, b, c, d in ranges])

    for orientation in (orientations.ROW_MAJOR, orientations.COL_MAJOR):
        name = orientation.name
        for where in ([(0, 0, 2, 0)], [(0, 0, 1, 1)], [(3, 3, 3, 4), (0, 0, 0, 0), (1, 1, 2, 2)]):
            cores = areas(*where)
            yield (
                f"height {name} {where}",
                ttnn.MemoryConfig(layouts.HEIGHT_SHARDED, l1, ttnn.ShardSpec(cores, [32, 160], orientation)),
            )
        for where in ([(0, 0, 2, 1)], [(2, 2, 3, 3), (5, 5, 5, 5)]):
            cores = areas(*where)
            yield (
                f"width {name} {where}",
                ttnn.MemoryConfig(layouts.WIDTH_SHARDED, l1, ttnn.ShardSpec(cores, [96, 64], orientation)),
            )
        for size, where in itertools.product(([64, 64], [32, 96], [96, 32]), ([(0, 0, 5, 5)], [(1, 2, 6, 7)])):
            cores = areas(*where)
            yield (
                f"block {name} {size} {where}",
                ttnn.MemoryConfig(layouts.BLOCK_SHARDED, l1, ttnn.ShardSpec(cores, size, orientation)),
            )
        scattered = areas((5, 1, 5, 1), (0, 0, 3, 0), (0, 1, 0, 2))
        irregular = areas((5, 1, 5, 1), (0, 0, 0, 1), (2, 3, 2, 3))
        for size, where in (([64, 64], scattered), ([32, 32], irregular), ([32, 64], irregular), ([96, 32], irregular)):
            nd = ttnn.NdShardSpec(ttnn.Shape(size), where, orientation)
            yield f"nd {name} {size}", ttnn.MemoryConfig(l1, nd)
        in_runs = ttnn.NdShardSpec(ttnn.Shape([32, 32]), areas((2, 2, 3, 3), (0, 5, 0, 5)), orientation, runs)
        yield f"nd runs {name}", ttnn.MemoryConfig(l1, in_runs)
        flat = ttnn.NdShardSpec(ttnn.Shape([32, 64]), areas((1, 1, 5, 5)), orientation, plane)
        yield f"nd plane {name}", ttnn.MemoryConfig(l1, flat)
        for size, banks in itertools.product(
            ([32, 32], [64, 64], [96, 64]), (((0, 0, 2, 0),), ((5, 0, 5, 0), (1, 0, 3, 0)))
        ):
            nd = ttnn.NdShardSpec(ttnn.Shape(size), areas(*banks), orientation)
            yield f"dram {name} {size} {banks}", ttnn.MemoryConfig(dram, nd)


def test_sharded_memory_configs_are_read_as_ttnn_means_them(device, ttnn):
    model, array = device_of(device), values(0).astype(np.float32)
    count = 0
    for name, memory in memory_configs(ttnn):
        placed = ttnn.Tensor(array, data_type=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT).to(device, memory)
        layout = layout_of(placed)
        assert parse_user_layout("A", layout, SHAPE, "bfloat16").nd_shard is not None, name
        shard = shard_of(placed.memory_config(), SHAPE, model)
        assert shard.cores == cores_of(ttnn, device, placed), name
        # What a program allocates for such a tensor lies as the tensor that its layout was taken from.
        spec = tensor("A", SHAPE, BF16, "in", shard, layout["memory"])
        assert cores_of(ttnn, device, upload(spec, values(0), device)) == shard.cores, name
        assert shard_of(memory_config(spec), SHAPE, model) == shard, name
        count += 1
    assert count == 46


@pytest.mark.parametrize(
    ("shape", "size", "grid", "shard"),
    [
        ((3, 64, 96), [1, 32, 64], (6, 2), (1, 2)),
        ((3, 64, 96), [2, 32, 64], (2, 2, 2), (2, 1, 2)),
        ((2, 3, 64, 96), [1, 2, 32, 64], (2, 2, 2, 2), (1, 2, 1, 2)),
        ((2, 3, 64, 96), [1, 1, 64, 96], (6, 1), (2, 3)),
        ((2, 3, 64, 96), [32, 64], (12, 2), (1, 2)),
        ((2, 3, 64, 96), [2, 32, 64], None, None),
        ((2, 2, 64, 96), [2, 32, 64], (2, 1, 2, 2), (1, 2, 1, 2)),
    ],
)
def test_shards_of_many_dimensions_are_read_as_ttnn_means_them(device, ttnn, shape, size, grid, shard):
    cores = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(4, 0))])
    memory = ttnn.MemoryConfig(ttnn.BufferType.L1, ttnn.NdShardSpec(ttnn.Shape(size), cores))
    if grid is None:
        # Two of six matrices that ttnn counts through: across a batch of three.
        with pytest.raises(LayoutError) as caught:
            shard_of(memory, shape, device_of(device))
        assert caught.value.code == Code.LAYOUT_UNSUPPORTED
        return
    found = shard_of(memory, shape, device_of(device))
    assert (found.grid, found.shard_tiles) == (grid, shard)
    # The content comes back through the page mapping of another tensor: that of the program's own memory config.
    spec = tensor("A", shape, BF16, "in", found, "L1")
    array = values(3, shape)
    np.testing.assert_array_equal(download(spec, upload(spec, array, device)), array)
    assert shard_of(memory_config(spec), shape, device_of(device)) == found


def test_interleaved_tensors_and_those_on_the_host(device, ttnn):
    array = values(0).astype(np.float32)
    host = ttnn.Tensor(array, data_type=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT)
    assert layout_of(host) == {"memory": "DRAM", "layout": "interleaved"}
    assert layout_of(host.to(device, ttnn.DRAM_MEMORY_CONFIG)) == {"memory": "DRAM", "layout": "interleaved"}
    assert layout_of(host.to(device, ttnn.L1_MEMORY_CONFIG)) == {"memory": "L1", "layout": "interleaved"}


def test_layouts_of_vectors_batches_and_named_axes(device):
    def placed(shape, shard):
        return upload(tensor("A", shape, BF16, "in", shard, "L1"), values(0, shape), device)

    vector = layout_of(placed((300,), ShardSpec((1, 5), (1, 2), tuple((x, 0) for x in range(5)))))
    assert {key: vector["nd_shard"][key] for key in ("axes", "grid", "shard_shape_elems")} == {
        "axes": ["N"],
        "grid": [5],
        "shard_shape_elems": [64],
    }
    batched = placed((3, 40, 64), ShardSpec((3, 1), (2, 2), ((0, 0), (1, 0), (2, 0))))
    layout = layout_of(batched, axes=("B", "M", "K"))
    assert layout["nd_shard"]["axes"] == ["B", "M", "K"]
    assert layout["nd_shard"]["grid"] == [3, 1, 1]
    assert layout["nd_shard"]["shard_shape_elems"] == [1, 64, 64]
    assert layout["nd_shard"]["core_ranges"] == [[0, 0, 2, 0]]


def test_shards_in_dram(device, ttnn):
    grid = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(2, 0))])
    spec = ttnn.ShardSpec(grid, [32, 160], ttnn.ShardOrientation.ROW_MAJOR)
    memory = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.HEIGHT_SHARDED, ttnn.BufferType.DRAM, spec)
    placed = ttnn.Tensor(values(0).astype(np.float32), data_type=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT)
    layout = layout_of(placed.to(device, memory))
    assert (layout["memory"], layout["nd_shard"]["grid"]) == ("DRAM", [3, 1])
    parse_user_layout("A", layout, SHAPE, "bfloat16")


def test_rows_are_no_tiles(device, ttnn):
    rows = ttnn.Tensor(values(0).astype(np.float32), data_type=ttnn.bfloat16, layout=ttnn.ROW_MAJOR_LAYOUT)
    with pytest.raises(LayoutError) as caught:
        layout_of(rows)
    assert caught.value.code == Code.LAYOUT_UNSUPPORTED


SHARDS = {
    "height": ShardSpec((3, 1), (1, 5), ((0, 0), (1, 0), (2, 0))),
    "height backwards": ShardSpec((3, 1), (1, 5), ((5, 5), (0, 3), (4, 0))),
    "width uneven": ShardSpec((1, 3), (3, 2), ((0, 0), (0, 1), (0, 2))),
    "block": ShardSpec((2, 3), (2, 2), ((1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2))),
    "block by columns": ShardSpec((2, 3), (2, 2), ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3))),
    "scattered": ShardSpec((2, 3), (2, 2), ((1, 1), (5, 2), (0, 0), (2, 1), (3, 5), (4, 4))),
    "too wide": ShardSpec((3, 1), (1, 8), ((0, 0), (1, 0), (2, 0))),
    "too high": ShardSpec((1, 5), (4, 1), ((0, 0), (0, 1), (0, 2), (0, 3), (2, 2))),
    "one": ShardSpec((1, 1), (3, 5), ((3, 4),)),
    "in turn": ShardSpec((3, 3), (1, 2), ((1, 1), (5, 2), (0, 0), (2, 1))),
    "in runs": ShardSpec((3, 2), (1, 3), ((1, 1), (5, 2), (0, 0)), True),
}


def sharded_copy(device, shard):
    """B = A by the cores that hold them, with circular buffers on the shards: nothing goes over the network."""
    pages = shard.pages_per_core
    specs = [tensor(name, SHAPE, BF16, way, shard, "L1") for name, way in (("A", "in"), ("B", "out"))]
    spec, _ = stream_program(specs[:1], specs[1], COPY, cores=len(shard.cores), device=device_of(device))
    header = '#include "api/dataflow/dataflow_api.h"\nvoid kernel_main() {'
    sources = {
        "reader.cpp": f"{header} cb_reserve_back(0, {pages}); cb_push_back(0, {pages}); }}",
        "compute.cpp": COPY.replace("get_arg_val<uint32_t>(1)", str(pages)),
        "writer.cpp": f"{header} cb_wait_front(16, {pages}); cb_pop_front(16, {pages}); }}",
    }
    buffers = (buffer(0, "in0", "Float16_b", pages, tensor="A"), buffer(16, "out", "Float16_b", pages, tensor="B"))
    rows = tuple((x, y, x, y, 0, pages) for x, y in shard.cores)
    partition = msgspec.structs.replace(
        spec.partition, core_ranges=rows, core_runtime_args=tuple((0, pages) for _ in rows)
    )
    kernels = tuple(msgspec.structs.replace(kernel, accessors=()) for kernel in spec.kernels)
    spec = msgspec.structs.replace(spec, circular_buffers=buffers, partition=partition, kernels=kernels)
    return Program(spec, sources)


@pytest.mark.parametrize("kind", SHARDS)
def test_circular_buffers_lie_on_shards(device, ttnn, kind):
    shard = SHARDS[kind]
    program = sharded_copy(device, shard)
    placed = upload(program.spec.tensors[0], values(1), device)
    assert cores_of(ttnn, device, placed) == shard.cores
    assert shard_of(placed.memory_config(), SHAPE, device_of(device)) == shard
    for seed in (1, 2):
        b = np.zeros(SHAPE, BF16)
        run(program, values(seed), b)
        np.testing.assert_array_equal(b, values(seed))


def test_programs_made_for_one_device(subtraction, device):
    program = subtraction()
    loaded = TtnnProgram(program.spec, program.sources, device)
    a, b, c = (upload(spec, values(seed), device) for seed, spec in enumerate(program.spec.tensors))
    loaded.run([a, b, c])
    np.testing.assert_array_equal(download(program.spec.tensors[2], c), values(0) - values(1))
    refused(Code.ARGUMENT_COUNT, lambda: loaded.run([a, b]), "found: 2 tensors")


def test_the_device_is_known(device):
    model = device_of(device)
    grid = device.compute_with_storage_grid_size()
    assert model.grid == (grid.x, grid.y)
    assert len(model.cores) == grid.x * grid.y
    assert model.arch in ("wormhole", "blackhole")
