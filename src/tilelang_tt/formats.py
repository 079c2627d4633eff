"""Element types: a tensor's dtype, and the format of its tiles in circular buffers, by TT-Metalium's names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from .errors import Code, UnsupportedError

TILE = 32
"""Rows and columns of a hardware tile in elements."""

DataFormat = Literal["Float16_b", "Float16", "Float32", "Int32", "UInt32"]
"""A circular buffer's element format, by its TT-Metalium name."""

ELEMENT_BYTES: Mapping[DataFormat, int] = MappingProxyType(
    {"Float16_b": 2, "Float16": 2, "Float32": 4, "Int32": 4, "UInt32": 4}
)

COMPUTE_FORMATS: Mapping[str, DataFormat] = MappingProxyType(
    {"bfloat16": "Float16_b", "float16": "Float16", "float32": "Float32"}
)
"""dtype -> format, of what the engines compute with."""


def data_format(dtype: str) -> DataFormat:
    """The format of a dtype's tiles.

    Raises:
        UnsupportedError: ``unsupported``, for a dtype that the engines do not compute with.
    """
    if dtype in COMPUTE_FORMATS:
        return COMPUTE_FORMATS[dtype]
    raise UnsupportedError(
        Code.UNSUPPORTED, f"dtype {dtype} is not supported", subject=dtype, expected=", ".join(COMPUTE_FORMATS)
    )


def tile_bytes(format_of_tile: DataFormat) -> int:
    """Bytes of one hardware tile, a page of a circular buffer."""
    return TILE * TILE * ELEMENT_BYTES[format_of_tile]
