"""Running compiled programs. Needs neither tilelang nor torch; ttnn only where programs run on a device.

``load(directory)`` gives a saved program back; called, it runs on the emulator, or on a Tenstorrent device where
``TILELANG_TT_EXECUTOR=ttnn`` is set or its arguments are ttnn tensors. ``python -m tilelang_tt.runtime`` does the same
from the command line.
"""

from __future__ import annotations

import os

from ..program import Program, ProgramSequence, saved
from .report import RunReport, SequenceReport

__all__ = ["Program", "ProgramSequence", "RunReport", "SequenceReport", "load"]


def load(directory: str | os.PathLike[str]) -> Program | ProgramSequence:
    """The program, or the sequence of them, that ``save`` wrote to ``directory``, validated; nothing of it is run.

    Raises:
        ProgramError: ``program-malformed``, when a file is missing, is not of the schema, or of another version of it.
    """
    return saved.load(directory)
