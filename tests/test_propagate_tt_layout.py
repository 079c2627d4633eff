"""PropagateTTLayout writes how every tensor is staged in L1."""

import kernels
import pytest

from tilelang_tt.errors import Code, PartitionError
from tilelang_tt.transform import InferTTLayout, PropagateTTLayout


@pytest.mark.parametrize(
    ("dtype", "data_format", "page_size"),
    [("bfloat16", "Float16_b", 2048), ("float16", "Float16", 2048), ("float32", "Float32", 4096)],
)
def test_formats_by_their_metalium_names(run, plain, dtype, data_format, page_size):
    func = kernels.binary.get_tir(64, 64, 32, 32, "add", dtype)
    written = plain(run(func, InferTTLayout(), PropagateTTLayout()))
    assert written["tt.cb.A"] == {"page_size": page_size, "depth": 2, "data_format": data_format}


def test_pipelined_loads_are_num_stages_deep(run, plain):
    func = kernels.gemm.get_tir(128, 128, 128, 64, 64, 32, stages=4)
    written = plain(run(func, InferTTLayout(), PropagateTTLayout()))
    assert [written[f"tt.cb.{name}"]["depth"] for name in "ABC"] == [4, 4, 2]


def test_needs_the_layouts(run):
    with pytest.raises(PartitionError) as refused:
        run(kernels.copy.get_tir(64, 64, 32, 32), PropagateTTLayout())
    assert refused.value.code is Code.METADATA_MISSING
    assert "run InferTTLayout before this pass" in str(refused.value)
