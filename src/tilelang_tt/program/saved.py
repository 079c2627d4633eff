"""Compiled functions from directories and texts, and as texts."""

from __future__ import annotations

import os

from . import storage
from .program import Program
from .sequence import ProgramSequence


def load(directory: str | os.PathLike[str]) -> Program | ProgramSequence:
    """What ``save`` wrote to ``directory``, validated; nothing of it is run.

    Raises:
        ProgramError: ``program-malformed``, when a file is missing, is not of the schema, or of another version of it.
    """
    if not storage.holds_sequence(directory):
        return Program(*storage.read(directory))
    return ProgramSequence.of(storage.read_sequence(directory))


def encode(compiled: Program | ProgramSequence) -> str:
    """``compiled`` as one text."""
    if isinstance(compiled, Program):
        return storage.encode(compiled.spec, compiled.sources)
    return storage.encode_sequence(compiled.content)


def decode(text: str) -> Program | ProgramSequence:
    """What :func:`encode` made a text of, validated. Raises as :func:`load`."""
    decoded = storage.decode(text)
    return ProgramSequence.of(decoded) if isinstance(decoded, storage.SavedSequence) else Program(*decoded)
