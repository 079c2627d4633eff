"""A compiled program: its data, its sources, saving, loading and calling it.

Needs neither tilelang nor torch.
"""

from .program import Program
from .spec import ProgramSpec

__all__ = ["Program", "ProgramSpec"]
