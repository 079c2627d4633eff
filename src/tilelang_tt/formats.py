"""Element types: a tensor's dtype, and the format of its tiles in circular buffers, by TT-Metalium's names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Literal

import numpy as np

from .errors import Code, UnsupportedError

TILE = 32
"""Rows and columns of a hardware tile in elements."""

DataFormat = Literal["Float16_b", "Float16", "Float32", "Int32", "UInt32", "Bfp8_b", "Bfp4_b"]
"""A circular buffer's element format, by its TT-Metalium name."""

ELEMENT_BYTES: Mapping[DataFormat, int] = MappingProxyType(
    {"Float16_b": 2, "Float16": 2, "Float32": 4, "Int32": 4, "UInt32": 4}
)
"""Of the formats whose elements lie by themselves: all but block floats."""

_TILE_BYTES: Mapping[DataFormat, int] = MappingProxyType(
    # Block floats share an exponent byte between the 16 elements of a face's row.
    {"Float16_b": 2048, "Float16": 2048, "Float32": 4096, "Int32": 4096, "UInt32": 4096, "Bfp8_b": 1088, "Bfp4_b": 576}
)

COMPUTE_FORMATS: Mapping[str, DataFormat] = MappingProxyType(
    {"bfloat16": "Float16_b", "float16": "Float16", "float32": "Float32", "int32": "Int32"}
)
"""dtype -> format, of what the engines compute with."""


_BLOCK_FORMATS: Mapping[str, DataFormat] = MappingProxyType({"bfloat8_b": "Bfp8_b", "bfloat4_b": "Bfp4_b"})
BLOCK_FLOATS = tuple(_BLOCK_FORMATS)
"""dtypes that a tensor may be stored as, and no kernel computes with."""

BLOCK_FORMATS = frozenset(_BLOCK_FORMATS.values())

EXPONENT_SHARED_BY = 16
"""Adjacent elements of a row that have one exponent in a block float."""

BLOCK_BITS: Mapping[DataFormat, int] = MappingProxyType({"Bfp8_b": 8, "Bfp4_b": 4})
"""Bits of an element of a block float, sign and mantissa."""

FLOATS = ("bfloat16", "float16", "float32")
"""The float dtypes that kernels compute with."""

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "uint": "use int32",
        "int": "use int32",
        "float8": "use bfloat16: the engines have no tiles of 8-bit floats",
        "float64": "use float32",
    }
)
"""By dtype, or the beginning of its name: what to use in its place."""


def data_format(dtype: str) -> DataFormat:
    """The format of a dtype's tiles.

    Raises:
        UnsupportedError: ``unsupported``, for a dtype that the engines do not compute with.
    """
    if dtype in COMPUTE_FORMATS:
        return COMPUTE_FORMATS[dtype]
    raise UnsupportedError(
        Code.UNSUPPORTED,
        f"dtype {dtype} is not supported",
        subject=dtype,
        expected=", ".join(COMPUTE_FORMATS),
        hint=_HINTS.get(dtype) or next((hint for prefix, hint in _HINTS.items() if dtype.startswith(prefix)), None),
    )


def stored_tiles(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """A tensor's extents in hardware tiles as an array of ``rank`` dimensions, leading ones folded into the first.

    A vector [n] is the matrix [1, n]; of N dimensions the last two are padded to whole tiles.
    """
    tiles = [1] * (2 - len(shape)) + [*shape[:-2], *(-(-size // TILE) for size in shape[-2:])]
    split = len(tiles) - rank + 1
    return (prod(tiles[:split]), *tiles[split:])


def rounded_number(number: float, dtype: str) -> float:
    """``number`` as a floating-point dtype holds it: the nearest, ties to the even one, too large ones infinite."""
    if dtype == "float16":
        return float(np.float16(number))
    bits = int(np.float32(number).view(np.uint32))
    if dtype == "bfloat16" and math.isfinite(number):
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return float(np.uint32(bits).view(np.float32))


def tile_bytes(format_of_tile: DataFormat) -> int:
    """Bytes of one hardware tile, a page of a circular buffer."""
    return _TILE_BYTES[format_of_tile]


def storage_format(dtype: str) -> DataFormat:
    """The format of the tiles of a tensor that is stored as ``dtype``.

    Raises:
        UnsupportedError: ``unsupported``, for a dtype that no tensor is stored as.
    """
    return _BLOCK_FORMATS[dtype] if dtype in _BLOCK_FORMATS else data_format(dtype)


def working_format(stored: DataFormat) -> DataFormat:
    """The format of what is computed from tiles of ``stored`` and holds any rearrangement of them exactly."""
    return "Float16_b" if stored in BLOCK_FORMATS else stored
