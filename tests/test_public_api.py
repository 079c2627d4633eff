"""What a user touches: importing, registering, annotating, compiling, and TileLang's own way to call kernels."""

import subprocess
import sys

import kernels
import numpy as np
import pytest

import tilelang_tt as tt
from tilelang_tt.errors import Code, DeviceError, LayoutError, SourceLocation, TTError, UnsupportedError
from tilelang_tt.layout import block_sharded


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_imports_neither_tilelang_nor_torch():
    code = "import sys, tilelang_tt; print('tilelang' in sys.modules, 'torch' in sys.modules)"
    assert python(code) == ["False", "False"]


@pytest.mark.parametrize("order", ["import tilelang, tilelang_tt", "import tilelang_tt, tilelang"])
def test_the_target_is_registered_whatever_is_imported_first(order):
    code = f"""{order}
from tilelang.backend.target import determine_target
target = determine_target("tenstorrent", return_object=True)
print(target.kind.name, *target.keys)"""
    assert python(code)[-2:] == ["ext_dev", "tenstorrent"]


def test_every_pass_is_a_tvm_pass_that_runs_in_a_sequential():
    from tilelang import tvm

    func = kernels.gemm.get_tir(128, 128, 64, 64, 64, 32)
    names = [name for name in tt.transform.__all__ if name != "TTPipeline"]
    assert sorted(names) == sorted(
        [
            "InferDefaultTTSchedule",
            "InferTTCompute",
            "InferTTLayout",
            "InferTTStorage",
            "PropagateTTLayout",
            "LayoutAwareWorkPartitionTT",
            "LowerAtomicAddsTT",
            "SplitGridsTT",
            "GridToPersistentTT",
            "VerifyTTPartition",
        ]
    )
    for name in names:
        assert isinstance(getattr(tt.transform, name)(), tvm.transform.Pass)
    assert tt.transform.TTPipeline()(tvm.IRModule({"main": func}))["main"].attrs["tt.partition_mode"] == "global"


def test_annotations_add_up_and_leave_the_function_alone():
    func = kernels.gemm.get_tir(128, 128, 64, 64, 64, 32)
    once = tt.annotate_tt_layout(func, {"A": {"memory": "DRAM"}})
    twice = tt.annotate_tt_layout(once, {"C": block_sharded((128, 128), (2, 2))})
    assert "tt.user_layout" not in func.attrs
    assert sorted(twice.attrs["tt.user_layout"]) == ["A", "C"]
    assert tt.compile(twice).partition.mode == "local_shard"


def test_annotations_must_be_plain_data():
    with pytest.raises(LayoutError) as refused:
        tt.annotate_tt_layout(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), {"A": {"memory": object()}})
    assert refused.value.code is Code.BAD_VALUE


def test_compile_leaves_the_function_alone():
    func = kernels.gemm.get_tir(128, 128, 64, 64, 64, 32)
    before = func.script()
    tt.compile(func, layout={"C": block_sharded((128, 128), (2, 2))}, schedule={"num_cores": 4})
    assert func.script() == before


def test_an_unknown_device_is_refused_with_the_nearest():
    with pytest.raises(DeviceError) as refused:
        tt.compile(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), device="wormhole_n105")
    assert refused.value.code is Code.UNKNOWN_DEVICE
    assert "did you mean 'wormhole_n150'?" in str(refused.value)


def test_a_harvested_device():
    device = tt.devices.load_device("wormhole_n150").without(rows=[3], cores=[(0, 0)])
    program = tt.compile(kernels.gemm.get_tir(512, 512, 64, 32, 32, 32), device=device)
    assert len(program.partition.core_ranges) == 55
    assert all(y != 3 and (x, y) != (0, 0) for x, y, *_ in program.partition.core_ranges)
    program.partition.verify(device)


def test_out_idx_of_the_call_and_of_the_function():
    a = np.ones((64, 64), np.float32)
    func = kernels.copy.get_tir(64, 64, 32, 32, "float32")
    for program in (tt.compile(func, out_idx=[-1]), tt.compile(func.with_attr("tilelang_out_idx", [-1]))):
        assert program.spec.out_idx == (1,)
        np.testing.assert_array_equal(program(a), a)
    with pytest.raises(UnsupportedError):
        tt.compile(func, out_idx=2)


def test_errors_survive_pickling_and_keep_their_parts():
    import pickle

    error = LayoutError(
        Code.BAD_VALUE, "wrong", subject="C", found="a\nb", hint="say so", location=SourceLocation("file.py", 3)
    )
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, LayoutError)
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_errors_cross_tvm_passes_with_their_type(run):
    with pytest.raises(TTError) as refused:
        run(kernels.gemm.get_tir(128, 128, 64, 64, 64, 32), tt.transform.GridToPersistentTT())
    assert refused.value.code is Code.METADATA_MISSING
    assert refused.value.hint == "run LayoutAwareWorkPartitionTT before GridToPersistentTT"
