"""Strict reading of plain values: nothing is converted, and a bool is not an integer."""

from __future__ import annotations

from typing import Any, TypeGuard

UINT32_MAX = 2**32 - 1
"""The largest value of a runtime argument."""
INT32_MAX = 2**31 - 1
"""The largest value of a kernel's index: TIR's index type is int32."""


def is_int(value: Any, *, minimum: int | None = None) -> TypeGuard[int]:
    """Whether ``value`` is an integer (not a bool), and not below ``minimum``."""
    return isinstance(value, int) and not isinstance(value, bool) and (minimum is None or value >= minimum)


def int_tuple(value: Any, *, length: int | None = None, minimum: int | None = None) -> tuple[int, ...] | None:
    """A list or tuple of integers as a tuple; None when it is anything else, or not of ``length``."""
    if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
        return None
    return tuple(value) if all(is_int(item, minimum=minimum) for item in value) else None


def str_tuple(value: Any, *, length: int | None = None) -> tuple[str, ...] | None:
    """A list or tuple of strings as a tuple; None when it is anything else, or not of ``length``."""
    if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
        return None
    return tuple(value) if all(isinstance(item, str) for item in value) else None


def core_range_tuple(value: Any) -> tuple[tuple[int, int, int, int], ...] | None:
    """A non-empty list of rectangles ``[x0, y0, x1, y1]`` with x0 <= x1 and y0 <= y1; None when it is anything else."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    areas = []
    for item in value:
        area = int_tuple(item, length=4, minimum=0)
        if area is None or area[0] > area[2] or area[1] > area[3]:
            return None
        areas.append((area[0], area[1], area[2], area[3]))
    return tuple(areas)


def ceil_div(value: int, divisor: int) -> int:
    """``value / divisor`` rounded up."""
    return -(-value // divisor)
