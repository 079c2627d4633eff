"""Calling programs, saving and loading them, and running them from the command line."""

import json
import shutil

import ml_dtypes
import msgspec
import numpy as np
import pytest
from emulator_programs import buffer, compute, stream_program, tensor

from tilelang_tt.errors import Code, ExecutionError, ProgramError
from tilelang_tt.program import Program
from tilelang_tt.runtime import RunReport, __main__, emulator, load

SHAPE = (64, 96)
BF16 = np.dtype(ml_dtypes.bfloat16)
SUBTRACT = compute("compute_kernel_hw_startup(0, 1, 16);", "sub_tiles(0, 1, 0, 0, 0);", 2, once="sub_init(0, 1);")


def subtraction(dtype=BF16, shape=SHAPE, **changes):
    """The program C = A - B."""
    spec, sources = stream_program(
        [tensor("A", shape, dtype, "in"), tensor("B", shape, dtype, "in")], tensor("C", shape, dtype, "out"), SUBTRACT
    )
    return Program(msgspec.structs.replace(spec, **changes), sources)


@pytest.fixture(autouse=True)
def _emulator_by_default(monkeypatch):
    monkeypatch.delenv("TILELANG_TT_EXECUTOR", raising=False)


@pytest.fixture
def operands():
    # Small integers: exact in every dtype.
    rng = np.random.default_rng(0)
    return [rng.integers(-20, 20, SHAPE).astype(BF16) for _ in range(2)]


def refused(code, call, *fragments):
    with pytest.raises(ProgramError) as caught:
        call()
    assert caught.value.code == code
    for fragment in fragments:
        assert fragment in str(caught.value)


# ---- outputs in place, or returned ---------------------------------------------------------------------------------


def test_outputs_are_written_in_place(operands):
    a, b = operands
    c = np.full(SHAPE, np.nan, BF16)
    assert subtraction()(a, b, c) is None
    np.testing.assert_array_equal(c, a - b)


def test_a_report_is_given_on_request(operands):
    c = np.zeros(SHAPE, BF16)
    result, report = subtraction().run(*operands, c, report=True)
    assert result is None
    assert isinstance(report, RunReport)
    assert report.noc.dram_read == 2 * c.nbytes


def test_a_declared_output_is_returned(operands):
    a, b = operands
    c = subtraction(out_idx=(2,))(a, b)
    assert isinstance(c, np.ndarray)
    np.testing.assert_array_equal(c, a - b)


def test_several_declared_outputs_are_returned_as_a_list(operands):
    program = subtraction()
    tensors = tuple(msgspec.structs.replace(t, direction="inout") if t.name == "A" else t for t in program.spec.tensors)
    result = Program(msgspec.structs.replace(program.spec, tensors=tensors, out_idx=(0, 2)), program.sources)(
        operands[1]
    )
    assert isinstance(result, list)
    np.testing.assert_array_equal(result[0], np.zeros(SHAPE))
    np.testing.assert_array_equal(result[1], -operands[1])


def test_tensors_need_not_be_contiguous(operands):
    a, b = operands
    wide = np.full((2 * SHAPE[0], 2 * SHAPE[1]), 7, BF16)
    subtraction()(np.asfortranarray(a), np.repeat(b, 2, axis=1)[:, ::2], wide[::2, 1::2])
    np.testing.assert_array_equal(wide[::2, 1::2], a - b)
    assert (wide[1::2] == 7).all()
    assert (wide[:, ::2] == 7).all()


def test_read_only_inputs_are_fine_and_stay_as_they_are(operands):
    a, b = operands
    a.setflags(write=False)
    kept, c = a.copy(), np.zeros(SHAPE, BF16)
    subtraction()(a, np.broadcast_to(b[:1], SHAPE), c)
    np.testing.assert_array_equal(a, kept)
    np.testing.assert_array_equal(c, a - b[:1])


