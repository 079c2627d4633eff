"""TVM attribute values as plain Python values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tilelang  # noqa: F401  (makes tvm importable)
import tvm_ffi
from tvm import tirx

from ..errors import Code, LayoutError


def to_plain(value: Any) -> Any:
    """``value`` (a TVM object tree or plain) as ints, floats, bools, strings, lists, dicts and None.

    Raises:
        LayoutError: ``bad-value`` for an object that has no plain form, such as a symbolic expression.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tirx.IntImm):
        return bool(value.value) if str(value.dtype) == "bool" else int(value.value)
    if isinstance(value, tirx.FloatImm):
        return float(value.value)
    if isinstance(value, tirx.StringImm):
        return str(value.value)
    if isinstance(value, (Mapping, tvm_ffi.Map)):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, tvm_ffi.Array)):
        return [to_plain(item) for item in value]
    raise LayoutError(
        Code.BAD_VALUE,
        "an attribute holds a value that is not plain data",
        found=f"{value} ({type(value).__name__})",
        expected="numbers, strings, lists and dictionaries of them",
    )


def plain_attrs(func: tirx.PrimFunc) -> dict[str, Any]:
    """The function's ``tt`` attributes as plain values."""
    items = func.attrs.items() if func.attrs else ()
    return {str(key): to_plain(value) for key, value in items if str(key).startswith("tt")}
