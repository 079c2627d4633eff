"""A compiled program: one launch grid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import storage
from .compiled import Compiled, Launch
from .relaunch import Relaunches
from .spec import ProgramSpec

if TYPE_CHECKING:
    from ..partition import WorkPartition
    from .explain import Explanation


class Program(Compiled):
    """A program for one device: its work partition, its kernels, and how to run them.

    Called as :class:`Compiled` says.
    """

    def __init__(self, spec: ProgramSpec, sources: Mapping[str, str]) -> None:
        self._spec = spec
        self._sources = dict(sources)
        self._relaunches = None if spec.dynamic is None else Relaunches(spec)

    @property
    def spec(self) -> ProgramSpec:
        """The program's data."""
        return self._spec

    @property
    def launches(self) -> tuple[Launch, ...]:
        """The program itself, on all tensors."""
        return (Launch(self, tuple(range(len(self.spec.tensors)))),)

    def spec_for(self, shapes: Sequence[tuple[int, ...] | None]) -> ProgramSpec:
        """See :meth:`Compiled.spec_for`."""
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
        """See :meth:`Compiled.explain`."""
        from .explain import explain

        return explain(self.spec)

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write ``program.json`` and ``kernels/*.cpp``; see :meth:`Compiled.save`."""
        return storage.save(self.spec, self._sources, directory)

    def __repr__(self) -> str:
        cores = len(self.spec.partition.core_ranges)
        return f"<Program {self.spec.name} for {self.spec.device.name}: {self.spec.partition.mode} on {cores} cores>"