# ---- torch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_torch_tensors(dtype):
    torch = pytest.importorskip("torch")
    program = subtraction(BF16 if dtype == "bfloat16" else np.float32)
    a, b = (torch.randint(-20, 20, SHAPE).to(getattr(torch, dtype)) for _ in range(2))
    c = torch.full(SHAPE, torch.nan, dtype=a.dtype)
    program(a, b, c)
    torch.testing.assert_close(c, a - b, rtol=0, atol=0)
    transposed = torch.zeros(SHAPE[::-1], dtype=a.dtype)
    program(a.T.contiguous().T, b.requires_grad_(), transposed.T)
    torch.testing.assert_close(transposed.T, (a - b).detach(), rtol=0, atol=0)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    a, b = torch.ones(SHAPE, dtype=torch.bfloat16), torch.full(SHAPE, 3, dtype=torch.bfloat16)
    c = subtraction(out_idx=(2,))(a, b)
    assert isinstance(c, torch.Tensor)
    torch.testing.assert_close(c, a - b, rtol=0, atol=0)


def test_torch_tensors_that_cannot_be_used_are_refused():
    torch = pytest.importorskip("torch")
    a = torch.ones(SHAPE, dtype=torch.bfloat16)
    program = subtraction()
    refused(Code.BAD_VALUE, lambda: program(a, a.to("meta"), a.clone()), "argument 'B'", "device meta")
    refused(Code.BAD_VALUE, lambda: program(a, a, a.clone().requires_grad_()), "argument 'C'", "detach")
    refused(Code.BAD_VALUE, lambda: program(a, a, a[:1].expand(SHAPE)), "argument 'C'", "share memory")
    refused(Code.ARGUMENT_DTYPE, lambda: program(a, a, a.float()), "found: float32", "expected: bfloat16")


# ---- refused arguments ---------------------------------------------------------------------------------------------


def test_wrong_counts_are_refused(operands):
    program = subtraction()
    refused(Code.ARGUMENT_COUNT, lambda: program(*operands), "subject: C", "found: 2 tensors", "expected: 3: A, B, C")
    refused(Code.ARGUMENT_COUNT, lambda: program(*operands, *operands), "found: 4 tensors")
    returning = subtraction(out_idx=(2,))
    refused(Code.ARGUMENT_COUNT, lambda: returning(*operands, operands[0]), "expected: 2: A, B (C is returned)")


def test_wrong_shapes_are_refused(operands):
    a, b = operands
    call = lambda: subtraction()(a, b.T, np.zeros(SHAPE, BF16))  # noqa: E731
    refused(Code.ARGUMENT_SHAPE, call, "subject: B", "found: [96, 64]", "expected: [64, 96]")


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.float16, ">f4"])
def test_wrong_dtypes_are_refused(operands, dtype):
    a, b = operands
    found = "found: " + (">f4" if dtype == ">f4" else np.dtype(dtype).name)
    call = lambda: subtraction()(a, b.astype(dtype), np.zeros(SHAPE, BF16))  # noqa: E731
    refused(Code.ARGUMENT_DTYPE, call, "subject: B", found, "expected: bfloat16")


def test_what_is_no_tensor_is_refused(operands):
    call = lambda: subtraction()(operands[0].tolist(), operands[1], np.zeros(SHAPE, BF16))  # noqa: E731
    refused(Code.ARGUMENT_DTYPE, call, "argument 'A' is no tensor", "found: list")


def test_outputs_that_cannot_be_written_are_refused(operands):
    c = np.zeros(SHAPE, BF16)
    c.setflags(write=False)
    refused(Code.BAD_VALUE, lambda: subtraction()(*operands, c), "argument 'C'", "a read-only array")
    assert not c.any()


def test_a_failed_run_writes_nothing(operands):
    program = subtraction()
    sources = {**program.sources, "writer.cpp": "#error no\n"}
    c = np.full(SHAPE, 5, BF16)
    with pytest.raises(ExecutionError):
        Program(program.spec, sources)(*operands, c)
    assert (c == 5).all()
    deadlocked = program.sources["reader.cpp"].replace("page < start + count", "page + 1 < start + count")
    with pytest.raises(ExecutionError) as caught:
        Program(program.spec, {**program.sources, "reader.cpp": deadlocked})(*operands, c)
    assert caught.value.code == Code.DEADLOCK
    assert (c == 5).all()


# ---- the executor --------------------------------------------------------------------------------------------------


