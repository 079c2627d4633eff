"""Functions of several grids: a program for each, run one after the other, and the device memory between them."""

import json
import subprocess
import sys

import grid_kernels
import msgspec
import numpy as np
import pytest
import tilelang
import tilelang.language as T
import torch
from constructs import supported
from partition_support import refused

import tilelang_tt as tt
from tilelang_tt.errors import Code, ExecutionError
from tilelang_tt.layout import block_sharded, height_sharded
from tilelang_tt.program import saved, storage
from tilelang_tt.program.consistency import check_sequence
from tilelang_tt.runtime import load
from tilelang_tt.transform import InferTTStorage, SplitGridsTT


@pytest.fixture(scope="module")
def scaled():
    return tt.compile(grid_kernels.scaled_then_shifted.get_tir(96, 64, 32))


def run_scaled(program, scale=3.0):
    a, b = torch.randn(96, 64), torch.full((96, 64), float("nan"))
    program(a, b, scale)
    return b, a * scale + 1


def products(**options):
    func = grid_kernels.two_products.get_tir(128, 128, 64, 192, 64)
    program = tt.compile(func, **options)
    a, b, c = (torch.randn(shape).bfloat16() for shape in ((128, 64), (64, 128), (128, 192)))
    ab, d = torch.zeros(128, 128).bfloat16(), torch.zeros(128, 192).bfloat16()
    program(a, b, c, ab, d)
    for found, want in ((ab, a.float() @ b.float()), (d, ab.float() @ c.float())):
        assert (found - want).abs().max() <= 2**-8 * want.abs().max()
    return program


# ---- what a call does ----------------------------------------------------------------------------------------------


@supported(
    "Tensors", "device memory that the function allocates (`T.alloc_global`), written by one grid and read by others"
)
def test_each_grid_is_a_program_of_its_own(scaled):
    first, second = scaled.programs
    assert (first.partition.grid_tiles, second.partition.grid_tiles) == ((3, 2), (1, 3))
    assert [t.name for t in first.spec.tensors] == ["A", "s", "W"]
    assert [t.name for t in second.spec.tensors] == ["B", "W"]
    assert [t.name for t in scaled.spec.tensors] == ["A", "B", "s"]
    assert [t.name for t in scaled.spec.intermediates] == ["W"]
    found, want = run_scaled(scaled)
    assert torch.equal(found, want)


def test_one_grid_is_a_program_as_ever():
    func = grid_kernels.one_grid.get_tir(64, 32)
    program = tt.compile(func)
    assert isinstance(program, tt.Program)
    assert program.spec.name == "one_grid"
    assert SplitGridsTT()(tilelang.tvm.IRModule({"main": func}))["main"].same_as(func)


@supported("Tensors", "several grids in one function, one after the other")
def test_a_tensor_that_one_grid_writes_and_the_next_reads():
    program = products()
    assert [tensor.direction for tensor in program.spec.tensors] == ["in", "in", "in", "out", "out"]
    assert not program.spec.intermediates


def test_a_tensor_in_l1_between_grids_has_the_axes_of_each():
    """Rows and columns of work tiles in the first grid; rows and reduction steps in the second."""
    program = products(layout={"AB": height_sharded((128, 128), 2)})
    assert [p.spec.partition.resident_buffers for p in program.programs] == [("AB",), ("AB",)]
    uses = [next(use for use in p.spec.workload.tensors if use.name == "AB") for p in program.programs]
    assert [use.layout["nd_shard"]["axes"] for use in uses] == [["M", "N"], ["M", "K"]]
    program = products(layout={"AB": block_sharded((128, 128), (2, 2))})
    assert [p.spec.partition.mode for p in program.programs] == ["local_shard", "global"]
    assert program.spec.tensors[3].shard.grid == (2, 2)


def test_a_tensor_is_stored_in_one_order_for_all_grids():
    program = tt.compile(grid_kernels.heads_in_turn.get_tir(2, 64, 3, 32, 32))
    assert program.spec.intermediates[0].storage.order == (0, 2, 1, 3)
    a, b = torch.randn(2, 64, 3, 32), torch.zeros(2, 64, 32)
    program(a, b)
    torch.testing.assert_close(b, (a * torch.arange(1, 4)[:, None]).sum(2))


def test_the_first_uses_of_a_tensor_say_what_the_caller_gives():
    program = tt.compile(grid_kernels.rows_told_elsewhere.get_tir(32))
    assert [tensor.direction for tensor in program.spec.tensors] == ["inout", "in", "out"]


