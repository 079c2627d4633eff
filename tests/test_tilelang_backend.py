"""TileLang's own entry points with target "tenstorrent": compiling, calling, sources, refusals, the kernel cache."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kernels
import pytest
import tilelang
import tilelang.language as T
import torch
from tilelang.backend.module import create_backend_context
from tilelang.backend.target import determine_target

import tilelang_tt as tt
from tilelang_tt.devices.registry import DEVICES_ENV
from tilelang_tt.errors import Code, DeviceError, ExecutionError, LayoutError, ProgramError, UnsupportedError
from tilelang_tt.layout import block_sharded
from tilelang_tt.program import storage
from tilelang_tt.runtime.call import EXECUTOR_ENV

TARGET = "tenstorrent"
BF16 = "bfloat16"
FP32 = "float32"


@pytest.fixture(autouse=True)
def _no_kernel_cache(monkeypatch):
    monkeypatch.setenv("TILELANG_DISABLE_CACHE", "1")
    monkeypatch.delenv(EXECUTOR_ENV, raising=False)


def operands(m=128, n=128, k=64, dtype=torch.bfloat16):
    generator = torch.Generator().manual_seed(7)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in ((m, k), (k, n)))


def product(a, b):
    return (a.float() @ b.float()).to(a.dtype)


def assert_near(found, expected):
    torch.testing.assert_close(found.float(), expected.float(), rtol=2e-2, atol=2e-2)


@tilelang.jit(target=TARGET)
def eager_gemm(A, B, bm: int = 64, bn: int = 64, bk: int = 32):
    M, N, K = T.const("M N K")
    A: T.Tensor[[M, K], BF16]
    B: T.Tensor[[K, N], BF16]
    C = T.empty((M, N), "bfloat16")
    with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=128) as (bx, by):
        A_shared = T.alloc_shared((bm, bk), "bfloat16")
        B_shared = T.alloc_shared((bk, bn), "bfloat16")
        C_local = T.alloc_fragment((bm, bn), "float32")
        T.clear(C_local)
        for ko in T.Pipelined(T.ceildiv(K, bk), num_stages=2):
            T.copy(A[by * bm, ko * bk], A_shared)
            T.copy(B[ko * bk, bx * bn], B_shared)
            T.gemm(A_shared, B_shared, C_local)
        T.copy(C_local, C[by * bm, bx * bn])
    return C


@tilelang.jit(target=TARGET)
def eager_sharded_copy(A):
    M, N = T.const("M N")
    A: T.Tensor[[M, N], FP32]
    B = T.empty((M, N), "float32")
    T.func_attr({"tt.user_layout": {"B": block_sharded((128, 128), (2, 2))}})
    with T.Kernel(N // 32, M // 32, threads=128) as (bx, by):
        block = T.alloc_shared((32, 32), "float32")
        T.copy(A[by * 32, bx * 32], block)
        T.copy(block, B[by * 32, bx * 32])
    return B


@tilelang.jit(target=TARGET, out_idx=[-1])
def sharded_copy(M, N, dtype="float32"):
    @T.prim_func
    def main(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), dtype)):
        with T.Kernel(N // 32, M // 32, threads=128) as (bx, by):
            block = T.alloc_shared((32, 32), dtype)
            T.copy(A[by * 32, bx * 32], block)
            T.copy(block, B[by * 32, bx * 32])

    return tt.annotate_tt_layout(main, {"B": block_sharded((M, N), (2, 2))})


@tilelang.jit(target=TARGET, out_idx=[0, 2])
def outputs_around_input(M, N, dtype="float32"):
    @T.prim_func
    def main(First: T.Tensor((M, N), dtype), A: T.Tensor((M, N), dtype), Last: T.Tensor((M, N), dtype)):
        with T.Kernel(N // 32, M // 32, threads=128) as (bx, by):
            block = T.alloc_shared((32, 32), dtype)
            T.copy(A[by * 32, bx * 32], block)
            T.copy(block, First[by * 32, bx * 32])
            T.copy(block, Last[by * 32, bx * 32])

    return main


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_outputs_are_written_in_place_as_by_a_program(dtype):
    func = kernels.gemm.get_tir(128, 128, 64, 64, 64, 32, dtype)
    a, b = operands(dtype=getattr(torch, dtype))
    found, expected = torch.zeros(2, 128, 128, dtype=a.dtype)
    tilelang.compile(func, target=TARGET)(a, b, found)
    tt.compile(func)(a, b, expected)
    assert torch.equal(found, expected)
    assert_near(found, product(a, b))


def test_out_idx_is_returned():
    a, b = operands()
    kernel = tilelang.compile(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), target=TARGET, out_idx=[-1])
    assert kernel.out_idx == [2]
    once, twice = kernel(a, b), kernel(2 * a, b)
    assert_near(once, product(a, b))
    assert_near(twice, 2 * once)


def test_several_outputs_in_parameter_order():
    a = torch.arange(64 * 64, dtype=torch.float32).reshape(64, 64)
    first, last = outputs_around_input(64, 64)(a)
    assert torch.equal(first, a)
    assert torch.equal(last, a)


def test_jit_in_eager_style_returns_what_it_declares_empty():
    for m in (64, 128):
        a, b = operands(m=m)
        assert_near(eager_gemm(a, b), product(a, b))


def test_annotations_inside_the_jit_function_are_followed():
    kernel = sharded_copy(128, 128)
    a = torch.randn(128, 128)
    assert torch.equal(kernel(a), a)
    assert "Work partition: local_shard, 4 x 4 work tiles on 4 cores." in kernel.get_kernel_source()
    assert torch.equal(eager_sharded_copy(a), a)
    assert "Work partition: local_shard" in eager_sharded_copy.get_kernel_source(a)


def test_kernel_source_shows_the_three_kernels():
    func = kernels.gemm.get_tir(128, 128, 64, 64, 64, 32)
    kernel = tilelang.compile(func, target=TARGET)
    shown = kernel.get_kernel_source()
    for role, source in tt.compile(func).kernels.items():
        assert f"// {role}\n{source.strip()}\n#endif" in shown
    assert "tilelang_tt" in kernel.get_host_source()


def test_the_device_is_chosen_by_the_target_or_by_the_function(tmp_path):
    func = kernels.copy.get_tir(1024, 1024, 32, 32, "float32")

    def cores(func, target):
        shown = tilelang.compile(func, target=target).get_kernel_source()
        return int(shown.split(" work tiles on ")[1].split(" cores")[0])

    def target(device):
        return {"kind": TARGET, "device": device}

    harvested = tt.devices.load_device("wormhole_n150").without(rows=[3])
    assert cores(func, TARGET) == 64
    assert cores(func, target("wormhole_n300")) == 56
    assert cores(func, target("blackhole_p150")) > 100
    assert cores(func, target(harvested)) == 56
    assert cores(func, target(harvested.to_dict())) == 56
    annotated = func.with_attr("tt.device", "wormhole_n300")
    assert cores(annotated, TARGET) == 56
    assert len(tt.compile(annotated).partition.core_ranges) == 56
    assert cores(annotated, target("wormhole_n150")) == 64


def test_an_unknown_device_or_option_is_refused():
    func = kernels.copy.get_tir(64, 64, 32, 32, "float32")
    with pytest.raises(DeviceError) as refused:
        tilelang.compile(func, target={"kind": TARGET, "device": "wormhole_n105"})
    assert refused.value.code is Code.UNKNOWN_DEVICE
    for target in ({"kind": TARGET, "devise": "wormhole_n150"}, f"{TARGET} -device=wormhole_n150"):
        with pytest.raises(DeviceError) as refused:
            tilelang.compile(func, target=target)
        assert refused.value.code is Code.UNKNOWN_KEY


def test_refused_kernels_keep_the_type_and_code_of_their_error():
    func = tt.annotate_tt_layout(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), {"D": {"memory": "L1"}})
    with pytest.raises(LayoutError) as refused:
        tilelang.compile(func, target=TARGET)
    assert refused.value.code is Code.UNKNOWN_BUFFER
    with pytest.raises(UnsupportedError) as refused:
        tilelang.compile(kernels.copy.get_tir(60, 60, 25, 30, "float32"), target=TARGET)
    assert refused.value.code is Code.UNSUPPORTED
    assert refused.value.location is not None


@pytest.mark.parametrize("executor", ["emulater", "ttnn"])
def test_the_executor_is_chosen_by_the_environment_and_its_errors_keep_their_type(monkeypatch, executor):
    monkeypatch.setitem(sys.modules, "ttnn", None)
    kernel = tilelang.compile(kernels.copy.get_tir(64, 64, 32, 32, "float32"), target=TARGET, out_idx=[-1])
    a = torch.randn(64, 64)
    monkeypatch.setenv(EXECUTOR_ENV, executor)
    with pytest.raises(ExecutionError) as refused:
        kernel(a)
    assert refused.value.code is Code.EXECUTOR_UNAVAILABLE
    monkeypatch.setenv(EXECUTOR_ENV, "emulator")
    assert torch.equal(kernel(a), a)


def test_tensors_that_do_not_fit_are_refused_before_the_run():
    kernel = tilelang.compile(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), target=TARGET, out_idx=[-1])
    a, b = operands()
    for wrong in ((b, b), (a.float(), b), (a.T.contiguous().T, b)):
        with pytest.raises(RuntimeError, match="main"):
            kernel(*wrong)


def test_kernels_are_called_from_threads():
    matmul = tilelang.compile(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), target=TARGET, out_idx=[-1])
    copy = tilelang.compile(kernels.copy.get_tir(64, 64, 32, 32, "float32"), target=TARGET, out_idx=[-1])

    def work(seed):
        a, b = (tensor * seed for tensor in operands())
        c = torch.full((64, 64), float(seed))
        return torch.equal(copy(c), c) and torch.allclose(
            matmul(a, b).float(), product(a, b).float(), rtol=0.03, atol=1
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_an_exported_library_runs(tmp_path):
    from tilelang import tvm

    library = tmp_path / "kernel.so"
    kernel = tilelang.compile(kernels.copy.get_tir(64, 64, 32, 32, "float32"), target=TARGET)
    kernel.export_library(str(library))
    a, b = torch.randn(64, 64), torch.zeros(64, 64)
    tvm.runtime.load_module(str(library))(a, b)
    assert torch.equal(a, b)


def test_a_program_as_one_text():
    program = tt.compile(kernels.copy.get_tir(64, 64, 32, 32, "float32"))
    text = storage.encode(program.spec, program.sources)
    assert storage.decode(text) == (program.spec, program.sources)
    for broken in ("", "{}", text.replace('"schema_version":', '"schema_version":9')):
        with pytest.raises(ProgramError) as refused:
            storage.decode(broken)
        assert refused.value.code is Code.PROGRAM_MALFORMED


CACHED = """
import os, sys
import tilelang, torch, kernels
import tilelang_tt as tt
from tilelang_tt.tilelang_backend import pipeline
from tilelang_tt.layout import block_sharded

