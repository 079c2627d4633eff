"""Saved programs: ``program.json`` and ``kernels/*.cpp`` in a directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..errors import Code, ProgramError
from .consistency import check
from .spec import SCHEMA_VERSION, ProgramSpec

SPEC_FILE = "program.json"
KERNEL_DIR = "kernels"


def save(spec: ProgramSpec, sources: Mapping[str, str], directory: str | os.PathLike[str]) -> Path:
    """Write a program to ``directory``, which may hold an earlier one; all of it or nothing.

    Raises:
        ProgramError: ``program-malformed``, when ``directory`` holds something else.
    """
    target = Path(directory)
    if target.exists() and not (target / SPEC_FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ProgramError(
            Code.PROGRAM_MALFORMED,
            "the directory holds something else",
            subject=str(target),
            expected="a new or empty directory, or one that holds a program",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        (staging / KERNEL_DIR).mkdir()
        for name, text in sources.items():
            (staging / KERNEL_DIR / name).write_text(text, encoding="utf-8")
        (staging / SPEC_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=1))
        staging.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return target


def read(directory: str | os.PathLike[str]) -> tuple[ProgramSpec, dict[str, str]]:
    """The data and sources of a saved program, validated; nothing of it is run.

    Raises:
        ProgramError: ``program-malformed``, when a file is missing, is not of the schema, or of another version of it.
    """
    source = Path(directory)
    try:
        encoded = (source / SPEC_FILE).read_bytes()
    except OSError as error:
        raise _malformed("there is no saved program", source / SPEC_FILE, error) from None
    spec = _decode_spec(encoded, str(source / SPEC_FILE))
    return spec, {kernel.source: _read_source(source, kernel.source) for kernel in spec.kernels}


def encode(spec: ProgramSpec, sources: Mapping[str, str]) -> str:
    """A program as one text."""
    return msgspec.json.encode({"program": spec, "sources": sources}).decode()


def decode(text: str) -> tuple[ProgramSpec, dict[str, str]]:
    """The data and sources of the program that :func:`encode` wrote, validated.

    Raises:
        ProgramError: ``program-malformed``, when the text is not of the schema, or of another version of it.
    """
    origin = "a program in one text"
    try:
        encoded = msgspec.json.decode(text, type=_Encoded)
    except msgspec.MsgspecError as error:
        raise _malformed("the program's data is not of its schema", origin, error) from None
    return _decode_spec(encoded.program, origin), encoded.sources


class _Encoded(msgspec.Struct):
    program: msgspec.Raw
    sources: dict[str, str]


class _Version(msgspec.Struct):
    schema_version: int


def _decode_spec(encoded: bytes | msgspec.Raw, origin: str) -> ProgramSpec:
    try:
        version = msgspec.json.decode(encoded, type=_Version).schema_version
        spec = msgspec.json.decode(encoded, type=ProgramSpec) if version == SCHEMA_VERSION else None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed("the program's data is not of its schema", origin, error) from None
    if spec is not None:
        check(spec, origin)
        return spec
    raise ProgramError(
        Code.PROGRAM_MALFORMED,
        "the program was saved by another version of the package",
        subject=origin,
        found=f"schema version {version}",
        expected=f"schema version {SCHEMA_VERSION}",
        hint="compile the kernel again",
    )


def _read_source(directory: Path, name: str) -> str:
    try:
        return (directory / KERNEL_DIR / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _malformed("a kernel's source cannot be read", directory / KERNEL_DIR / name, error) from None


def _malformed(problem: str, origin: str | Path, found: object) -> ProgramError:
    return ProgramError(
        Code.PROGRAM_MALFORMED,
        problem,
        subject=str(origin),
        found=found,
        expected="a program written by this package",
    )
