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

DataFormat = Literal["Float16_b", "Float16", "Float32", "Int32", "UInt32"]
"""A circular buffer's element format, by its TT-Metalium name."""

ELEMENT_BYTES: Mapping[DataFormat, int] = MappingProxyType(
    {"Float16_b": 2, "Float16": 2, "Float32": 4, "Int32": 4, "UInt32": 4}
)

COMPUTE_FORMATS: Mapping[str, DataFormat] = MappingProxyType(
    {"bfloat16": "Float16_b", "float16": "Float16", "float32": "Float32", "int32": "Int32"}
)
"""dtype -> format, of what the engines compute with."""


_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "bool": "keep a mask as int32 or bfloat16, 1 and 0, and compare it with 0",
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
    return TILE * TILE * ELEMENT_BYTES[format_of_tile]