def test_unknown_executors_are_refused(operands, monkeypatch):
    monkeypatch.setenv("TILELANG_TT_EXECUTOR", "emulater")
    with pytest.raises(ExecutionError) as caught:
        subtraction()(*operands, np.zeros(SHAPE, BF16))
    assert caught.value.code == Code.EXECUTOR_UNAVAILABLE
    assert "did you mean 'emulator'?" in str(caught.value)


def test_versions_of_ttnn_that_are_not_supported_are_refused():
    from tilelang_tt.runtime.ttnn_executor.versions import check_version

    assert check_version("0.81.1").kernel_api == "ttnn-0.81"
    with pytest.raises(ExecutionError) as caught:
        check_version("0.62.0rc1")
    assert caught.value.code == Code.EXECUTOR_UNAVAILABLE
    assert (caught.value.found, caught.value.expected) == ("0.62.0rc1", "ttnn 0.81.*")


# ---- saved programs ------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    return subtraction().save(tmp_path / "program")


def change(directory, **values):
    """Changes fields of a saved program's data."""
    path = directory / "program.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_saved_program_comes_back(saved, operands):
    program, again = subtraction(), load(saved)
    assert again.spec == program.spec
    assert again.sources == program.sources
    assert sorted(path.name for path in saved.iterdir()) == ["kernels", "program.json"]
    c = np.zeros(SHAPE, BF16)
    again(*operands, c)
    np.testing.assert_array_equal(c, operands[0] - operands[1])


def test_saving_replaces_an_earlier_program_and_nothing_else(saved, tmp_path):
    (saved / "kernels" / "old.cpp").write_text("")
    subtraction(name="renamed").save(saved)
    assert load(saved).spec.name == "renamed"
    assert not (saved / "kernels" / "old.cpp").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    refused(Code.PROGRAM_MALFORMED, lambda: subtraction().save(tmp_path / "mine"), "holds something else")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "program"]


def test_corrupt_data_is_refused(saved):
    path = saved / "program.json"
    text = path.read_text()
    for corrupt in (text[: len(text) // 2], "", "[]", "\0" * 10):
        path.write_text(corrupt)
        refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "program.json")


@pytest.mark.parametrize(
    "values",
    [
        {"tensors": [{"name": "A"}]},
        {"surprise": 1},
        {"name": None},
        {"device": {"name": "x", "arch": "grayskull"}},
        {"out_idx": ["C"]},
    ],
)
def test_data_that_is_not_of_the_schema_is_refused(saved, values):
    change(saved, **values)
    refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "not of its schema")


def test_another_schema_version_is_refused(saved):
    change(saved, schema_version=999)
    refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "found: schema version 999", "compile the kernel again")


def test_missing_files_are_refused(saved, tmp_path):
    refused(Code.PROGRAM_MALFORMED, lambda: load(tmp_path / "nothing"), "there is no saved program")
    (saved / "kernels" / "compute.cpp").unlink()
    refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "compute.cpp", "cannot be read")
    shutil.rmtree(saved / "kernels")
    refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "cannot be read")


@pytest.mark.parametrize(
    "name", ["../secret.cpp", "/etc/passwd", "a/b.cpp", "..", "x.cpp\n", "x.cpp\0", "kernel.h", ""]
)
def test_a_source_outside_of_the_program_is_refused(saved, name):
    (saved / "secret.cpp").write_text("int secret;")
    kernels = json.loads((saved / "program.json").read_text())["kernels"]
    change(saved, kernels=[{**kernels[0], "source": name}, *kernels[1:]])
    refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "a kernel's source called")


def edit(values, *path, to):
    """``values`` (a list or dictionary) with the value at ``path`` replaced."""
    key, *rest = path
    changed = list(values) if isinstance(values, list) else dict(values)
    changed[key] = edit(values[key], *rest, to=to) if rest else to
    return changed


