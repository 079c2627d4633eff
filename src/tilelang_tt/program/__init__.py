"""A compiled program: its data, its sources, saving, loading and calling it; and sequences of programs.

Needs neither tilelang nor torch.
"""

from .compiled import Compiled, Launch
from .program import Program
from .sequence import ProgramSequence
from .sequence_spec import SequenceSpec
from .spec import ProgramSpec

__all__ = ["Compiled", "Launch", "Program", "ProgramSequence", "ProgramSpec", "SequenceSpec"]
