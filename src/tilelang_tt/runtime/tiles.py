"""Tensors as the hardware stores them: pages are 32x32 tiles of four 16x16 faces, row-major over the padded matrix.

A tensor is seen as a matrix: a vector [n] is [1, n]; of N dimensions the last two are padded to multiples of 32 and all
but the last are folded into the rows. Padding is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ..formats import TILE, DataFormat, tile_bytes
from .block_floats import decode, encode

FACE = 16

FORMAT_DTYPES: dict[str, np.dtype] = {
    "Float16_b": np.dtype(ml_dtypes.bfloat16),
    "Float16": np.dtype(np.float16),
    "Float32": np.dtype(np.float32),
    "Int32": np.dtype(np.int32),
    "UInt32": np.dtype(np.uint32),
}
"""numpy's type of each TT-Metalium data format but for block floats."""


def dtype_of(name: str) -> np.dtype:
    """numpy's type for a dtype name of a program (numpy's own names, and bfloat16)."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


@dataclass(frozen=True)
class TileShape:
    """A tensor's shape in pages."""

    batch: int
    """Product of all dimensions but the last two."""
    rows: int
    columns: int
    """Of the unpadded last two dimensions, in elements."""

    @property
    def tile_rows(self) -> int:
        """Tiles along the folded rows."""
        return self.batch * -(-self.rows // TILE)

    @property
    def tile_columns(self) -> int:
        """Tiles along the columns."""
        return -(-self.columns // TILE)

    @property
    def pages(self) -> int:
        """Tiles in all."""
        return self.tile_rows * self.tile_columns


def tile_shape(shape: Sequence[int]) -> TileShape:
    """How a tensor of this shape is cut into tiles."""
    if len(shape) == 0:
        return TileShape(1, 1, 1)
    if len(shape) == 1:
        return TileShape(1, 1, shape[0])
    batch = 1
    for size in shape[:-2]:
        batch *= size
    return TileShape(batch, shape[-2], shape[-1])


def tilize(array: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The pages of ``array`` as an array [pages, 1024] of its dtype, into ``out`` where given."""
    shape = tile_shape(array.shape)
    if out is None:
        out = np.empty((shape.pages, TILE * TILE), array.dtype)
    matrix = array.reshape(shape.batch, shape.rows, shape.columns)
    if shape.rows % TILE or shape.columns % TILE:
        padded = np.zeros((shape.batch, -(-shape.rows // TILE) * TILE, shape.tile_columns * TILE), array.dtype)
        padded[:, : shape.rows, : shape.columns] = matrix
        matrix = padded
    _face_rows(out, shape)[...] = _matrix_rows(matrix, shape)
    return out


def untilize(pages: np.ndarray, array: np.ndarray) -> None:
    """Writes the content of ``pages`` (as :func:`tilize` gives them) into ``array``, dropping the padding."""
    shape = tile_shape(array.shape)
    exact = shape.rows % TILE == 0 and shape.columns % TILE == 0 and array.flags.c_contiguous
    target = array if exact else np.empty((shape.tile_rows * TILE, shape.tile_columns * TILE), array.dtype)
    _matrix_rows(target, shape)[...] = _face_rows(pages, shape)
    if not exact:
        folded = target.reshape(shape.batch, -1, shape.tile_columns * TILE)[:, : shape.rows, : shape.columns]
        array[...] = folded.reshape(array.shape)


def to_pages(array: np.ndarray, data_format: DataFormat, out: np.ndarray) -> None:
    """The pages of ``array``, stored in ``data_format``, into ``out``, their bytes [pages, bytes].

    Floats of another width are rounded to the nearest, ties to even.
    """
    dtype = FORMAT_DTYPES.get(data_format)
    if dtype is None:
        out[...] = encode(tilize(array.astype(np.float32)), data_format)
    else:
        tilize(array.astype(dtype, copy=False), out.view(dtype))


def from_pages(pages: np.ndarray, data_format: DataFormat, array: np.ndarray) -> None:
    """Writes the content of ``pages`` (as :func:`to_pages` gives them) into ``array``, rounded to its dtype."""
    dtype = FORMAT_DTYPES.get(data_format)
    elements = decode(pages, data_format) if dtype is None else pages.view(dtype)
    with np.errstate(over="ignore"):
        untilize(elements.astype(array.dtype, copy=False), array)


def empty_pages(shape: TileShape, data_format: DataFormat) -> np.ndarray:
    """Room for the pages of a tensor, as bytes [pages, bytes]."""
    return np.empty((shape.pages, tile_bytes(data_format)), np.uint8)


def _face_rows(pages: np.ndarray, shape: TileShape) -> np.ndarray:
    # One face row (16 elements) moves as one opaque item: numpy copies those much faster than single elements.
    item = np.dtype((np.void, FACE * pages.dtype.itemsize))
    faces = pages.reshape(-1).view(item).reshape(shape.tile_rows, shape.tile_columns, 2, 2, FACE)
    return faces.transpose(0, 2, 4, 1, 3)


def _matrix_rows(matrix: np.ndarray, shape: TileShape) -> np.ndarray:
    item = np.dtype((np.void, FACE * matrix.dtype.itemsize))
    rows = np.ascontiguousarray(matrix) if not matrix.flags.c_contiguous else matrix
    return rows.reshape(-1).view(item).reshape(shape.tile_rows, 2, FACE, shape.tile_columns, 2)
