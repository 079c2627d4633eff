"""A compiled program, callable as TileLang kernels are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import storage
from .relaunch import Relaunches
from .spec import ProgramSpec

if TYPE_CHECKING:
    from ..partition import WorkPartition
    from .explain import Explanation


class Program:
    """A program for one device: its work partition, its kernels, and how to run them.

    Called with all tensors in parameter order; outputs are written in place, and those that the function declares with
    ``out_idx`` are left out of the call and returned. Tensors are numpy arrays or torch tensors.
    """

    def __init__(self, spec: ProgramSpec, sources: Mapping[str, str]) -> None:
        self.spec = spec
        self._sources = dict(sources)
        self._relaunches = None if spec.dynamic is None else Relaunches(spec)

    def spec_for(self, shapes: Sequence[tuple[int, ...] | None]) -> ProgramSpec:
        """The program's data for a launch on tensors of these shapes, in parameter order; None for one not given.

        It is made once per shapes; its kernels are those of :attr:`spec`, which it is where no size is symbolic.

        Raises:
            ProgramError: ``argument-shape`` or ``argument-count``, for shapes that symbolic sizes cannot have.
            PartitionError: ``shard-grid-coverage`` or ``number-too-large``, for sizes that cannot be launched.
        """
        return self.spec if self._relaunches is None else self._relaunches.at(shapes)

    @property
    def partition(self) -> WorkPartition:
        """Which core works on which work tiles; at the representative sizes, where sizes are symbolic."""
        from ..partition import WorkPartition

        return WorkPartition.from_spec(self.spec.partition)

    @property
    def kernels(self) -> dict[str, str]:
        """Role (reader, compute, writer) -> C++ source."""
        return {kernel.role: self._sources[kernel.source] for kernel in self.spec.kernels}

    @property
    def sources(self) -> dict[str, str]:
        """File name -> C++ source."""
        return dict(self._sources)

    def explain(self) -> Explanation:
        """Why the program is partitioned as it is: print it, or take its ``to_dict()``.

        Raises:
            ProgramError: ``program-malformed``, for a program saved without what its partition was made for.
        """
        from .explain import explain

        return explain(self.spec)

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write the program: ``program.json`` and ``kernels/*.cpp``.

        Returns the directory.
                Raises:
                    ProgramError: ``program-malformed``, when ``directory`` holds something else.
        """
        return storage.save(self.spec, self._sources, directory)

    def __call__(self, *tensors: Any) -> Any:
        """Run on the emulator; see :meth:`run`."""
        return self.run(*tensors)

    def run(self, *tensors: Any, report: bool = False) -> Any:
        """Run on the emulator.

        Args:
            *tensors: numpy arrays or torch tensors, in parameter order, without the outputs that are returned.
            report: also return what the emulator counted.

        Returns:
            None, the returned output, or a list of several; with ``report`` a pair of that and a :class:`RunReport`.

        Raises:
            ProgramError: ``argument-count``, ``argument-shape`` or ``argument-dtype``, for tensors that do not fit.
            ExecutionError: when a kernel does something wrong.
        """
        from ..runtime.call import call

        result, counted = call(self, tensors)
        return (result, counted) if report else result

    def __repr__(self) -> str:
        cores = len(self.spec.partition.core_ranges)
        return f"<Program {self.spec.name} for {self.spec.device.name}: {self.spec.partition.mode} on {cores} cores>"
