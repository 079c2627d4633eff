"""What can be called as TileLang kernels are: a program, or a sequence of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sequence_spec import SequenceSpec
from .spec import ProgramSpec

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True)
class Launch:
    """One program that a call runs, and which of the call's tensors (``spec.all_tensors``) it takes, by number."""

    program: Program
    tensors: tuple[int, ...]


class Compiled(ABC):
    """A compiled function.

    Called with all tensors in parameter order; outputs are written in place, and those that the function declares with
    ``out_idx`` are left out of the call and returned. Tensors are numpy arrays or torch tensors.
    """

    @property
    @abstractmethod
    def spec(self) -> ProgramSpec | SequenceSpec:
        """The data of it."""

    @property
    @abstractmethod
    def launches(self) -> tuple[Launch, ...]:
        """The programs that a call runs, one after the other."""

    @abstractmethod
    def spec_for(self, shapes: Sequence[tuple[int, ...] | None]) -> ProgramSpec | SequenceSpec:
        """The data for a launch on tensors of these shapes, in parameter order; None for one not given.

        It is made once per shapes; its kernels are those of :attr:`spec`, which it is where no size is symbolic.

        Raises:
            ProgramError: ``argument-shape`` or ``argument-count``, for shapes that symbolic sizes cannot have.
            PartitionError: ``shard-grid-coverage`` or ``number-too-large``, for sizes that cannot be launched.
        """

    @property
    @abstractmethod
    def kernels(self) -> dict[str, str]:
        """Role (reader, compute, writer) -> C++ source; of a sequence ``grid<number>/<role>``."""

    @abstractmethod
    def explain(self) -> Any:
        """Why it is partitioned as it is: print it, or take its ``to_dict()``.

        Raises:
            ProgramError: ``program-malformed``, for a program saved without what its partition was made for.
        """

    @abstractmethod
    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write it to ``directory``, for :func:`tilelang_tt.runtime.load`.

        Returns the directory.

        Raises:
            ProgramError: ``program-malformed``, when ``directory`` holds something else.
        """

    def __call__(self, *tensors: Any) -> Any:
        """Run on the emulator; see :meth:`run`."""
        return self.run(*tensors)

    def run(self, *tensors: Any, report: bool = False) -> Any:
        """Run on the emulator.

        Args:
            *tensors: numpy arrays or torch tensors, in parameter order, without the outputs that are returned.
            report: also return what the emulator counted.

        Returns:
            None, the returned output, or a list of several; with ``report`` a pair of that and a :class:`RunReport`,
            of a sequence a :class:`SequenceReport`.

        Raises:
            ProgramError: ``argument-count``, ``argument-shape`` or ``argument-dtype``, for tensors that do not fit.
            ExecutionError: when a kernel does something wrong.
        """
        from ..runtime.call import call

        result, counted = call(self, tensors)
        return (result, counted) if report else result