def test_sizes_known_at_launch():
    program = tt.compile(grid_kernels.sums_then_shares.get_tir(64, 32))
    for rows in (32, 77, 1, 200):
        a, b = torch.rand(rows, 64) + 0.1, torch.zeros(rows, 64)
        program(a, b)
        assert (b - a / a.sum(1, keepdim=True)).abs().max() < 2e-4
    assert program.spec_for([(77, 64), None]).intermediates[0].shape == (77,)
    with refused(Code.ARGUMENT_SHAPE, "m is 3, as 'A' has it"):
        program(torch.zeros(3, 64), torch.zeros(4, 64))


def test_a_size_that_only_a_tensor_of_another_grid_has():
    program = tt.compile(grid_kernels.rows_told_elsewhere.get_tir(32))
    assert [step.tensors for step in program.spec.steps] == [(0,), (0, 1, 2)]
    for rows, others in ((3, 32), (70, 5)):
        a, b, c = torch.zeros(rows, 32), torch.rand(others, 32), torch.zeros(others, 32)
        program(a, b, c)
        assert torch.equal(a, torch.ones(rows, 32))
        torch.testing.assert_close(c, b * rows, rtol=1e-4, atol=1e-4)


def test_shards_tell_every_grid_the_size_to_plan_for():
    layout = {"B": height_sharded((256, 64), 8)}
    program = tt.compile(grid_kernels.sums_then_shares.get_tir(64, 32), layout=layout)
    assert program.spec.dynamic.sizes == {"m": 256}
    assert [p.spec.dynamic.sizes for p in program.programs] == [{"m": 256}, {"m": 256}]


def test_returned_outputs_numpy_and_torch():
    func = grid_kernels.scaled_then_shifted.get_tir(96, 64, 32)
    program = tt.compile(func, out_idx=1)
    a = np.random.default_rng(0).standard_normal((96, 64)).astype(np.float32)
    assert np.array_equal(program(a, 2.0), a * np.float32(2) + 1)
    assert torch.equal(program(torch.from_numpy(a), 2.0), torch.from_numpy(a) * 2 + 1)


def test_a_schedule_holds_for_all_grids_and_may_name_one():
    cores = [len(p.spec.partition.core_ranges) for p in products(schedule={"num_cores": 2}).programs]
    assert cores == [2, 2]
    grids = [{"num_cores": 3}, {}]
    cores = [len(p.spec.partition.core_ranges) for p in products(schedule={"num_cores": 2, "grids": grids}).programs]
    assert cores == [3, 2]


def test_a_multicast_concerns_the_grids_that_have_the_tensor():
    program = products(schedule={"policy": "block_2d(2,1)", "multicast": ["B", "C"]})
    assert [list(p.spec.partition.multicast) for p in program.programs] == [["B"], ["C"]]


def test_nothing_is_written_where_a_later_grid_fails(scaled):
    broken = msgspec.structs.replace(scaled.programs[1].spec, circular_buffers=())
    program = type(scaled)(scaled.spec, [scaled.programs[0], tt.Program(broken, scaled.programs[1].sources)])
    b = torch.full((96, 64), 7.0)
    with pytest.raises(ExecutionError):
        program(torch.randn(96, 64), b, 1.0)
    assert (b == 7).all()


def test_device_memory_that_nobody_wrote_is_no_number():
    program = tt.compile(grid_kernels.half_written.get_tir(64, 32))
    b = torch.zeros(64, 32)
    program(torch.ones(64, 32), b)
    assert torch.equal(b[:32], torch.ones(32, 32))
    assert b[32:].isnan().all()


def test_names_bound_in_front_of_a_grid_and_memory_allocated_inside_of_one():
    @T.prim_func
    def times(A: T.Tensor((64, 32), "float32"), n: T.Tensor((1,), "int32"), B: T.Tensor((64, 32), "float32")):
        count = n[0]
        W = T.alloc_global((64, 32), "float32")
        with T.Kernel(2, threads=128) as bx:
            unread = T.alloc_global((64, 32), "float32")
            S = T.alloc_shared((32, 32), "float32")
            T.copy(A[bx * 32, 0], S)
            T.copy(S, W[bx * 32, 0])
            T.copy(S, unread[bx * 32, 0])
        with T.Kernel(2, threads=128) as bx:
            S = T.alloc_shared((32, 32), "float32")
            total = T.alloc_fragment((32, 32), "float32")
            T.copy(W[bx * 32, 0], S)
            T.clear(total)
            for _ in T.serial(count):
                for i, j in T.Parallel(32, 32):
                    total[i, j] += S[i, j]
            T.copy(total, B[bx * 32, 0])

    program = tt.compile(times, out_idx=-1)
    a = torch.randn(64, 32)
    torch.testing.assert_close(program(a, torch.tensor([3], dtype=torch.int32)), a * 3)
    assert [[t.name for t in p.spec.tensors] for p in program.programs] == [["A", "W", "unread"], ["n", "B", "W"]]


