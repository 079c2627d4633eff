"""Whether the data of a sequence agrees with itself and with that of its programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from .._plain import INT32_MAX
from ..sizes import names_in
from .sequence_spec import SequenceSpec, StepSpec
from .spec import ProgramSpec, TensorSpec

PROGRAM_NAME = re.compile(r"grid[0-9]+")


def sequence_problems(spec: SequenceSpec, programs: Sequence[ProgramSpec] | None) -> Iterable[str]:
    """What does not fit, in words; ``programs`` are None before they are read."""
    directories = [step.program for step in spec.steps]
    distinct = len(set(directories)) == len(directories)
    if not directories or not distinct or not all(map(PROGRAM_NAME.fullmatch, directories)):
        yield f"programs in {directories}"
    names = [tensor.name for tensor in spec.all_tensors]
    if len(set(names)) != len(names):
        yield f"tensors called {names}"
    count = len(spec.tensors)
    if sorted(set(spec.out_idx)) != list(spec.out_idx) or any(not 0 <= index < count for index in spec.out_idx):
        yield f"out_idx {list(spec.out_idx)} of {count} parameters"
    if programs is None:
        return
    if len(programs) != len(spec.steps):
        yield f"{len(programs)} programs for {len(spec.steps)} steps"
        return
    for step, program in zip(spec.steps, programs, strict=True):
        yield from _step_problems(spec, step, program)
    for number, tensor in enumerate(spec.all_tensors):
        uses = uses_of(tensor.name, programs)
        if not uses or tensor.direction != direction_of(uses):
            yield f"tensor {tensor.name!r} as {tensor.direction!r}"
        if number >= count and tensor.direction != "out":
            yield f"intermediate {tensor.name!r}, which is read before it is written"
    yield from _size_problems(spec, programs)


def uses_of(name: str, programs: Sequence[ProgramSpec]) -> list[TensorSpec]:
    """Tensor ``name`` as the programs have it that use it."""
    return [tensor for program in programs for tensor in program.tensors if tensor.name == name]


def direction_of(uses: Sequence[TensorSpec]) -> str:
    """The direction of a tensor for programs that use it one after the other: whether the first finds something in it
    decides what the caller's content is to them."""
    if all(use.direction == "in" for use in uses):
        return "in"
    return "out" if uses[0].direction == "out" else "inout"


def _step_problems(spec: SequenceSpec, step: StepSpec, program: ProgramSpec) -> Iterable[str]:
    tensors = spec.all_tensors
    if any(not 0 <= index < len(tensors) for index in step.tensors) or len(step.tensors) != len(program.tensors):
        yield f"{step.program} on tensors {list(step.tensors)} of {len(tensors)}"
        return
    for index, own in zip(step.tensors, program.tensors, strict=True):
        if msgspec.structs.replace(tensors[index], direction=own.direction) != own:
            yield f"{step.program} with another {own.name!r} than the sequence"


def _size_problems(spec: SequenceSpec, programs: Sequence[ProgramSpec]) -> Iterable[str]:
    dynamic = spec.dynamic
    used = {name: size for p in programs if p.dynamic is not None for name, size in p.dynamic.sizes.items()}
    if dynamic is None:
        if used:
            yield f"sizes {used} of the programs"
        return
    whole = {dim for dims in dynamic.shapes for dim in dims if isinstance(dim, str)}
    if used != dynamic.sizes or not set(used) <= whole or not all(1 <= size <= INT32_MAX for size in used.values()):
        yield f"sizes {dynamic.sizes}, for programs {used}, dimensions {sorted(whole)}"
    shapes = dynamic.shapes + dynamic.intermediate_shapes
    if (len(dynamic.shapes), len(shapes)) != (len(spec.tensors), len(spec.all_tensors)):
        yield f"shapes of {len(dynamic.shapes)} parameters and {len(dynamic.intermediate_shapes)} intermediates"
        return
    for step, program in zip(spec.steps, programs, strict=True):
        of_program = (
            [tensor.host_shape for tensor in program.tensors] if program.dynamic is None else program.dynamic.shapes
        )
        for index, dims in zip(step.tensors, of_program, strict=True):
            if shapes[index] != dims and any(map(names_in, (*dims, *shapes[index]))):
                yield f"{step.program} with another shape of {spec.all_tensors[index].name!r} than the sequence"
