"""A compiled function of several grids: a program for each, which run one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import Code, UnsupportedError
from ..sizes import Size
from . import storage
from .compiled import Compiled, Launch
from .program import Program
from .relaunch import KEPT_SHAPES, Shape, resized, sizes_of
from .sequence_consistency import direction_of, uses_of
from .sequence_spec import SequenceSizesSpec, SequenceSpec, StepSpec
from .spec import ProgramSpec, TensorSpec

if TYPE_CHECKING:
    from .explain import SequenceExplanation


class ProgramSequence(Compiled):
    """Programs that a call runs one after the other, and the device memory between them.

    Called as :class:`Compiled` says; executors allocate the intermediates.
    """

    def __init__(self, spec: SequenceSpec, programs: Sequence[Program]) -> None:
        self._spec = spec
        self.programs = tuple(programs)
        """The program of each grid, in the order in which they run."""
        self._at_shapes = lru_cache(maxsize=KEPT_SHAPES)(self._at)

    @classmethod
    def of(cls, saved: storage.SavedSequence) -> ProgramSequence:
        """The sequence that was saved."""
        return cls(saved.spec, [Program(*program) for program in saved.programs])

    @property
    def content(self) -> storage.SavedSequence:
        """What there is to save of it."""
        return storage.SavedSequence(self.spec, [(program.spec, program.sources) for program in self.programs])

    @property
    def spec(self) -> SequenceSpec:
        """The sequence's data, without that of its programs."""
        return self._spec

    @property
    def launches(self) -> tuple[Launch, ...]:
        """The programs, each with the tensors that it takes."""
        steps = zip(self.programs, self.spec.steps, strict=True)
        return tuple(Launch(program, step.tensors) for program, step in steps)

    def spec_for(self, shapes: Sequence[Shape | None]) -> SequenceSpec:
        """See :meth:`Compiled.spec_for`."""
        return self.spec if self.spec.dynamic is None else self._at_shapes(tuple(shapes))

    def _at(self, shapes: tuple[Shape | None, ...]) -> SequenceSpec:
        dynamic = self.spec.dynamic
        assert dynamic is not None
        sizes = sizes_of(self.spec, shapes)
        every = zip(self.spec.all_tensors, dynamic.shapes + dynamic.intermediate_shapes, strict=True)
        tensors = tuple(resized(tensor, dims, sizes) for tensor, dims in every)
        count = len(self.spec.tensors)
        now = msgspec.structs.replace(dynamic, sizes=sizes)
        return msgspec.structs.replace(self.spec, tensors=tensors[:count], intermediates=tensors[count:], dynamic=now)

    @property
    def kernels(self) -> dict[str, str]:
        """``<grid>/<role>`` -> C++ source."""
        steps = zip(self.spec.steps, self.programs, strict=True)
        return {f"{step.program}/{role}": text for step, program in steps for role, text in program.kernels.items()}

    def explain(self) -> SequenceExplanation:
        """See :meth:`Compiled.explain`."""
        from .explain import SequenceExplanation

        return SequenceExplanation(self.spec.name, tuple(program.explain() for program in self.programs))

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write ``sequence.json`` and a directory for every grid's program; see :meth:`Compiled.save`."""
        return storage.save_sequence(self.content, directory)

    def __repr__(self) -> str:
        return f"<ProgramSequence {self.spec.name}: {', '.join(map(repr, self.programs))}>"


def sequence_of(
    name: str, programs: Sequence[Program], parameters: Sequence[str], out_idx: Sequence[int], symbols: Sequence[str]
) -> ProgramSequence:
    """The sequence of the programs of a function's grids.

    Args:
        name: the function.
        programs: of its grids in their order; tensors of one name are the same.
        parameters: the function's tensors in its order. All others of the programs are intermediates.
        out_idx: the parameters that a call returns.
        symbols: the function's symbolic sizes in its order.

    Raises:
        UnsupportedError: ``unsupported``, where grids keep a tensor in different ways, or read memory that none wrote.
    """
    specs = [program.spec for program in programs]
    names = list(parameters)
    names += [t.name for spec in specs for t in spec.tensors if t.name not in parameters]
    names = list(dict.fromkeys(names))
    tensors = tuple(_shared(name, specs) for name in names)
    count = len(parameters)
    for tensor in tensors[count:]:
        _check_written_first(tensor)
    spec = SequenceSpec(
        name=name,
        tensors=tensors[:count],
        intermediates=tensors[count:],
        steps=tuple(
            StepSpec(f"grid{number}", tuple(names.index(tensor.name) for tensor in spec.tensors))
            for number, spec in enumerate(specs)
        ),
        dynamic=_sizes(names, count, specs, symbols) if symbols else None,
        out_idx=tuple(out_idx),
    )
    return ProgramSequence(spec, programs)


def _shared(name: str, specs: Sequence[ProgramSpec]) -> TensorSpec:
    uses = uses_of(name, specs)
    alike = [msgspec.structs.replace(use, direction=direction_of(uses)) for use in uses]
    for other in alike:
        for field in TensorSpec.__struct_fields__:
            found, first = getattr(other, field), getattr(alike[0], field)
            if found != first:
                raise UnsupportedError(
                    Code.UNSUPPORTED,
                    f"grids keep tensor {name!r} in different ways",
                    subject=name,
                    found=f"{field} {found}",
                    expected=f"{first}, as an earlier grid has it",
                    hint="say for all grids how tensors are stored",
                )
    return alike[0]


def _check_written_first(tensor: TensorSpec) -> None:
    if tensor.direction != "out":
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"{tensor.name} is read before a grid has written it",
            subject=tensor.name,
            found="device memory that the function allocates, whose content is not known",
            expected="a grid that writes it, and others that read it",
            hint="write it in a grid of its own, or make it a parameter",
        )


def _sizes(names: Sequence[str], count: int, specs: Sequence[ProgramSpec], symbols: Sequence[str]) -> SequenceSizesSpec:
    sizes: dict[str, int] = {}
    shapes: dict[str, tuple[Size, ...]] = {}
    for spec in specs:
        dims = [tensor.host_shape for tensor in spec.tensors] if spec.dynamic is None else spec.dynamic.shapes
        shapes |= zip([tensor.name for tensor in spec.tensors], dims, strict=True)
        sizes |= {} if spec.dynamic is None else spec.dynamic.sizes
    ordered = [shapes[name] for name in names]
    return SequenceSizesSpec(
        {symbol: sizes[symbol] for symbol in symbols}, tuple(ordered[:count]), tuple(ordered[count:])
    )