def no_lowering(*_):
    raise AssertionError("compiled, not loaded from the cache")

if sys.argv[1] == "cached":
    pipeline.lower = no_lowering
func = kernels.copy.get_tir(128, 128, 32, 32, "float32")
sharded = tt.annotate_tt_layout(func, {"B": block_sharded((128, 128), (2, 2))})
a = torch.arange(128.0 * 128).reshape(128, 128)
for variant, device in ((func, None), (sharded, None), (func, "blackhole_p150")):
    kernel = tilelang.compile(variant, target={"kind": "tenstorrent", "device": device}, out_idx=[-1])
    assert torch.equal(kernel(a), a)
    assert kernel.get_host_source()
    print(kernel.get_kernel_source().split("Work partition: ")[1].split(".")[0])
"""


def test_the_kernel_cache_serves_other_processes_and_tells_layouts_and_devices_apart(tmp_path):
    script = tmp_path / "cached.py"
    script.write_text(CACHED)
    environment = {
        **os.environ,
        "TILELANG_DISABLE_CACHE": "0",
        "TILELANG_PRINT_ON_COMPILATION": "0",
        "TILELANG_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }

    def partitions(mode):
        ran = subprocess.run([sys.executable, script, mode], env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()[-3:]

    first = partitions("new")
    assert [line.split()[0] for line in first] == ["global,", "local_shard,", "global,"]
    assert len(list((tmp_path / "cache").rglob("executable.so"))) == 3
    assert partitions("cached") == first


def test_a_device_file_that_was_edited_is_another_target(tmp_path, monkeypatch):
    monkeypatch.setenv(DEVICES_ENV, str(tmp_path))
    described = tt.devices.load_device("wormhole_n150").to_dict()
    targets = []
    for clock in (1.0, 1.1):
        (tmp_path / "mine.json").write_text(json.dumps({**described, "name": "mine", "clock_ghz": clock}))
        for device in (None, "mine", tmp_path / "mine.json"):
            targets.append(str(determine_target({"kind": TARGET, "device": device}, return_object=True)))
    assert len(set(targets)) == 6


def test_other_targets_are_left_alone():
    assert create_backend_context("c").name == "cpu"
    assert create_backend_context(TARGET).name == TARGET
    with pytest.raises(ValueError, match="No backend matches target"):
        create_backend_context({"kind": "ext_dev"})
