"""Tensors of a program on a device: allocated, filled from numpy, read back, and checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import Device
from ...errors import Code, ProgramError
from ...program.spec import TensorSpec
from ..tiles import FORMAT_DTYPES, dtype_of
from .layouts import TILE, describe, describe_memory, memory_config
from .versions import device_faults, ttnn_api


def allocate(spec: TensorSpec, device: Any) -> Any:
    """A new ttnn tensor for parameter ``spec`` where the program keeps it; its content is undefined.

    Raises :class:`ExecutionError` (``device-fault``) when there is no room for it; so does :func:`upload`.
    """
    api = ttnn_api()
    ttnn = api.ttnn
    with device_faults("allocating a tensor", spec.name):
        return ttnn.allocate_tensor_on_device(
            ttnn.Shape(list(spec.shape)),
            api.data_format(spec.data_format),
            ttnn.TILE_LAYOUT,
            device,
            memory_config(spec),
        )


def upload(spec: TensorSpec, array: np.ndarray, device: Any) -> Any:
    """A new ttnn tensor for parameter ``spec`` with the content of ``array``; padding is zero."""
    api = ttnn_api()
    ttnn = api.ttnn
    # ttnn takes numpy's own types only; other floats go through float32, which holds them exactly. Block floats are
    # rounded by ttnn itself.
    stored = FORMAT_DTYPES.get(spec.data_format)
    values = array if stored is None else array.astype(stored, copy=False)
    values = np.ascontiguousarray(values, None if values.dtype.kind == "i" else np.float32)
    host = ttnn.Tensor(values, data_type=api.data_format(spec.data_format), layout=ttnn.TILE_LAYOUT)
    with device_faults("copying a tensor to the device", spec.name):
        return host.to(device, memory_config(spec))


def download(spec: TensorSpec, tensor: Any) -> np.ndarray:
    """The content of a ttnn tensor as a numpy array of the parameter's dtype and shape."""
    ttnn = ttnn_api().ttnn
    host = tensor.cpu()
    if spec.data_format not in ("Float32", "Int32", "UInt32"):
        host = ttnn.to_dtype(host, ttnn.float32)
    with np.errstate(over="ignore"):
        return np.asarray(host.to_numpy()).astype(dtype_of(spec.dtype), copy=False).reshape(spec.shape)


def check_tensor(spec: TensorSpec, tensor: Any, device: Any, model: Device) -> None:
    """Refuse a ttnn tensor that is not what the program was compiled for.

    ``device`` is the ttnn device that the program runs on and ``model`` what the compiler sees of it.

    Raises:
        ProgramError: ``argument-shape``, ``argument-dtype`` or ``argument-layout``, naming the parameter.
    """
    ttnn = ttnn_api().ttnn
    shape = tuple(tensor.shape)
    # ttnn keeps a vector [n] as the matrix [1, n] or as [n]; both are stored alike.
    if shape != spec.shape and not (len(spec.shape) == 1 and shape == (1, *spec.shape)):
        raise _mismatch(Code.ARGUMENT_SHAPE, spec, "shape", list(shape), list(spec.shape))
    dtype = ttnn_api().data_format(spec.data_format)
    if tensor.dtype != dtype:
        raise _mismatch(Code.ARGUMENT_DTYPE, spec, "dtype", tensor.dtype.name.lower(), dtype.name.lower())
    if tensor.device() is not device:
        found = "another device" if tensor.storage_type() == ttnn.StorageType.DEVICE else "the host"
        raise _mismatch(Code.ARGUMENT_LAYOUT, spec, "place", found, "the device that the program runs on")
    expected = describe(spec.memory, spec.shard)
    if tensor.layout != ttnn.TILE_LAYOUT or list(tensor.tile.tile_shape) != [TILE, TILE]:
        found = f"{tensor.layout.name} layout"
        raise _mismatch(Code.ARGUMENT_LAYOUT, spec, "layout", found, f"TILE layout of 32 x 32 tiles, {expected}")
    kind, shard, found = describe_memory(tensor.memory_config(), spec.shape, model)
    if (kind, shard) != (spec.memory, spec.shard):
        raise _mismatch(Code.ARGUMENT_LAYOUT, spec, "layout", found, expected)


def _mismatch(code: Code, spec: TensorSpec, what: str, found: object, expected: object) -> ProgramError:
    hints = {
        Code.ARGUMENT_LAYOUT: "move it with ttnn.to_memory_config, or compile with layout_of(tensor) as its layout",
        Code.ARGUMENT_DTYPE: "convert it with ttnn.typecast, or compile with this dtype in the tensor's layout",
    }
    return ProgramError(
        code,
        f"argument {spec.name!r} has another {what} than the program was compiled for",
        subject=spec.name,
        found=found,
        expected=expected,
        hint=hints.get(code),
    )
