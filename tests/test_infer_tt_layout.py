"""InferTTLayout writes where every tensor lives, and refuses annotations that are not exactly a layout."""

import kernels
import pytest

import tilelang_tt as tt
from tilelang_tt.errors import Code, LayoutError
from tilelang_tt.layout import block_sharded
from tilelang_tt.transform import InferTTLayout


def gemm():
    return kernels.gemm.get_tir(256, 256, 64, 64, 64, 32)


def annotated(**layout):
    return tt.annotate_tt_layout(gemm(), layout)


def test_tensors_live_interleaved_in_dram_by_default(run, plain):
    written = plain(run(gemm(), InferTTLayout()))
    expected = {"memory": "DRAM", "layout": "interleaved", "tile_shape": [32, 32], "dtype": "bfloat16"}
    assert [written[f"tt.buffer.{name}"] for name in "ABC"] == [expected] * 3


def test_shards_are_projected_onto_the_work_plane(run, plain):
    written = plain(run(annotated(C=block_sharded((256, 256), (2, 4))), InferTTLayout()))["tt.buffer.C"]
    assert (written["memory"], written["layout"]) == ("L1", "sharded")
    assert written["nd_shard"]["projected_grid"] == [2, 4]
    assert written["nd_shard"]["projected_shard_tiles"] == [4, 2]


def test_an_operand_has_no_shards_along_the_axis_it_lacks(run, plain):
    layout = block_sharded((256, 64), (4, 1), axes=("M", "K"))
    assert plain(run(annotated(A=layout), InferTTLayout()))["tt.buffer.A"]["nd_shard"]["projected_grid"] == [4, 1]


def test_padding_is_noted(run, plain):
    func = kernels.copy.get_tir(33, 64, 32, 32)
    written = plain(run(func, InferTTLayout()))["tt.buffer.A"]
    assert written["padded_shape"] == [64, 64]
    assert written["needs_padding"] is True


def shard(**changes):
    return {**block_sharded((256, 256), (2, 2)), **changes}


def nd(**changes):
    raw = block_sharded((256, 256), (2, 2))
    raw["nd_shard"] = {key: value for key, value in {**raw["nd_shard"], **changes}.items() if value is not None}
    return raw


REFUSED = {
    "a key that is not one": ({"memroy": "L1"}, Code.UNKNOWN_KEY, "did you mean 'memory'?"),
    "what is no dictionary": (5, Code.BAD_VALUE, "5"),
    "a memory that is not one": ({"memory": "L2"}, Code.BAD_VALUE, "'L2'"),
    "no nd_shard": ({"memory": "L1", "layout": "sharded"}, Code.ND_SHARD_MISSING, "nd_shard"),
    "no axes": (nd(axes=None), Code.ND_SHARD_MISSING, "axes"),
    "a grid of strings": (nd(grid=["2", "2"]), Code.ND_SHARD_MALFORMED, "grid"),
    "axes without M and N": (nd(axes=["B", "K"]), Code.AXES_WITHOUT_MN, "K"),
    "axes that the kernel does not use so": (nd(axes=["N", "M"]), Code.AXES_MISMATCH, "M"),
    "a shard that cuts hardware tiles": (nd(grid=[16, 2], shard_shape_elems=[16, 128]), Code.SHARD_UNALIGNED, "16"),
    "shards that cover too little": (
        nd(shard_shape_elems=[64, 128]),
        Code.SHARD_GRID_COVERAGE,
        "4 shards of 64 elements",
    ),
    "another dtype": ({"dtype": "int32"}, Code.BAD_VALUE, "int32"),
    "a halo": ({"halo": [1, 1]}, Code.HALO_UNSUPPORTED, "halo"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(run, plain, case):
    layout, code, text = REFUSED[case]
    func = annotated(C=layout)
    before = plain(func)
    with pytest.raises(LayoutError) as refused:
        run(func, InferTTLayout())
    error = refused.value
    assert error.code is code
    assert error.subject is not None
    assert "C" in str(error)
    assert text in str(error)
    assert error.location is not None
    assert error.location.file.endswith("kernels.py")
    assert plain(func) == before


def test_an_unknown_buffer_is_named_with_the_nearest(run):
    with pytest.raises(LayoutError) as refused:
        run(annotated(c={"memory": "DRAM"}, CC={"memory": "L1"}), InferTTLayout())
    assert refused.value.code is Code.UNKNOWN_BUFFER
    assert "A, B, C" in str(refused.value)
