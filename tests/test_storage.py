"""Tensors that are stored as views of themselves: when, how, and what callers see of it."""

import kernels
import msgspec
import numpy as np
import pytest
import tilelang
import torch

import tilelang_tt as tt
from tilelang_tt.errors import Code, LayoutError, ProgramError
from tilelang_tt.layout import block_sharded
from tilelang_tt.layout.storage import TensorUse, choose_view
from tilelang_tt.program.consistency import check
from tilelang_tt.runtime.call import Stored
from tilelang_tt.runtime.host_tensors import from_storage, to_storage


def use(*dimensions):
    """An access: (extent, step) of every dimension."""
    return TensorUse(tuple(extent for extent, _ in dimensions), tuple(step for _, step in dimensions))


@pytest.mark.parametrize(
    ("shape", "uses", "stored"),
    [
        ((128, 64), [use((32, 32), (64, 0))], None),
        ((77, 60), [use((64, 64), (60, 0))], None),
        ((64,), [use((32, 32))], None),
        ((2, 128, 3, 64), [use((1, 1), (64, 64), (1, 1), (64, 0))], (2, 3, 128, 64)),
        ((2, 128, 3), [use((1, 1), (64, 64), (1, 1))], (2, 3, 1, 128)),
        ((64, 64), [use((16, 16), (64, 0))], (4, 16, 64)),
        ((64, 64), [use((16, 16), (8, 8))], (4, 8, 16, 8)),
        ((64,), [use((8, 8))], (8, 1, 8)),
        ((5, 64), [use((1, 1), (64, 0))], (5, 1, 64)),
        ((64, 1), [use((32, 32), (1, 0))], None),
        # No view helps: blocks that do not divide the tensor, of two sizes, that begin elsewhere, of three dimensions.
        ((60, 64), [use((16, 16), (64, 0))], None),
        ((64, 64), [use((16, 16), (64, 0)), use((8, 8), (64, 0))], None),
        ((64, 64), [use((16, 4), (64, 0))], None),
        ((4, 64, 64), [use((4, 0), (16, 16), (64, 0))], None),
    ],
)
def test_a_view_is_chosen_only_where_blocks_are_not_made_of_tiles(shape, uses, stored):
    chosen = choose_view(shape, uses)
    assert (None if chosen is None else chosen[0].stored_shape) == stored


@pytest.fixture
def program():
    return tt.compile(kernels.attention.get_tir(2, 128, 3, 64, False))


def test_what_is_stored_becomes_the_callers_tensor_again(program):
    for tensor in program.spec.tensors:
        array = np.arange(np.prod(tensor.host_shape)).reshape(tensor.host_shape)
        stored = to_storage(tensor.storage, array)
        assert stored.shape == tensor.shape
        assert stored.flags.c_contiguous
        assert np.array_equal(from_storage(tensor.storage, stored), array)


def expected(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(*(x.double().transpose(1, 2) for x in (q, k, v)))


def test_a_saved_program_and_strided_tensors(program, tmp_path):
    program.save(tmp_path)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 128, 64).bfloat16().transpose(1, 2) for _ in range(3))
    out, sums = torch.empty(2, 128, 3, 64).bfloat16(), torch.empty(2, 3, 128)
    tt.runtime.load(tmp_path)(q, k, v, out, sums)
    assert (out.double().transpose(1, 2) - expected(q, k, v)).abs().max() < 2e-2


def test_tilelangs_own_entry_point():
    kernel = tilelang.compile(kernels.attention.get_tir(1, 64, 2, 64, True), target="tenstorrent", out_idx=[3, 4])
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 64, 2, 64).bfloat16() for _ in range(3))
    out, sums = kernel(q, k, v)
    causal = torch.nn.functional.scaled_dot_product_attention(
        *(x.double().transpose(1, 2) for x in (q, k, v)), is_causal=True
    )
    assert (out.double().transpose(1, 2) - causal).abs().max() < 2e-2
    assert sums.shape == (1, 2, 64)


def test_a_sharded_layout_for_such_a_tensor_is_refused():
    layout = {"Q": {"memory": "L1", "layout": "sharded", "nd_shard": block_sharded((128, 64), (2, 1))["nd_shard"]}}
    with pytest.raises(LayoutError) as refused:
        tt.compile(kernels.attention.get_tir(2, 128, 3, 64, False), layout=layout)
    assert refused.value.code is Code.LAYOUT_UNSUPPORTED
    assert "stored as [2, 3, 128, 64]" in str(refused.value)


@pytest.mark.parametrize("order", [(0, 1, 1, 3), (0, 1, 2, 3), (0, 2, 1)])
def test_a_storage_that_is_no_view_is_refused(program, order):
    first, *others = program.spec.tensors
    storage = msgspec.structs.replace(first.storage, order=order)
    spec = msgspec.structs.replace(program.spec, tensors=(msgspec.structs.replace(first, storage=storage), *others))
    with pytest.raises(ProgramError) as refused:
        check(spec, "here")
    assert "stored as" in str(refused.value)


class OnDevice:
    """What stands for a ttnn tensor where none is looked into."""


def test_a_tensor_on_a_device_says_in_which_order_it_is(program, monkeypatch):
    from tilelang_tt.runtime.ttnn_executor.call import _check_order

    monkeypatch.setattr("tilelang_tt.runtime.ttnn_executor.call.is_ttnn", lambda tensor: True)
    stored, plain = program.spec.tensors[0], tt.compile(kernels.copy.get_tir(64, 64, 32, 32)).spec.tensors[0]
    _check_order(stored, Stored(OnDevice()))
    _check_order(plain, OnDevice())
    with pytest.raises(ProgramError) as refused:
        _check_order(stored, OnDevice())
    assert refused.value.code is Code.ARGUMENT_LAYOUT
    assert "Stored(ttnn.permute(ttnn.reshape(tensor, [2, 128, 3, 64]), [0, 2, 1, 3]))" in str(refused.value)
    with pytest.raises(ProgramError):
        _check_order(plain, Stored(OnDevice()))
