"""What a kernel compiled by TileLang calls to run: a global function that gets the program and the tensors' addresses.

The call is all that TileLang's host function does after it has checked count, shapes, dtypes, strides and place of the
tensors. The program comes as a constant of that function, so that a kernel from TileLang's cache, or exported as a
library, is complete.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..program import Program, ProgramSequence, saved
from ..program.relaunch import host_shapes, numbers_of
from ..program.spec import TensorSpec
from ..runtime.call import call
from ..runtime.tiles import dtype_of


def run(program: str, *arguments: Any) -> None:
    """Run a program (as :func:`saved.encode` has it) on tensors in host memory, dense and row-major.

    ``arguments`` are the values of its symbolic sizes that tensors have, in their order, then the tensors' addresses,
    or numbers. Outputs are written in place, those that TileLang returns included: it has allocated them. The executor
    is the one that ``TILELANG_TT_EXECUTOR`` names.

    Raises:
        TTError: as :func:`tilelang_tt.runtime.call.call`.
    """
    decoded = _program(program)
    dynamic, numbers = decoded.spec.dynamic, numbers_of(decoded.spec)
    names = () if dynamic is None else tuple(name for name in dynamic.sizes if name not in numbers)
    shapes = host_shapes(decoded.spec, dict(zip(names, arguments, strict=False)))
    described = zip(decoded.spec.tensors, shapes, arguments[len(names) :], strict=True)
    call(decoded, [_argument(spec, shape, given) for spec, shape, given in described])


@lru_cache(maxsize=256)
def _program(text: str) -> Program | ProgramSequence:
    """One object for every call of a kernel: executors keep what they prepared by it."""
    return saved.decode(text)


def _argument(spec: TensorSpec, shape: Sequence[int], given: ctypes.c_void_p | float | None) -> np.ndarray:
    dtype = dtype_of(spec.dtype)
    if isinstance(given, (int, float)):
        return np.full(shape, given, dtype)
    if given is None or given.value is None:
        # A tensor without elements has no memory.
        return np.empty(shape, dtype)
    memory = (ctypes.c_byte * (math.prod(shape) * dtype.itemsize)).from_address(given.value)
    return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
