"""The embedded executor: runs a program's C++ kernels on this machine, strictly and with counts, without hardware.

The same sources that go to the chip are compiled by the system's C++ compiler against headers of this package
(``cxx/include``) and run by a process of its own (``cxx/host``), so that no kernel can harm the caller: whatever one
does wrong ends in an :class:`~tilelang_tt.errors.ExecutionError` that names the kernel, its line, the core and the
circular buffer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import Code, ExecutionError, ProgramError
from ...formats import tile_bytes
from ...program.spec import ProgramSpec
from ..placement import place
from ..report import RunReport
from ..tiles import dtype_of
from . import toolchain
from .job import TensorFile, fault_error, job_text, read_outcome, run_report

__all__ = ["RunReport", "prepare", "run"]


def prepare(spec: ProgramSpec, sources: Mapping[str, str]) -> None:
    """Compiles the emulator and the program's kernels, so that :func:`run` finds them in the cache.

    ``sources`` holds each kernel's text by the name its :class:`KernelSpec` gives.

    Raises:
        ExecutionError: ``toolchain``, without a C++ compiler or when it rejects a kernel.
        CapacityError: ``l1-capacity``, when a core has too little L1 for the program.
    """
    _check_program(spec, sources)
    place(spec)
    toolchain.build(spec, sources)


def run(
    spec: ProgramSpec, sources: Mapping[str, str], tensors: Sequence[np.ndarray], *, timeout_seconds: float = 300.0
) -> RunReport:
    """Runs a program once. Outputs are written into ``tensors`` in place.

    ``tensors`` are C-contiguous arrays in parameter order, of numpy's dtypes or ``ml_dtypes.bfloat16``.

    Raises:
        ExecutionError: ``kernel-fault`` or ``deadlock`` when a kernel does something wrong, ``timeout`` when the run
            takes longer than ``timeout_seconds``, ``toolchain`` when it cannot be compiled.
        CapacityError: ``l1-capacity``, when a core has too little L1 for the program.
        ProgramError: tensors that do not fit the program.
    """
    _check_program(spec, sources)
    _check_tensors(spec, tensors)
    placement = place(spec)
    executable, objects = toolchain.build(spec, sources)
    with tempfile.TemporaryDirectory(prefix="tilelang-tt-", dir=_memory_directory()) as folder:
        directory = Path(folder)
        files = [
            TensorFile(directory / f"tensor{i}", tensor, array)
            for i, (tensor, array) in enumerate(zip(spec.tensors, tensors, strict=True))
        ]
        report, job = directory / "report.json", directory / "job"
        text = job_text(
            spec,
            sources,
            placement,
            objects,
            files,
            report,
            threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            timeout_ms=max(1, int(timeout_seconds * 1000)),
        )
        job.write_text(text)
        _run_process([str(executable), str(job)], report, timeout_seconds)
        outcome = read_outcome(report)
        if outcome.fault is not None:
            raise fault_error(outcome.fault)
        for file, unwritten in zip(files, outcome.unwritten, strict=True):
            file.read_back(unwritten)
        return run_report(spec, placement, outcome)


def _run_process(command: list[str], report: Path, timeout_seconds: float) -> None:
    # The emulator ends itself in time; the time here is for one that does not even manage that.
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout_seconds + 10
        )
    except subprocess.TimeoutExpired:
        raise ExecutionError(Code.TIMEOUT, f"the run was not over after {timeout_seconds:g} s") from None
    if result.returncode != 0 or not report.exists():
        status = result.returncode
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        raise ExecutionError(
            Code.KERNEL_FAULT, f"the emulator's process ended with {how}\n{result.stderr.strip()}".strip(), found=how
        )


def _memory_directory() -> str | None:
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) else None


def _check_program(spec: ProgramSpec, sources: Mapping[str, str]) -> None:
    for kernel in spec.kernels:
        if kernel.source not in sources:
            raise ProgramError(
                Code.PROGRAM_MALFORMED, f"the source of the {kernel.role} kernel is missing", subject=kernel.source
            )
    names = {tensor.name for tensor in spec.tensors}
    for cb in spec.circular_buffers:
        if cb.page_size != tile_bytes(cb.data_format) or (cb.tensor is not None and cb.tensor not in names):
            raise ProgramError(
                Code.PROGRAM_MALFORMED,
                f"circular buffer {cb.name!r} is malformed",
                subject=cb.name,
                found=f"pages of {cb.page_size} bytes, tensor {cb.tensor!r}",
                expected=f"pages of {tile_bytes(cb.data_format)} bytes ({cb.data_format})",
            )


def _check_tensors(spec: ProgramSpec, tensors: Sequence[np.ndarray]) -> None:
    if len(tensors) != len(spec.tensors):
        raise ProgramError(
            Code.ARGUMENT_COUNT, "wrong number of tensors", found=len(tensors), expected=f"{len(spec.tensors)}"
        )
    for tensor, array in zip(spec.tensors, tensors, strict=True):
        if array.shape != tensor.shape or not array.flags.c_contiguous:
            raise ProgramError(
                Code.ARGUMENT_SHAPE,
                f"tensor {tensor.name!r} has a wrong shape, or is not contiguous",
                subject=tensor.name,
                found=array.shape,
                expected=tensor.shape,
            )
        if array.dtype != dtype_of(tensor.dtype):
            raise ProgramError(
                Code.ARGUMENT_DTYPE,
                f"tensor {tensor.name!r} has a wrong dtype",
                subject=tensor.name,
                found=array.dtype,
                expected=dtype_of(tensor.dtype),
            )