# ---- what is told of it --------------------------------------------------------------------------------------------


def test_reports_and_explanations_are_of_each_grid(scaled):
    _, report = scaled.run(torch.zeros(96, 64), torch.zeros(96, 64), 1.0, report=True)
    assert [each.tensor_read.get("W") for each in report.grids] == [0, 96 * 64 * 4]
    assert str(report).splitlines()[0].startswith("grid 0: 6 cores")
    explained = scaled.explain()
    assert str(explained).startswith("scaled_then_shifted: 2 grids, one after the other; modelled time ")
    assert "scaled_then_shifted_grid1 on wormhole_n150" in str(explained)
    told = explained.to_dict()
    assert told["cycles"] == sum(grid["chosen"]["cycles"] for grid in told["grids"])
    assert sorted(scaled.kernels) == [f"grid{n}/{role}" for n in (0, 1) for role in ("compute", "reader", "writer")]


def test_commands_take_a_saved_sequence(scaled, tmp_path, capsys):
    from tilelang_tt.cli import main

    directory = str(scaled.save(tmp_path / "program"))
    assert main(["explain", directory, "--json"]) == 0
    assert [grid["name"] for grid in json.loads(capsys.readouterr().out)["grids"]] == [
        p.spec.name for p in scaled.programs
    ]
    assert main(["plot", directory, str(tmp_path / "both.svg")]) == 0
    assert (tmp_path / "both.svg").exists()
    a = np.random.default_rng(0).standard_normal((96, 64)).astype(np.float32)
    np.savez(tmp_path / "in.npz", A=a, s=np.full(1, 2, np.float32))
    files = ["--inputs", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    command = [sys.executable, "-m", "tilelang_tt.runtime", directory, *files]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "6 cores of wormhole_n150, then 3 cores of wormhole_n150" in printed
    assert "  grid 1" in printed
    with np.load(tmp_path / "out.npz") as out:
        assert list(out) == ["B"]
        assert np.array_equal(out["B"], a * np.float32(2) + 1)


# ---- saved and loaded ----------------------------------------------------------------------------------------------


def test_a_saved_sequence_holds_programs_that_can_be_loaded_alone(scaled, tmp_path):
    directory = scaled.save(tmp_path / "program")
    again = load(directory)
    assert again.spec == scaled.spec
    assert [p.spec for p in again.programs] == [p.spec for p in scaled.programs]
    assert again.kernels == scaled.kernels
    found, want = run_scaled(again)
    assert torch.equal(found, want)
    w = np.zeros((96, 64), np.float32)
    load(directory / "grid0")(np.ones((96, 64), np.float32), 5.0, w)
    assert (w == 5).all()
    scaled.programs[0].save(directory)
    assert isinstance(load(directory), tt.Program)
    scaled.save(directory)
    assert load(directory).spec == scaled.spec


def test_a_sequence_is_one_text(scaled):
    again = saved.decode(saved.encode(scaled))
    assert again.spec == scaled.spec
    assert again.kernels == scaled.kernels


CHANGES = {
    "a program in another place": lambda s: {
        "steps": (msgspec.structs.replace(s.steps[0], program="../x"), s.steps[1])
    },
    "a program twice": lambda s: {"steps": (s.steps[0], msgspec.structs.replace(s.steps[1], program="grid0"))},
    "a program less": lambda s: {"steps": s.steps[:1]},
    "no program": lambda s: {"steps": ()},
    "a tensor that is none": lambda s: {"steps": (s.steps[0], msgspec.structs.replace(s.steps[1], tensors=(1, 4)))},
    "another tensor": lambda s: {"steps": (s.steps[0], msgspec.structs.replace(s.steps[1], tensors=(0, 3)))},
    "a tensor less": lambda s: {"steps": (s.steps[0], msgspec.structs.replace(s.steps[1], tensors=(1,)))},
    "another shape": lambda s: {"intermediates": (msgspec.structs.replace(s.intermediates[0], shape=(64, 64)),)},
    "another direction": lambda s: {
        "tensors": (msgspec.structs.replace(s.tensors[0], direction="out"), *s.tensors[1:])
    },
    "an unused tensor": lambda s: {
        "intermediates": (*s.intermediates, msgspec.structs.replace(s.tensors[0], name="Z"))
    },
    "a name twice": lambda s: {"intermediates": (msgspec.structs.replace(s.intermediates[0], name="A"),)},
    "an output that is none": lambda s: {"out_idx": (3,)},
    "an input from nowhere": lambda s: {"tensors": s.tensors[1:], "intermediates": (*s.intermediates, s.tensors[0])},
}


@pytest.mark.parametrize("change", CHANGES)
def test_data_that_does_not_fit_is_refused(scaled, change):
    spec = msgspec.structs.replace(scaled.spec, **CHANGES[change](scaled.spec))
    programs = [program.spec for program in scaled.programs]
    check_sequence(scaled.spec, programs, "here")
    with refused(Code.PROGRAM_MALFORMED, "does not agree with itself", subject="here"):
        check_sequence(spec, programs, "here")


@pytest.mark.parametrize("field", ["sizes", "shapes", "intermediate_shapes", None])
def test_sizes_that_do_not_fit_are_refused(field):
    made = tt.compile(grid_kernels.sums_then_shares.get_tir(64, 32))
    programs = [program.spec for program in made.programs]
    values = {"sizes": {"m": 7}, "shapes": ((32, 64), (32, 64)), "intermediate_shapes": ((7,),)}
    dynamic = None if field is None else msgspec.structs.replace(made.spec.dynamic, **{field: values[field]})
    check_sequence(made.spec, programs, "here")
    with refused(Code.PROGRAM_MALFORMED, "does not agree with itself"):
        check_sequence(msgspec.structs.replace(made.spec, dynamic=dynamic), programs, "here")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: (d / "sequence.json").write_text("{}"),
        lambda d: (d / "sequence.json").write_text(
            (d / "sequence.json").read_text().replace('version": 1', 'version": 9')
        ),
        lambda d: (d / "grid1" / "program.json").unlink(),
        lambda d: (d / "grid0" / "kernels" / "reader.cpp").unlink(),
    ],
)
def test_a_spoilt_directory_is_refused(scaled, tmp_path, spoil):
    directory = scaled.save(tmp_path / "program")
    spoil(directory)
    with refused(Code.PROGRAM_MALFORMED):
        load(directory)
    with refused(Code.PROGRAM_MALFORMED):
        storage.decode('{"sequence": {}, "programs": []}')


