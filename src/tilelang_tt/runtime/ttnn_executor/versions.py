"""What differs between versions of ttnn: one table per supported version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from types import MappingProxyType
from typing import Any

from ...errors import Code, ExecutionError


@dataclass(frozen=True)
class TtnnTable:
    """Names and numbers of one version of ttnn."""

    kernel_api: str
    """The kernel API of its headers, as ``ProgramSpec.metalium_api`` names it."""
    data_formats: Mapping[str, str]
    """The format of a tensor's or circular buffer's tiles -> the name of ttnn's dtype."""
    architectures: Mapping[str, str]
    """The name of ttnn's architecture -> ours."""
    circular_buffers: Mapping[str, int]
    """Architecture -> circular buffers of a core, for which unpack modes are given."""
    descriptors: str
    """The module that holds what the package does not export: unpack modes."""


VERSIONS: Mapping[str, TtnnTable] = MappingProxyType(
    {
        "0.81": TtnnTable(
            kernel_api="ttnn-0.81",
            data_formats=MappingProxyType(
                {
                    "Float16_b": "bfloat16",
                    "Float32": "float32",
                    "Int32": "int32",
                    "UInt32": "uint32",
                    "Bfp8_b": "bfloat8_b",
                    "Bfp4_b": "bfloat4_b",
                }
            ),
            architectures=MappingProxyType({"WORMHOLE_B0": "wormhole", "BLACKHOLE": "blackhole"}),
            circular_buffers=MappingProxyType({"wormhole": 32, "blackhole": 64}),
            descriptors="ttnn._ttnn.program_descriptor",
        )
    }
)
"""Major and minor version -> its table. Checked by running on 0.81.1."""


_FLOAT16_HINT = 'compile with schedule={"float16_as": "bfloat16"} (or "float32"), or run on the emulator'


@dataclass(frozen=True)
class TtnnApi:
    """The installed ttnn and its table."""

    ttnn: Any
    table: TtnnTable
    descriptors: Any

    def data_format(self, name: str) -> Any:
        """ttnn's dtype for tiles of a format. Raises :class:`ExecutionError` (``unsupported``) where it has none."""
        names = self.table.data_formats
        if name not in names:
            raise ExecutionError(
                Code.UNSUPPORTED,
                f"ttnn has no tiles of format {name}",
                subject=name,
                found=name,
                expected=", ".join(names),
                hint=_FLOAT16_HINT
                if name == "Float16"
                else "compile the kernel with bfloat16, or run it on the emulator",
            )
        return getattr(self.ttnn, names[name])

    def architecture(self, device: Any) -> str:
        """Our name of an open device's architecture. Raises :class:`ExecutionError` (``device-mismatch``)."""
        name = device.arch().name
        if name not in self.table.architectures:
            raise ExecutionError(
                Code.DEVICE_MISMATCH,
                "the device's architecture is not supported",
                subject="device",
                found=name,
                expected=" or ".join(self.table.architectures),
            )
        return self.table.architectures[name]


def check_version(version: str) -> TtnnTable:
    """The table of a version of ttnn. Raises :class:`ExecutionError` (``executor-unavailable``) where there is none."""
    release = ".".join(version.split(".")[:2])
    if release not in VERSIONS:
        raise ExecutionError(
            Code.EXECUTOR_UNAVAILABLE,
            "this version of ttnn is not supported",
            subject="ttnn",
            found=version,
            expected="ttnn " + ", ".join(f"{supported}.*" for supported in VERSIONS),
        )
    return VERSIONS[release]


@lru_cache(maxsize=1)
def ttnn_api() -> TtnnApi:
    """The installed ttnn, imported on the first call.

    Raises :class:`ExecutionError` (``executor-unavailable``) where it is not installed or of an unsupported version.
    """
    try:
        version = metadata.version("ttnn")
    except metadata.PackageNotFoundError:
        raise ExecutionError(
            Code.EXECUTOR_UNAVAILABLE,
            "the ttnn executor needs ttnn",
            subject="ttnn",
            found="not installed",
            expected="ttnn " + ", ".join(f"{supported}.*" for supported in VERSIONS),
            hint="pip install ttnn (Python 3.10 or 3.12), or run on the emulator",
        ) from None
    table = check_version(version)
    try:
        return TtnnApi(import_module("ttnn"), table, import_module(table.descriptors))
    except ImportError as error:
        raise ExecutionError(
            Code.EXECUTOR_UNAVAILABLE, "ttnn is installed and cannot be imported", subject="ttnn", found=error
        ) from error


@contextmanager
def device_faults(doing: str, subject: str) -> Iterator[None]:
    """Gives what ttnn raises, ``doing`` something with ``subject``, as the package's own error without its C++ stack.

    Raises :class:`ExecutionError` (``device-fault``).
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).split("backtrace:")[0].strip()
        raise ExecutionError(
            Code.DEVICE_FAULT, f"ttnn failed {doing}", subject=subject, found=text or type(error).__name__
        ) from error
