"""Saved programs: ``program.json`` and ``kernels/*.cpp`` in a directory; of a function of several grids
``sequence.json`` and such a directory for each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import Code, ProgramError
from .consistency import check, check_sequence
from .sequence_spec import SequenceSpec
from .spec import SCHEMA_VERSION, ProgramSpec

SPEC_FILE = "program.json"
SEQUENCE_FILE = "sequence.json"
KERNEL_DIR = "kernels"

Saved = tuple[ProgramSpec, Mapping[str, str]]
"""A program's data, and its sources by file name."""


@dataclass(frozen=True)
class SavedSequence:
    """A sequence's data, and its programs in the order of its steps."""

    spec: SequenceSpec
    programs: Sequence[Saved]


def save(spec: ProgramSpec, sources: Mapping[str, str], directory: str | os.PathLike[str]) -> Path:
    """Write a program to ``directory``, which may hold an earlier one; all of it or nothing.

    Raises:
        ProgramError: ``program-malformed``, when ``directory`` holds something else.
    """
    return _replaced(directory, lambda target: _write(spec, sources, target))


def save_sequence(sequence: SavedSequence, directory: str | os.PathLike[str]) -> Path:
    """Write a sequence and its programs. As :func:`save`."""

    def write(target: Path) -> None:
        for step, (program, sources) in zip(sequence.spec.steps, sequence.programs, strict=True):
            (target / step.program).mkdir()
            _write(program, sources, target / step.program)
        (target / SEQUENCE_FILE).write_bytes(_readable(sequence.spec))

    return _replaced(directory, write)


def _write(spec: ProgramSpec, sources: Mapping[str, str], directory: Path) -> None:
    (directory / KERNEL_DIR).mkdir()
    for name, text in sources.items():
        (directory / KERNEL_DIR / name).write_text(text, encoding="utf-8")
    (directory / SPEC_FILE).write_bytes(_readable(spec))


def _readable(spec: ProgramSpec | SequenceSpec) -> bytes:
    return msgspec.json.format(msgspec.json.encode(spec), indent=1)


def _replaced(directory: str | os.PathLike[str], write: Callable[[Path], None]) -> Path:
    """``directory`` with what ``write`` writes, instead of an earlier program."""
    target = Path(directory)
    holds_one = any((target / name).is_file() for name in (SPEC_FILE, SEQUENCE_FILE))
    if target.exists() and not holds_one and (not target.is_dir() or any(target.iterdir())):
        raise ProgramError(
            Code.PROGRAM_MALFORMED,
            "the directory holds something else",
            subject=str(target),
            expected="a new or empty directory, or one that holds a program",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(staging)
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
    spec = _decode_spec(_read_data(source / SPEC_FILE), str(source / SPEC_FILE))
    return spec, {kernel.source: _read_source(source, kernel.source) for kernel in spec.kernels}


def holds_sequence(directory: str | os.PathLike[str]) -> bool:
    """Whether a sequence of programs is saved in ``directory``."""
    return (Path(directory) / SEQUENCE_FILE).is_file()


def read_sequence(directory: str | os.PathLike[str]) -> SavedSequence:
    """The data of a saved sequence and its programs. As :func:`read`."""
    path = Path(directory) / SEQUENCE_FILE
    spec = _decoded(_read_data(path), SequenceSpec, str(path))
    check_sequence(spec, None, str(path))
    programs = [read(Path(directory) / step.program) for step in spec.steps]
    check_sequence(spec, [program for program, _ in programs], str(path))
    return SavedSequence(spec, programs)


def encode(spec: ProgramSpec, sources: Mapping[str, str]) -> str:
    """A program as one text."""
    return msgspec.json.encode({"program": spec, "sources": sources}).decode()


def encode_sequence(sequence: SavedSequence) -> str:
    """A sequence and its programs as one text."""
    encoded = [{"program": program, "sources": sources} for program, sources in sequence.programs]
    return msgspec.json.encode({"sequence": sequence.spec, "programs": encoded}).decode()


def decode(text: str) -> tuple[ProgramSpec, dict[str, str]] | SavedSequence:
    """What :func:`encode` or :func:`encode_sequence` wrote, validated.

    Raises:
        ProgramError: ``program-malformed``, when the text is not of the schema, or of another version of it.
    """
    origin = "a program in one text"
    try:
        keys = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        encoded = msgspec.json.decode(text, type=_EncodedSequence if "sequence" in keys else _Encoded)
    except msgspec.MsgspecError as error:
        raise _malformed("the program's data is not of its schema", origin, error) from None
    if isinstance(encoded, _Encoded):
        return _decode_spec(encoded.program, origin), encoded.sources
    spec = _decoded(encoded.sequence, SequenceSpec, origin)
    programs = [(_decode_spec(each.program, origin), each.sources) for each in encoded.programs]
    check_sequence(spec, [program for program, _ in programs], origin)
    return SavedSequence(spec, programs)


class _Encoded(msgspec.Struct):
    program: msgspec.Raw
    sources: dict[str, str]


class _EncodedSequence(msgspec.Struct):
    sequence: msgspec.Raw
    programs: list[_Encoded]


class _Version(msgspec.Struct):
    schema_version: int


Data = TypeVar("Data", ProgramSpec, SequenceSpec)


def _decode_spec(encoded: bytes | msgspec.Raw, origin: str) -> ProgramSpec:
    spec = _decoded(encoded, ProgramSpec, origin)
    check(spec, origin)
    return spec


def _decoded(encoded: bytes | msgspec.Raw, kind: type[Data], origin: str) -> Data:
    try:
        version = msgspec.json.decode(encoded, type=_Version).schema_version
        spec = msgspec.json.decode(encoded, type=kind) if version == SCHEMA_VERSION else None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed("the program's data is not of its schema", origin, error) from None
    if spec is not None:
        return spec
    raise ProgramError(
        Code.PROGRAM_MALFORMED,
        "the program was saved by another version of the package",
        subject=origin,
        found=f"schema version {version}",
        expected=f"schema version {SCHEMA_VERSION}",
        hint="compile the kernel again",
    )


def _read_data(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _malformed("there is no saved program", path, error) from None


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
