"""The caller's numpy arrays and torch tensors as the C-contiguous numpy arrays that executors work on.

torch is never imported here: a torch tensor can only be an argument where the caller has imported it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Code, ProgramError
from ..program.spec import StorageSpec, TensorSpec
from .tiles import dtype_of


@dataclass(frozen=True)
class HostTensor:
    """An argument in host memory.

    Attributes:
        spec: the parameter.
        array: what the executor reads and writes: C-contiguous, as the tensor is stored, and the caller's own memory
            where that is so.
        view: the caller's memory, which is ``array`` itself or has to be given its content after a run.
    """

    spec: TensorSpec
    array: np.ndarray
    view: np.ndarray

    def write_back(self, array: np.ndarray) -> None:
        """Gives the caller's memory what the executor wrote to ``array``: this tensor's own, or a copy of it."""
        if self.spec.direction != "in" and array is not self.view:
            self.give(array)

    def give(self, stored: np.ndarray) -> None:
        """Gives the caller's memory ``stored``, the tensor's content as it is stored."""
        self.view[...] = from_storage(self.spec.storage, stored)


def is_torch(tensor: Any) -> bool:
    """Whether ``tensor`` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "Tensor") and isinstance(tensor, torch.Tensor)


def _is_number(tensor: Any) -> bool:
    return isinstance(tensor, (int, float, np.number))


def number_of(spec: TensorSpec, tensor: Any) -> int:
    """The integer given for parameter ``spec``, as a number or as an array of one element.

    Raises:
        ProgramError: ``argument-dtype`` for anything else.
    """
    values = np.asarray(tensor) if _is_number(tensor) or isinstance(tensor, np.ndarray) or is_torch(tensor) else None
    if values is None or values.size != 1 or values.dtype.kind not in "iu":
        raise ProgramError(
            Code.ARGUMENT_DTYPE,
            f"argument {spec.name!r} is no integer, and it decides how the program is launched",
            subject=spec.name,
            found=type(tensor).__name__ if values is None else f"{values.dtype} of shape {list(values.shape)}",
            expected="a number",
        )
    return int(values.reshape(-1)[0])


def bind(spec: TensorSpec, tensor: Any) -> HostTensor:
    """``tensor``, a number for a tensor of one element, as the argument for parameter ``spec``.

    Raises:
        ProgramError: ``argument-shape`` or ``argument-dtype`` for a tensor that is not of the parameter's shape or
            dtype, ``bad-value`` for one that cannot be read, or not be written where the program writes it.
    """
    if _is_number(tensor) and spec.host_shape == (1,):
        return bind(spec, np.full(1, tensor, dtype_of(spec.dtype)))
    if is_torch(tensor):
        _check(spec, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        view = _torch_memory(spec, tensor)
    elif isinstance(tensor, np.ndarray):
        _check(spec, tensor.shape, tensor.dtype.name if tensor.dtype.isnative else str(tensor.dtype))
        view = tensor
    else:
        raise ProgramError(
            Code.ARGUMENT_DTYPE,
            f"argument {spec.name!r} is no tensor",
            subject=spec.name,
            found=type(tensor).__name__,
            expected=f"a numpy array or torch tensor of dtype {spec.dtype} and shape {list(spec.host_shape)}",
        )
    if spec.direction != "in":
        _check_writable(spec, view)
    if spec.storage is not None:
        return HostTensor(spec, to_storage(spec.storage, view), view)
    return HostTensor(spec, view if view.flags.c_contiguous else np.ascontiguousarray(view), view)


def to_storage(storage: StorageSpec, array: np.ndarray) -> np.ndarray:
    """The caller's ``array`` as it is stored, C-contiguous."""
    return np.array(array.reshape(storage.split).transpose(storage.order), order="C")


def from_storage(storage: StorageSpec | None, stored: np.ndarray) -> np.ndarray:
    """What is stored as the caller has it."""
    if storage is None:
        return stored
    split = stored.transpose(np.argsort(storage.order))
    return split.reshape(storage.shape)


def allocate(spec: TensorSpec, *, torch: bool) -> Any:
    """A new tensor of zeros for parameter ``spec``: a torch tensor, or a numpy array."""
    if torch:
        module = sys.modules["torch"]
        return module.zeros(spec.host_shape, dtype=getattr(module, spec.dtype))
    return np.zeros(spec.host_shape, dtype_of(spec.dtype))


def unknown(spec: TensorSpec) -> np.ndarray:
    """An array for device memory that nobody has written: NaN, or the least integer, as it is stored."""
    dtype = dtype_of(spec.dtype)
    return np.full(spec.shape, np.iinfo(dtype).min if dtype.kind in "iu" else np.nan, dtype)


def _check(spec: TensorSpec, shape: tuple[int, ...], dtype: str) -> None:
    if shape != spec.host_shape:
        raise ProgramError(
            Code.ARGUMENT_SHAPE,
            f"argument {spec.name!r} has another shape than the program was compiled for",
            subject=spec.name,
            found=list(shape),
            expected=list(spec.host_shape),
        )
    if dtype != spec.dtype:
        raise ProgramError(
            Code.ARGUMENT_DTYPE,
            f"argument {spec.name!r} has another dtype than the program was compiled for",
            subject=spec.name,
            found=dtype,
            expected=spec.dtype,
            hint="numpy's bfloat16 is ml_dtypes.bfloat16" if spec.dtype == "bfloat16" else None,
        )


def _torch_memory(spec: TensorSpec, tensor: Any) -> np.ndarray:
    """The memory of a torch tensor as a numpy array."""
    torch = sys.modules["torch"]
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        raise ProgramError(
            Code.BAD_VALUE,
            f"argument {spec.name!r} is not a dense tensor in host memory",
            subject=spec.name,
            found=f"device {tensor.device}, layout {tensor.layout}",
            expected="device cpu, layout torch.strided",
        )
    if spec.direction != "in" and tensor.requires_grad:
        raise ProgramError(
            Code.BAD_VALUE,
            f"argument {spec.name!r} is written, which autograd would not see",
            subject=spec.name,
            found="requires_grad=True",
            expected="requires_grad=False",
            hint="pass tensor.detach()",
        )
    plain = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        # numpy gets the bits: torch does not know numpy's bfloat16.
        return plain.view(torch.int16).numpy().view(dtype_of("bfloat16"))
    return plain.numpy()


def _check_writable(spec: TensorSpec, view: np.ndarray) -> None:
    repeated = view.size > 0 and any(
        stride == 0 and size > 1 for stride, size in zip(view.strides, view.shape, strict=True)
    )
    if not view.flags.writeable or repeated:
        raise ProgramError(
            Code.BAD_VALUE,
            f"argument {spec.name!r} is written by the program and cannot be",
            subject=spec.name,
            found="a broadcast view, whose elements share memory" if repeated else "a read-only array",
            expected="writable memory with a place for every element",
        )
