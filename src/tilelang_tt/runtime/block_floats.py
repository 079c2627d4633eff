"""Block floats: the 16 elements of a row of a tile's face share an exponent byte, each has a sign and a magnitude.

A page is 64 exponents, one per row of each face, then the elements in the order of the faces: a byte each (bfloat8_b: 7
bits of magnitude) or half a byte, the first of two in the lower half (bfloat4_b: 3 bits). An element is its magnitude
times 2 to the power of exponent - 127, the magnitude's highest bit counting 1.
"""

from __future__ import annotations

import numpy as np

from ..formats import DataFormat

_ROW = 16
_MAGNITUDE_BITS = {"Bfp8_b": 7, "Bfp4_b": 3}


def encode(pages: np.ndarray, data_format: DataFormat) -> np.ndarray:
    """float32 elements [pages, 1024], in the order of faces, as bytes of pages [pages, bytes]; rounded as ttnn does.

    Magnitudes are cut to the place of the largest element, then rounded to the nearest, ties to even.
    """
    width = _MAGNITUDE_BITS[data_format]
    bits = np.ascontiguousarray(pages, np.float32).view(np.uint32).reshape(len(pages), -1, _ROW)
    exponents = (bits >> 23) & 0xFF
    shared = exponents.max(axis=2)
    significand = np.where(bits & 0x7FFFFFFF, (bits & 0x7FFFFF) | 0x800000, 0)
    significand = significand >> np.minimum(shared[:, :, None] - exponents, 31)
    drop = 24 - width
    kept = significand >> drop
    rest, half = significand & ((1 << drop) - 1), 1 << (drop - 1)
    kept = kept + ((rest > half) | ((rest == half) & (kept & 1 == 1)))
    magnitude = np.minimum(kept, (1 << width) - 1).astype(np.uint8)
    elements = (magnitude | np.where(magnitude, (bits >> 31) << width, 0).astype(np.uint8)).reshape(len(pages), -1)
    if width == 3:
        elements = elements[:, ::2] | elements[:, 1::2] << 4
    return np.concatenate([shared.astype(np.uint8), elements], axis=1)


def decode(pages: np.ndarray, data_format: DataFormat) -> np.ndarray:
    """Bytes of pages [pages, bytes] as float32 elements [pages, 1024], in the order of faces; exact."""
    width = _MAGNITUDE_BITS[data_format]
    shared, elements = pages[:, :64], pages[:, 64:]
    if width == 3:
        elements = np.stack([elements & 0xF, elements >> 4], axis=2).reshape(len(pages), -1)
    rows = elements.reshape(len(pages), -1, _ROW)
    magnitude = (rows & ((1 << width) - 1)).astype(np.float32)
    exponents = shared.astype(np.int32)[:, :, None]
    with np.errstate(over="ignore"):
        values = np.where(exponents > 0, np.ldexp(magnitude, exponents - 127 - (width - 1)), 0)  # no denormals
    values = np.where(np.isinf(values) & (magnitude > 1 << (width - 1)), np.nan, values)
    return np.where(rows >> width, -values, values).reshape(len(pages), -1).astype(np.float32)
