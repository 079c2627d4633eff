"""Symbolic sizes: a kernel compiled once is right at every size, by the same kernels; what cannot be is refused."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import kernels
import ml_dtypes
import msgspec
import numpy as np
import pytest
import tilelang
import tilelang.language as T
import torch
from hypothesis import given
from hypothesis import strategies as st
from partition_support import assert_is, oracle_contiguous, oracle_sharded, refused
from tvm import tirx

import tilelang_tt as tt
from tilelang_tt.errors import Code, ExecutionError, TTError
from tilelang_tt.language.plain import plain_attrs
from tilelang_tt.layout import block_sharded, height_sharded, width_sharded
from tilelang_tt.partition import WorkPartition
from tilelang_tt.program.relaunch import KEPT_SHAPES, at_sizes
from tilelang_tt.runtime.emulator import toolchain
from tilelang_tt.sizes import SizeExpr, evaluate, size_text
from tilelang_tt.transform import VerifyTTPartition
from tilelang_tt.transform.pipeline import tt_passes

D, F = "bfloat16", "float32"
GALLERY = Path(__file__).parent.parent / "examples" / "gallery"
sys.path.append(str(GALLERY))


def gemm(m="m", n=128, k=96, block=(64, 64, 32), **options):
    m, n, k = (T.dynamic(size) if isinstance(size, str) else size for size in (m, n, k))
    return kernels.gemm.get_tir(m, n, k, *block, **options)


def random(*shape):
    return torch.randn(*shape).to(torch.bfloat16)


def assert_product(program, m, n=128, k=96):
    a, b, c = random(m, k), random(k, n), torch.full((m, n), float("nan"), dtype=torch.bfloat16)
    program(a, b, c)
    assert_close(c, a.double() @ b.double())


def assert_close(found, wanted, tolerance=2**-7):
    assert torch.isfinite(found).all()
    assert (found.double() - wanted).abs().max() <= tolerance * wanted.abs().max()


# ---- numerics ------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "contiguous": {},
    "rectangles by columns": {"policy": "block_2d", "order": "column_major"},
    "cyclic by blocks": {"policy": "block_cyclic(2)", "order": "block_linear(2)", "num_cores": 5},
    "auto": {"policy": "auto"},
    "shards of the schedule": {"partition_mode": "local_shard", "shard_grid": [4, 2], "local_shape_tiles": [2, 1]},
}


def test_elements_of_tensors_of_symbolic_sizes_are_read_in_parallel():
    m = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((m, 64), F), C: T.Tensor((m, 64), F)):
        with T.Kernel(T.ceildiv(m, 32), threads=128) as bx:
            for i, j in T.Parallel(32, 64):
                C[bx * 32 + i, j] = A[bx * 32 + i, j] + 1

    program = tt.compile(kernel, schedule={"dynamic": {"m": 64}})
    for rows in (64, 40):
        a, c = torch.randn(rows, 64), torch.zeros(rows, 64)
        program(a, c)
        assert torch.equal(c, a + 1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_rows_of_a_product(name):
    program = tt.compile(gemm(), schedule={**SCHEDULES[name], "dynamic": {"m": 200}})
    for m in (200, 1, 64, 129, 500):
        assert_product(program, m)


def test_all_sizes_of_a_product():
    program = tt.compile(gemm("m", "n", "k", (64, 32, 64)))
    for m, n, k in ((64, 64, 64), (100, 50, 70), (1, 1, 1), (33, 300, 200)):
        assert_product(program, m, n, k)


def test_batches_of_a_product():
    batch, m = T.dynamic("batch"), T.dynamic("m")
    program = tt.compile(kernels.batched_gemm.get_tir(batch, m, 64, 96, 32, 32, 32), out_idx=-1)
    for b, rows in ((1, 32), (3, 70), (5, 1)):
        a, x = random(b, rows, 96), random(b, 96, 64)
        assert_close(program(a, x), a.double() @ x.double())


def test_planes_of_a_grid_of_three_dimensions():
    """blockIdx.y and z are told apart by a symbolic extent of y."""
    rows, planes = T.dynamic("rows"), T.dynamic("planes")

    @T.prim_func
    def kernel(A: T.Tensor((planes, rows, 64), D), C: T.Tensor((planes, rows, 64), D)):
        with T.Kernel(2, T.ceildiv(rows, 32), planes, threads=128) as (bx, by, bz):
            block = T.alloc_shared((32, 32), D)
            T.copy(A[bz, by * 32, bx * 32], block)
            for i, j in T.Parallel(32, 32):
                block[i, j] = block[i, j] + bz
            T.copy(block, C[bz, by * 32, bx * 32])

    program = tt.compile(kernel, out_idx=-1, schedule={"dynamic": {"rows": 32, "planes": 1}})
    for shape in ((1, 32, 64), (3, 100, 64), (4, 1, 64)):
        a = random(*shape)
        expected = a.double() + torch.arange(shape[0]).reshape(-1, 1, 1)
        assert_close(program(a), expected)


def test_masks_and_divisors_of_the_real_length():
    """The mean over rows that exist, of a symbolic number of columns, with vectors of both lengths."""
    m, n = T.dynamic("m"), T.dynamic("n")

    @T.prim_func
    def kernel(A: T.Tensor((m, n), D), v: T.Tensor((n,), D), mean: T.Tensor((m,), F), last: T.Tensor((m,), F)):
        with T.Kernel(T.ceildiv(m, 64), threads=128) as bx:
            block = T.alloc_fragment((64, 32), F)
            part = T.alloc_fragment((64,), F)
            least = T.alloc_fragment((64,), F)
            v_shared = T.alloc_shared((32,), D)
            T.clear(part)
            T.fill(least, T.infinity(F))
            for k in T.serial(T.ceildiv(n, 32)):
                T.copy(A[bx * 64, k * 32], block)
                T.copy(v[k * 32], v_shared)
                for i, j in T.Parallel(64, 32):
                    block[i, j] = block[i, j] + v_shared[j]
                T.reduce_sum(block, part, dim=1, clear=False)
                for i, j in T.Parallel(64, 32):
                    block[i, j] = T.if_then_else(k * 32 + j < n, block[i, j], T.infinity(F))
                T.reduce_min(block, least, dim=1, clear=False)
            for i in T.Parallel(64):
                part[i] = part[i] / n
            T.copy(part, mean[bx * 64])
            T.copy(least, last[bx * 64])

    program = tt.compile(kernel, out_idx=[2, 3], schedule={"dynamic": {"n": 64}})
    for m, n in ((64, 64), (100, 33), (1, 200)):
        a, v = random(m, n) + 3, random(n)
        mean, least = program(a, v)
        total = a.double() + v.double()
        assert_close(mean, total.mean(1))
        assert_close(least, total.amin(1))


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_over_any_length(is_causal):
    attention = importlib.import_module("attention")
    heads, seq = T.dynamic("heads"), T.dynamic("seq")
    tir = attention.flash_attention.get_tir(1, heads, 1, seq, 64, is_causal, 64, 64)
    program = tt.compile(tir, out_idx=-1, schedule={"dynamic": {"seq": 256, "heads": 2}})
    # Keys past the end are masked by causality; without it this kernel takes whole blocks only.
    for heads, seq in ((2, 256), (1, 64), (3, 100 if is_causal else 128)):
        q, k, v = (random(1, heads, seq, 64) for _ in "qkv")
        assert_close(program(q, k, v), attention.attention_reference(q.double(), k.double(), v.double(), is_causal))


@pytest.mark.parametrize("name", ["softmax", "rms_norm", "layer_norm", "elementwise_add"])
def test_rows_of_the_gallery(name):
    examples = [e for theme in ("softmax", "norms", "elementwise") for e in importlib.import_module(theme).EXAMPLES]
    example = next(example for example in examples if example.name == name)
    program = tt.compile(example.kernels[0].get_tir(T.dynamic("m"), *example.shapes[0][1:]), out_idx=example.outputs)
    for m in (64, 1, 200):
        inputs = [
            random(m, *tensor.shape[1:]) if i == 0 or len(tensor.shape) == 2 else random(*tensor.shape)
            for i, tensor in enumerate(program.spec.tensors)
            if i not in program.spec.out_idx
        ]
        assert_close(program(*inputs), example.reference(*(x.double() for x in inputs)))


# ---- the same kernels ----------------------------------------------------------------------------------------------


def test_nothing_is_compiled_again(monkeypatch):
    program = tt.compile(gemm())
    assert_product(program, 64)

    def compile_again(*_):
        raise AssertionError("the compiler was called")

    monkeypatch.setattr(toolchain, "_compile", compile_again)
    for m in (1, 100, 700):
        assert_product(program, m)
    at_other = program.spec_for([(100, 96), (96, 128), (100, 128)])
    assert (at_other.kernels, at_other.circular_buffers) == (program.spec.kernels, program.spec.circular_buffers)
    assert at_other.partition.grid_tiles == (2, 2)


def test_sizes_are_common_runtime_arguments_behind_the_addresses():
    program = tt.compile(gemm())
    assert "const uint32_t size_m = get_common_arg_val<uint32_t>(3);" in program.kernels["reader"]
    assert "size_m" not in program.kernels["compute"].split("void kernel_main")[1]


@pytest.mark.parametrize("name", ["k", "tt_tile", "A_args", "cb_block", "for", "größe", "m.x"])
def test_sizes_may_have_any_name(name):
    m = T.dynamic(name)

    @T.prim_func
    def kernel(A: T.Tensor((m, 32), D), C: T.Tensor((m, 32), D)):
        with T.Kernel(T.ceildiv(m, 64), threads=128) as bx:
            block = T.alloc_shared((64, 32), D)
            T.copy(A[bx * 64, 0], block)
            for i, j in T.Parallel(64, 32):
                block[i, j] = T.if_then_else(bx * 64 + i < m - 1, block[i, j], 7)
            T.copy(block, C[bx * 64, 0])

    a = random(100, 32)
    found = tt.compile(kernel, out_idx=-1)(a)
    assert torch.equal(found[:-1], a[:-1])
    assert (found[-1] == 7).all()


def test_a_program_at_some_shapes_is_made_once():
    program = tt.compile(gemm())
    shapes = [(100, 96), (96, 128), (100, 128)]
    assert program.spec_for(shapes) is program.spec_for(shapes)
    for m in range(1, KEPT_SHAPES + 2):
        program.spec_for([(m, 96), (96, 128), (m, 128)])


@pytest.mark.parametrize("policy", ["contiguous", "block_2d", "block_cyclic"])
def test_preparing_a_launch_of_another_size_costs_by_cores(policy):
    program = tt.compile(gemm(), device="blackhole_p150", schedule={"policy": policy})

    def best(first):
        """Least processor time for one of ten new sizes."""
        least = float("inf")
        for m in range(first, first + 10):
            start = time.process_time()
            spec = program.spec_for([(m, 96), (96, 128), (m, 128)])
            least = min(least, time.process_time() - start)
            assert len(spec.partition.core_ranges) > 100
        return least

    assert best(5_000_000) < 4 * best(10_000)


def test_a_saved_program_keeps_its_symbols(tmp_path):
    tt.compile(gemm(), schedule={"dynamic": {"m": 64}}).save(tmp_path / "program")
    program = tt.runtime.load(tmp_path / "program")
    assert_product(program, 300)
    found = program.explain()
    assert found.to_dict()["sizes"] == {"m": 64}
    assert "planned for m = 64" in str(found)


# ---- partitions of any size ----------------------------------------------------------------------------------------

POLICIES = ["contiguous", "block_2d", "block_2d(3,2)", "block_cyclic", "block_cyclic(3)", "auto"]
ORDERS = ["row_major", "column_major", "block_linear(3)", "match_shard(2,3)"]
_compiled = {}


def compiled(policy, order):
    if (policy, order) not in _compiled:
        schedule = {"policy": policy, "order": order, "core_ranges": [[0, 0, 4, 2]], "dynamic": {"m": 160, "n": 70}}
        _compiled[policy, order] = tt.compile(gemm("m", "n", block=(32, 32, 32)), schedule=schedule)
    return _compiled[policy, order]


@given(st.sampled_from(POLICIES), st.sampled_from(ORDERS), st.integers(1, 900), st.integers(1, 300))
def test_every_work_tile_of_every_size_has_one_core(policy, order, m, n):
    if policy.startswith("block_2d") and order not in ("row_major", "column_major"):
        return
    program = compiled(policy, order)
    device = program.spec.device
    made = WorkPartition.from_spec(program.spec_for([(m, 96), (96, n), (m, n)]).partition)
    made.verify(device, kt=3)
    grid = (-(-m // 32), -(-n // 32))
    assert made.grid_tiles == grid
    assert made.runtime_arg_names == program.partition.runtime_arg_names
    owner = {tile: core for core in made.cores for tile in made.tiles(core)}
    assert len(owner) == grid[0] * grid[1]
    assert set(made.cores) <= {(x, y) for x in range(5) for y in range(3)} == set(program.spec.dynamic.cores)
    assert_is(made, owner, device)
    if (policy, order) == ("contiguous", "row_major"):
        assert owner == oracle_contiguous(grid, [(x, y) for x in range(5) for y in range(3)])


@given(st.integers(1, 512), st.integers(1, 384))
def test_shards_stay_where_they_are(m, n):
    if "shards" not in _compiled:
        layout = {"C": block_sharded((512, 384), (4, 3))}
        _compiled["shards"] = tt.compile(gemm("m", "n", block=(64, 32, 32)), layout=layout)
    program = _compiled["shards"]
    at_size = program.spec_for([(m, 96), (96, n), (m, n)])
    made = WorkPartition.from_spec(at_size.partition)
    made.verify(program.spec.device, kt=3)
    grid = (-(-m // 64), -(-n // 32))
    shard_cores = {(y, x): (x, y) for y in range(4) for x in range(3)}
    assert_is(made, oracle_sharded(grid, (2, 4), shard_cores), program.spec.device)
    shard = at_size.tensors[2].shard
    assert shard.grid == (-(-m // 128), -(-n // 128))
    assert shard.cores == tuple(shard_cores[y, x] for y in range(shard.grid[0]) for x in range(shard.grid[1]))


SHARDED = {
    "output": {"C": block_sharded((512, 128), (8, 2))},
    "output, by rows": {"C": height_sharded((512, 128), 8)},
    "input and output": {"A": height_sharded((512, 96), 8, axes=("M", "K")), "C": height_sharded((512, 128), 8)},
    "input of columns": {"B": width_sharded((96, 128), 4, axes=("K", "N"))},
}


@pytest.mark.parametrize("name", SHARDED)
def test_products_of_sharded_tensors(name):
    program = tt.compile(gemm(block=(32, 32, 32)), layout=SHARDED[name], schedule={"dynamic": {"m": 512}})
    assert program.partition.mode == "local_shard"
    for m in (512, 1, 100, 450):
        assert_product(program, m)
    if name != "input of columns":
        with refused(Code.SHARD_GRID_COVERAGE, "[513, "):
            assert_product(program, 513)


def test_a_block_of_an_output_may_reach_past_the_tensor_inside_its_shard():
    program = tt.compile(gemm(), layout={"C": block_sharded((512, 128), (4, 2))})
    for m in (512, 33, 420):
        assert_product(program, m)


def test_shards_tell_the_size_that_they_are_made_for():
    program = tt.compile(gemm(), layout={"C": block_sharded((640, 128), (5, 2))})
    assert program.spec.dynamic.sizes == {"m": 640}


# ---- launches that are none ----------------------------------------------------------------------------------------


def test_no_rows_are_no_work():
    program = tt.compile(gemm(), out_idx=-1)
    result, report = program.run(random(0, 96), random(96, 128), report=True)
    assert result.shape == (0, 128)
    assert (report.cores, report.noc.total, report.tiles.products) == ((), 0, 0)


def test_a_reduction_over_nothing_is_refused():
    program = tt.compile(gemm("m", 128, "k"), out_idx=-1)
    with refused(Code.ARGUMENT_SHAPE, "m = 64, k = 0", subject="k"):
        program(random(64, 0), random(0, 128))


ARGUMENTS = {
    "two values": ([(64, 96), (96, 128), (65, 128)], Code.ARGUMENT_SHAPE, "C", "where m is 64, as 'A' has it"),
    "a fixed size": ([(64, 96), (96, 100), (64, 128)], Code.ARGUMENT_SHAPE, "B", "expected: [96, 128]"),
    "a rank": ([(64, 96, 1), (96, 128), (64, 128)], Code.ARGUMENT_SHAPE, "A", "expected: [m, 96]"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_shapes_that_do_not_fit(name):
    shapes, code, subject, words = ARGUMENTS[name]
    with refused(code, words, subject=subject):
        tt.compile(gemm())(*(random(*shape) for shape in shapes))


def test_a_size_that_only_a_returned_output_has():
    m = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((32, 32), D), C: T.Tensor((m, 32), D)):
        with T.Kernel(T.ceildiv(m, 32), threads=128) as bx:
            block = T.alloc_shared((32, 32), D)
            T.copy(A[0, 0], block)
            T.copy(block, C[bx * 32, 0])

    with refused(Code.ARGUMENT_COUNT, "no tensor given tells the size m", subject="m"):
        tt.compile(kernel, out_idx=-1)(random(32, 32))
    a, c = random(32, 32), torch.zeros(70, 32, dtype=torch.bfloat16)
    tt.compile(kernel)(a, c)
    assert torch.equal(c, a.repeat(3, 1)[:70])


def test_composite_dimensions_are_computed_and_checked():
    m = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((m, 32), D), C: T.Tensor((m * 2 + 32, 32), D)):
        with T.Kernel(T.ceildiv(m * 2 + 32, 32), threads=128) as bx:
            block = T.alloc_shared((32, 32), D)
            T.copy(A[0, 0], block)
            T.copy(block, C[bx * 32, 0])

    program = tt.compile(kernel, schedule={"dynamic": {"m": 32}})
    a, c = random(50, 32), torch.zeros(132, 32, dtype=torch.bfloat16)
    program(a, c)
    assert torch.equal(c, a[:32].repeat(5, 1)[:132])
    with refused(Code.ARGUMENT_SHAPE, "[m * 2 + 32, 32], which is [132, 32] where m = 50", subject="C"):
        program(a, torch.zeros(131, 32, dtype=torch.bfloat16))


# ---- what is refused at compile time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "code", "words"),
    [
        ({"dynamic": {"n": 5}}, Code.UNKNOWN_KEY, "which is no symbolic size of the kernel"),
        ({"dynamic": {"m": 0}}, Code.SCHEDULE_MALFORMED, "m: 0"),
        ({"dynamic": {"m": True}}, Code.SCHEDULE_MALFORMED, "m: True"),
        ({"dynamic": 5}, Code.SCHEDULE_MALFORMED, "a dictionary from symbolic sizes"),
    ],
)
def test_representative_sizes_that_are_none(schedule, code, words):
    with refused(code, words):
        tt.compile(gemm(), schedule=schedule)


def test_ranges_of_one_size_are_refused():
    func = gemm().with_attr({"tt_tiles_per_core": [[0, 20], [20, 12]], "tt_num_cores": 2})
    with refused(Code.SCHEDULE_CONFLICT, "tt_tiles_per_core is for one size, but the launch grid is symbolic"):
        tt.compile(func)


def test_multicast_is_for_one_size():
    schedule = {"policy": "block_2d(2,2)", "multicast": ["A"], "dynamic": {"m": 256}}
    with refused(Code.SCHEDULE_CONFLICT, "multicast is for one size", subject="multicast"):
        tt.compile(gemm(), schedule=schedule)


def test_policy_auto_multicasts_nothing():
    program = tt.compile(gemm("m", 1024, 1024), schedule={"policy": "auto", "dynamic": {"m": 2048}})
    assert not program.partition.multicast
    assert not program.spec.semaphores


def test_a_legacy_number_of_cores_holds_at_every_launch():
    program = tt.compile(gemm().with_attr("tt_num_cores", 3))
    assert len(program.spec_for([(4000, 96), (96, 128), (4000, 128)]).partition.core_ranges) == 3


def test_sharded_rows_of_a_symbolic_size_under_others():
    func = kernels.batched_gemm.get_tir(2, T.dynamic("m"), 64, 96, 32, 32, 32)
    shard = {"axes": ["B", "M", "N"], "grid": [1, 1, 2], "shard_shape_elems": [2, 1024, 32]}
    layout = {"C": {"memory": "L1", "layout": "sharded", "nd_shard": shard}}
    with refused(Code.LAYOUT_UNSUPPORTED, "its dimension 1 is known only at launch", subject="C"):
        tt.compile(func, layout=layout)


def test_an_input_in_place_whose_blocks_may_reach_past_its_end():
    layout = {"A": height_sharded((512, 96), 8, axes=("M", "K"))}
    with refused(Code.UNSUPPORTED, "a block of A may reach past its end", subject="A"):
        tt.compile(gemm(), layout=layout)


# ---- passes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [8, 10])
def test_the_verifier_finds_changes_of_what_is_said_of_sizes(run, stage):
    func = run(tt.annotate_tt_schedule(gemm(k="k"), {"dynamic": {"m": 300}}), *tt_passes("wormhole_n150")[:stage])
    run(func, VerifyTTPartition())
    said = plain_attrs(func)["tt.dynamic"]
    changes = [
        {**said, "sizes": [["m", 301], ["k", 1024]]},
        {**said, "grid": [2, 5, 1]},
        {**said, "grid": [2, {"op": "//", "a": "m", "b": 32}, 1]},
        {**said, "Kt": "k"},
        {**said, "sizes": [["m", 300]]},
    ]
    if stage == 10:
        # A constant of the right value is another grid at the next launch.
        changes.remove(changes[1])
    for change in changes:
        with pytest.raises(TTError) as error:
            run(func.with_attr("tt.dynamic", change), VerifyTTPartition())
        assert error.value.code in (Code.PARTITION_INVALID, Code.PERSISTENT_INVALID)
    with pytest.raises(TTError):
        run(func.without_attr("tt.dynamic"), VerifyTTPartition())


def test_the_persistent_function_is_well_formed(run):
    func = run(gemm(k="k"), *tt_passes("wormhole_n150"))
    tirx.analysis.verify_well_formed(func)
    assert [str(param.name) for param in func.params][-5:] == ["tt_start_tile", "tt_tile_count", "Mt", "Kt", "Nt"]


# ---- expressions and programs as data ------------------------------------------------------------------------------


def test_expressions():
    size = SizeExpr("*", SizeExpr("//", SizeExpr("+", "m", 63), 64), SizeExpr("min", "n", 3))
    assert size_text(size) == "(m + 63) // 64 * min(n, 3)"
    assert size_text(SizeExpr("-", "a", SizeExpr("-", "b", 1))) == "a - (b - 1)"
    assert evaluate(size, {"m": 100, "n": 7}) == 6
    assert msgspec.convert(msgspec.to_builtins(size), SizeExpr) == size


TAMPERED = {
    "an operation that is none": lambda d: d["grid"].__setitem__(0, {"op": "eval", "a": 1, "b": 2}),
    "an unknown size": lambda d: d.__setitem__("kt", "x"),
    "another grid": lambda d: d["grid"].__setitem__(1, "m"),
    "another shape": lambda d: d["shapes"][0].__setitem__(0, {"op": "+", "a": "m", "b": 1}),
    "division by nothing": lambda d: d.__setitem__("kt", {"op": "//", "a": 1, "b": {"op": "-", "a": "m", "b": "m"}}),
    "a size that no tensor has": lambda d: d["sizes"].__setitem__("z", 4),
    "a size of nothing": lambda d: d["sizes"].__setitem__("m", 0),
    "cores off the device": lambda d: d["cores"].append([99, 0]),
    "fewer cores than run": lambda d: d.__setitem__("cores", []),
    "a schedule that is none": lambda d: d["schedule"].__setitem__("policy", "guess"),
    "shapes of fewer tensors": lambda d: d["shapes"].pop(),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_loading_refuses_sizes_that_do_not_agree(name, tmp_path):
    path = tt.compile(gemm()).save(tmp_path / "program") / "program.json"
    data = json.loads(path.read_text())
    TAMPERED[name](data["dynamic"])
    path.write_text(json.dumps(data))
    with refused(Code.PROGRAM_MALFORMED):
        tt.runtime.load(tmp_path / "program")


def test_expressions_nested_too_deep_are_refused(tmp_path):
    path = tt.compile(gemm()).save(tmp_path / "program") / "program.json"
    data = json.loads(path.read_text())
    data["dynamic"]["kt"] = "DEEP"
    deep = '{"op": "+", "b": 0, "a": ' * 100_000 + "1" + "}" * 100_000
    path.write_text(json.dumps(data).replace('"DEEP"', deep))
    with refused(Code.PROGRAM_MALFORMED):
        tt.runtime.load(tmp_path / "program")


def test_the_compiled_sizes_give_the_compiled_program():
    spec = tt.compile(gemm(), schedule={"dynamic": {"m": 300}}).spec
    assert at_sizes(at_sizes(spec, {"m": 77}), {"m": 300}) == spec


# ---- other ways in -------------------------------------------------------------------------------------------------


def test_tilelangs_own_entry_point():
    kernel = tilelang.compile(gemm(), target="tenstorrent", out_idx=[-1])
    for m in (64, 100, 0):
        a, b = random(m, 96), random(96, 128)
        assert kernel(a, b).shape == (m, 128)
        if m:
            assert_close(kernel(a, b), a.double() @ b.double())
    with pytest.raises(RuntimeError, match=r"shape\[1\]"):
        kernel(random(64, 90), random(96, 128))


def test_the_command_line(tmp_path):
    tt.compile(gemm()).save(tmp_path / "program")
    arrays = {"A": np.ones((70, 96)), "B": np.ones((96, 128))}
    np.savez(tmp_path / "in.npz", **{k: v.astype(ml_dtypes.bfloat16).view(np.uint16) for k, v in arrays.items()})
    command = [sys.executable, "-m", "tilelang_tt.runtime", str(tmp_path / "program"), "--inputs"]
    command += [str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "main: 4 cores" in done.stdout
    assert "C: bfloat16 [70, 128]" in done.stdout
    with np.load(tmp_path / "out.npz") as out:
        assert (out["C"].view(ml_dtypes.bfloat16).astype(float) == 96).all()


def test_a_kernel_fault_is_told_at_any_size():
    program = tt.compile(gemm())
    broken = {**program.sources, "reader.cpp": program.sources["reader.cpp"].replace("< (size_m + 31) / 32", "< 1000")}
    with pytest.raises(ExecutionError):
        tt.program.Program(program.spec, broken)(random(70, 96), random(96, 128), random(70, 128))
