"""How the engines of a core run: the passes that the matrix engine makes, and what the registers (DST) hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Fidelity = Literal["LoFi", "HiFi2", "HiFi3", "HiFi4"]
DstType = Literal["float32", "bfloat16"]

PRODUCT_CYCLES: Mapping[Fidelity, int] = MappingProxyType({"LoFi": 16, "HiFi2": 32, "HiFi3": 48, "HiFi4": 64})
"""Clock cycles of a matrix product of 32 x 32 x 32 elements, by math fidelity."""

FIRST_BITS, SECOND_BITS = 7, 5
"""Significant bits of a product's first operand (SrcB) and second one (SrcA) that one pass multiplies."""

_BITS: Mapping[str, int] = MappingProxyType({"bfloat16": 8, "float16": 11, "bfloat8_b": 7, "bfloat4_b": 3, "bool": 1})
TF32_BITS = 11
"""What the matrix engine takes of a float32."""


@dataclass(frozen=True)
class Product:
    """A matrix product, by the most significant bits that an element of its first and its second operand has."""

    first: int
    second: int


def significant_bits(dtype: str) -> int:
    """The most significant bits of a mantissa, the leading one included, that the matrix engine takes of ``dtype``."""
    return _BITS.get(dtype, TF32_BITS)


def bits_of_number(number: float) -> int:
    """The significant bits of one number: 0 of zero and of infinity, 1 of a power of two, 2 of 1.5."""
    if number == 0 or not math.isfinite(number):
        return 0
    numerator, _ = abs(math.frexp(number)[0]).as_integer_ratio()
    return numerator.bit_length()


def exact_fidelity(products: Iterable[Product]) -> Fidelity:
    """The fewest passes that multiply all bits of every product's operands; HiFi4 where there is no product.

    LoFi multiplies the high bits of both operands, HiFi2 also the low bits of the second one, HiFi3 those of the first
    too, HiFi4 low bits with low bits as well.
    """
    fidelities: list[Fidelity] = ["LoFi", "HiFi2", "HiFi3", "HiFi4"]
    needed = [2 * (product.first > FIRST_BITS) + (product.second > SECOND_BITS) for product in products]
    return fidelities[max(needed, default=3)]
