"""Tensors to hardware tiles and back."""

from __future__ import annotations

import numpy as np
import pytest
from emulator_programs import BF16
from hypothesis import given, settings
from hypothesis import strategies as st

from tilelang_tt.formats import tile_bytes
from tilelang_tt.runtime.tiles import FORMAT_DTYPES, dtype_of, tile_shape, tilize, untilize

DTYPES = sorted(set(FORMAT_DTYPES.values()), key=str)


def reference_element(array, row, column):
    """Page and place in the page of an element, straight from the definition of faces."""
    columns = -(-array.shape[1] // 32)
    page = row // 32 * columns + column // 32
    row, column = row % 32, column % 32
    face = row // 16 * 2 + column // 16
    return page, face * 256 + row % 16 * 16 + column % 16


@given(
    shape=st.lists(st.integers(1, 70), min_size=0, max_size=4).filter(lambda s: int(np.prod(s)) < 40_000),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
@settings(max_examples=150)
def test_round_trip(shape, dtype, seed):
    array = np.random.default_rng(seed).integers(-100, 100, shape).astype(dtype)
    pages = tilize(array)
    assert pages.shape == (tile_shape(shape).pages, 1024)
    assert pages.dtype == dtype
    back = np.empty_like(array)
    untilize(pages, back)
    assert (back == array).all()
    assert np.count_nonzero(pages) == np.count_nonzero(array)  # padding is zero


@given(rows=st.integers(1, 80), columns=st.integers(1, 80), data=st.data())
@settings(max_examples=60)
def test_faces(rows, columns, data):
    array = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    page, place = reference_element(array, row, column)
    assert tilize(array)[page, place] == array[row, column]


@pytest.mark.parametrize(
    ("shape", "tiles"),
    [((), (1, 1)), ((40,), (1, 2)), ((33, 64), (2, 2)), ((3, 33, 64), (6, 2)), ((2, 3, 32, 1), (6, 1))],
)
def test_shape_in_tiles(shape, tiles):
    found = tile_shape(shape)
    assert (found.tile_rows, found.tile_columns) == tiles


def test_batches_are_padded_one_by_one():
    array = np.ones((2, 33, 32), np.float32)
    pages = tilize(array)
    assert pages.sum(1).tolist() == [1024, 32, 1024, 32]


def test_into_given_memory_and_not_contiguous():
    array = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    out = np.empty((4, 1024), np.float32)
    assert tilize(array.T, out) is out
    back = np.empty((64, 64), np.float32)
    untilize(out, back)
    assert (back == array.T).all()
    wide = np.zeros((64, 128), np.float32)
    untilize(out, wide[:, ::2])
    assert (wide[:, ::2] == array.T).all()
    assert (wide[:, 1::2] == 0).all()


def test_names():
    assert dtype_of("bfloat16") == BF16
    assert dtype_of("int32") == np.int32
    assert [tile_bytes(name) for name in ("Float16_b", "Float16", "Float32", "Int32")] == [2048, 2048, 4096, 4096]
