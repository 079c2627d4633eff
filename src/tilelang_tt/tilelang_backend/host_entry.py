"""What a kernel compiled by TileLang calls to run: a global function that gets the program and the tensors' addresses.

The call is all that TileLang's host function does after it has checked count, shapes, dtypes, strides and place of the
tensors. The program comes as a constant of that function, so that a kernel from TileLang's cache, or exported as a
library, is complete.
"""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache

import numpy as np

from ..program import Program, storage
from ..program.spec import TensorSpec
from ..runtime.call import call
from ..runtime.tiles import dtype_of


def run(program: str, *addresses: ctypes.c_void_p) -> None:
    """Run a program (as :func:`storage.encode` has it) on tensors in host memory, dense and row-major.

    Outputs are written in place, those that TileLang returns included: it has allocated them. The executor is the one
    that ``TILELANG_TT_EXECUTOR`` names.

    Raises:
        TTError: as :func:`tilelang_tt.runtime.call.call`.
    """
    decoded = _program(program)
    call(decoded, [_view(spec, address) for spec, address in zip(decoded.spec.tensors, addresses, strict=True)])


@lru_cache(maxsize=256)
def _program(text: str) -> Program:
    """One object for every call of a kernel: executors keep what they prepared by it."""
    return Program(*storage.decode(text))


def _view(spec: TensorSpec, address: ctypes.c_void_p) -> np.ndarray:
    dtype = dtype_of(spec.dtype)
    memory = (ctypes.c_byte * (math.prod(spec.host_shape) * dtype.itemsize)).from_address(address.value or 0)
    return np.ctypeslib.as_array(memory).view(dtype).reshape(spec.host_shape)
