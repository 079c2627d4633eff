"""What a function of several grids is compiled to, as data: ``sequence.json`` in a saved sequence's directory.

The programs of its grids lie beside it, a directory each, as any saved program does. Needs neither tilelang nor torch.
"""

from __future__ import annotations

from ..sizes import Size
from .spec import SCHEMA_VERSION, Spec, TensorSpec


class StepSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """One grid of a sequence."""

    program: str
    """The directory of its program."""
    tensors: tuple[int, ...]
    """For each parameter of the program, which tensor of the sequence it is: a number in ``all_tensors``."""


class SequenceSizesSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """The symbolic sizes of a sequence, which its parameters tell at launch, and what follows from them."""

    sizes: dict[str, int]
    """Symbol -> the size that the sequence's tensors are given at."""
    shapes: tuple[tuple[Size, ...], ...]
    """Of every parameter; each symbol is a whole dimension of one of them."""
    intermediate_shapes: tuple[tuple[Size, ...], ...]


class SequenceSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """Programs that run one after the other, and the tensors that they share."""

    name: str
    tensors: tuple[TensorSpec, ...]
    """The parameters. Their direction is that of the whole sequence."""
    intermediates: tuple[TensorSpec, ...]
    """Device memory that an executor allocates for a run. Nothing is known of it before a step writes it."""
    steps: tuple[StepSpec, ...]
    """In the order in which they run."""
    dynamic: SequenceSizesSpec | None = None
    """None where all shapes are fixed."""
    out_idx: tuple[int, ...] = ()
    """Parameters that a call allocates and returns instead of taking."""
    schema_version: int = SCHEMA_VERSION

    @property
    def all_tensors(self) -> tuple[TensorSpec, ...]:
        """The parameters and behind them the intermediates."""
        return self.tensors + self.intermediates