INCONSISTENT = {
    "an output that is no parameter": (("out_idx",), [9], "out_idx [9] of 3 parameters"),
    "an accessor of no tensor": (("kernels", 0, "accessors"), ["Z"], "'Z', which is no tensor"),
    "two tensors of one name": (("tensors", 1, "name"), "A", "tensor 'A' twice"),
    "a name that is none": (("tensors", 1, "name"), "A B", "a tensor called 'A B'"),
    "a shape of nothing": (("tensors", 0, "shape"), [0, 64], "shape [0, 64]"),
    "two kernels of one role": (("kernels", 0, "role"), "writer", "kernels of roles writer, compute, writer"),
    "a page that is no tile": (("circular_buffers", 0, "page_size"), 100, "pages of 100 bytes"),
    "a buffer on no shard": (("circular_buffers", 0, "tensor"), "A", "on the shards of 'A'"),
    "no cores": (("partition", "core_ranges"), [], "tt.core_ranges"),
    "a row of arguments too short": (("partition", "core_runtime_args", 0), [0], "tt_core_runtime_args"),
    "settings of the matrix engine for the reader": (("kernels", 0, "compute"), {}, "compute settings of the reader"),
}


@pytest.mark.parametrize("case", INCONSISTENT)
def test_data_that_does_not_agree_with_itself_is_refused(saved, case):
    path, value, text = INCONSISTENT[case]
    values = json.loads((saved / "program.json").read_text())
    change(saved, **{path[0]: edit(values, *path, to=value)[path[0]]})
    refused(Code.PROGRAM_MALFORMED, lambda: load(saved), "does not agree with itself", text)


# ---- the command line ----------------------------------------------------------------------------------------------


def test_running_from_the_command_line(saved, operands, tmp_path, capsys):
    a, b = operands
    np.savez(tmp_path / "in.npz", A=a, B=b.view(np.uint16))
    output = tmp_path / "out.npz"
    assert __main__.main([str(saved), "--inputs", str(tmp_path / "in.npz"), "--output", str(output)]) == 0
    with np.load(output) as file:
        assert file.files == ["C"]
        np.testing.assert_array_equal(file["C"].view(BF16), a - b)
    assert f"DRAM: {2 * a.nbytes:,} bytes read" in capsys.readouterr().out


def test_returned_outputs_are_in_the_output_file(operands, tmp_path):
    saved = subtraction(out_idx=(2,)).save(tmp_path / "program")
    np.savez(tmp_path / "in.npz", A=operands[0], B=operands[1])
    output = tmp_path / "out.npz"
    assert __main__.main([str(saved), "--inputs", str(tmp_path / "in.npz"), "--output", str(output)]) == 0
    with np.load(output) as file:
        np.testing.assert_array_equal(file["C"].view(BF16), operands[0] - operands[1])


@pytest.mark.parametrize(
    ("arrays", "fragment"),
    [
        ({"A": np.zeros(SHAPE, BF16)}, "the inputs lack B"),
        ({"A": np.zeros(SHAPE, BF16), "b": np.zeros(SHAPE, BF16)}, "has no tensor 'b'"),
        ({"A": np.zeros(SHAPE, BF16), "B": np.zeros(SHAPE, np.float32)}, "found: float32"),
    ],
)
def test_wrong_input_files_are_refused(saved, tmp_path, capsys, arrays, fragment):
    np.savez(tmp_path / "in.npz", **arrays)
    assert __main__.main([str(saved), "--inputs", str(tmp_path / "in.npz")]) == 1
    assert fragment in capsys.readouterr().err


def test_files_that_are_no_arrays_are_refused(saved, tmp_path, capsys):
    (tmp_path / "text.npz").write_text("no arrays")
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "pickle.npz", A=np.array([object()]))
    for name in ("text.npz", "one.npy", "pickle.npz", "absent.npz"):
        assert __main__.main([str(saved), "--inputs", str(tmp_path / name)]) == 1
        assert name in capsys.readouterr().err


def test_the_emulator_runs_what_is_called(operands):
    program, c = subtraction(), np.zeros(SHAPE, BF16)
    report = emulator.run(program.spec, program.sources, [*operands, c])
    _, called = program.run(*operands, np.zeros(SHAPE, BF16), report=True)
    assert report == called
    assert buffer(0, "in0", "Float16_b", 2) == program.spec.circular_buffers[0]