# ---- TileLang's entry points ---------------------------------------------------------------------------------------


def test_behind_tilelangs_entry_points(tmp_path):
    kernel = tilelang.compile(grid_kernels.scaled_then_shifted.get_tir(96, 64, 32), target="tenstorrent", out_idx=[1])
    a = torch.randn(96, 64)
    assert torch.equal(kernel(a, 3.0), a * 3 + 1)
    assert kernel.get_kernel_source().count("#ifdef COMPILE_FOR_TRISC  // grid") == 2
    dynamic = tilelang.compile(grid_kernels.sums_then_shares.get_tir(64, 32), target="tenstorrent", out_idx=[1])
    for rows in (50, 96):
        a = torch.rand(rows, 64) + 0.1
        assert (dynamic(a) - a / a.sum(1, keepdim=True)).abs().max() < 2e-4


# ---- the pass ------------------------------------------------------------------------------------------------------


def test_the_pass_leaves_a_function_of_each_grid():
    func = grid_kernels.scaled_then_shifted.get_tir(96, 64, 32)
    func = tt.annotate_tt_layout(func, {"W": {"memory": "L1"}, "B": {"memory": "DRAM"}})
    mod = tilelang.tvm.transform.Sequential([SplitGridsTT(), InferTTStorage()])(tilelang.tvm.IRModule({"main": func}))
    parts = [mod[f"scaled_then_shifted_grid{number}"] for number in (0, 1)]
    assert [sorted(part.attrs["tt.user_layout"]) for part in parts] == [["W"], ["B", "W"]]
    assert [int(part.attrs["tt.grid_of"]["number"]) for part in parts] == [0, 1]
    assert [[str(part.buffer_map[p].name) for p in part.params if p in part.buffer_map] for part in parts] == [
        ["A", "W"],
        ["B", "W"],
    ]
    assert "tt.grid_of" not in func.attrs


# ---- what is refused -----------------------------------------------------------------------------------------------


def outside(kind):
    @T.prim_func
    def outside(A: T.Tensor((64, 32), "float32"), B: T.Tensor((64, 32), "float32")):
        with T.Kernel(2, threads=128) as bx:
            S = T.alloc_shared((32, 32), "float32")
            T.copy(A[bx * 32, 0], S)
            T.copy(S, B[bx * 32, 0])
        if kind == "store":
            B[0, 0] = 1.0
        if kind == "copy":
            T.copy(A[0:32, 0:32], B[0:32, 0:32])
        if kind == "loop":
            for _ in T.serial(3):
                with T.Kernel(2, threads=128) as bx:
                    S = T.alloc_shared((32, 32), "float32")
                    T.copy(B[bx * 32, 0], S)
                    T.copy(S, A[bx * 32, 0])

    return outside


@pytest.mark.parametrize(
    ("kind", "message", "found"),
    [
        ("store", "a statement is outside of all grids", "B[0, 0]"),
        ("copy", "a statement is outside of all grids", "T.copy"),
        ("loop", "a grid is launched in a loop", "range(3)"),
    ],
)
def test_what_the_host_would_do_is_refused(kind, message, found):
    with refused(Code.UNSUPPORTED, message, subject="outside") as error:
        tt.compile(outside(kind))
    assert found in error.value.found


def test_a_grid_under_a_condition_is_refused():
    m = T.dynamic("m")

    @T.prim_func
    def sometimes(A: T.Tensor((m, 32), "float32")):
        if m > 32:
            with T.Kernel(1, threads=128):
                S = T.alloc_shared((32, 32), "float32")
                T.copy(A[0:32, 0:32], S)
                T.copy(S, A[32:64, 0:32])

    with refused(Code.UNSUPPORTED, "a grid is launched under a condition"):
        tt.compile(sometimes)


def test_memory_that_no_grid_has_written_is_refused():
    with refused(Code.UNSUPPORTED, "W is read before a grid has written it", subject="W"):
        tt.compile(grid_kernels.never_written.get_tir(64, 32))


def test_annotations_of_what_there_is_not_are_refused():
    func = grid_kernels.scaled_then_shifted.get_tir(96, 64, 32)
    with refused(Code.UNKNOWN_BUFFER, "names 'V'", "one of A, B, s, W"):
        tt.compile(func, layout={"V": {"memory": "DRAM"}})
    with refused(Code.SCHEDULE_MALFORMED, "grids is not a schedule for each grid", "a list of 2 dictionaries"):
        tt.compile(func, schedule={"grids": [{}]})
    with refused(Code.UNKNOWN_KEY, "cores"):
        tt.compile(func, schedule={"grids": [{}, {"cores": 3}]})
    with refused(Code.UNKNOWN_KEY, "grids"):
        tt.compile(grid_kernels.one_grid.get_tir(64, 32), schedule={"grids": [{}]})


def test_axes_that_are_those_of_no_grid_are_refused():
    layout = {"AB": height_sharded((128, 128), 2, axes=("N", "M"))}
    with refused(Code.AXES_MISMATCH, "nd_shard.axes contradicts"):
        tt.compile(grid_kernels.two_products.get_tir(128, 128, 64, 192, 64), layout=layout)


def test_grids_that_store_a_tensor_as_another_dtype_are_refused():
    func = grid_kernels.scaled_then_shifted.get_tir(96, 64, 32, "float16")
    with refused(Code.UNSUPPORTED, "grids keep tensor 'W' in different ways", "data_format Float16"):
        tt.compile(func, schedule={"grids": [{"float16_as": "bfloat16"}, {}]})
    assert tt.compile(func, schedule={"float16_as": "bfloat16"}).spec.intermediates[0].data_format == "Float16_b"


def test_tensors_of_other_grids_count_towards_l1():
    func = grid_kernels.two_products.get_tir(512, 768, 768, 512, 32)
    layout = {"A": height_sharded((512, 768), 1, axes=("M", "K")), "C": height_sharded((768, 512), 1, axes=("K", "N"))}
    for name in layout:
        assert tt.compile(func, layout={name: layout[name]})
    with refused(Code.L1_CAPACITY, "and the tensors of all grids do not fit"):
        tt.compile(func, layout=layout)
