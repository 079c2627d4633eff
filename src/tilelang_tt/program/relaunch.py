"""A program with symbolic sizes at the sizes of one launch: the same kernels, other shapes and runtime arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from .._plain import INT32_MAX
from ..errors import Code, PartitionError, ProgramError
from ..formats import stored_tiles
from ..sizes import Size, evaluate, names_in, size_text
from .sequence_spec import SequenceSpec
from .spec import DynamicSpec, ProgramSpec, ShardSpec, StorageSpec, TensorSpec

if TYPE_CHECKING:
    from ..partition import UserSchedule

Shape = tuple[int, ...]

KEPT_SHAPES = 1024
"""Combinations of shapes whose program is kept."""


def sizes_of(spec: ProgramSpec | SequenceSpec, shapes: Sequence[Shape | None]) -> dict[str, int]:
    """The value of every symbol, from the tensors' shapes in elements (None for one that is not given; of a number that
    is a size, the number as its only dimension).

    Raises:
        ProgramError: ``argument-shape`` for shapes that contradict the program's or each other, ``argument-count``
            where no tensor that is given tells a symbol.
    """
    dynamic = spec.dynamic
    assert dynamic is not None
    found: dict[str, tuple[int, str]] = {}
    given = [
        (tensor.name, dims, shape)
        for tensor, dims, shape in zip(spec.tensors, dynamic.shapes, shapes, strict=True)
        if shape is not None and any(map(names_in, dims))
    ]
    for name, dims, shape in given:
        if len(shape) != len(dims):
            raise _mismatch(name, shape, dims)
        for dim, size in zip(dims, shape, strict=True):
            if isinstance(dim, str) and found.setdefault(dim, (size, name))[0] != size:
                told, by = found[dim]
                raise _mismatch(name, shape, dims, f", where {dim} is {told}, as {by!r} has it")
    sizes = {}
    for name in dynamic.sizes:
        if name not in found:
            tellers = [t.name for t, dims in zip(spec.tensors, dynamic.shapes, strict=True) if name in dims]
            raise _untold(name, tellers)
        sizes[name] = found[name][0]
    for name, dims, shape in given:
        if shape != (wanted := _shape(dims, sizes)):
            raise _mismatch(name, shape, dims, f", which is {list(wanted)} where {_text(sizes)}")
    return sizes


def numbers_of(spec: ProgramSpec | SequenceSpec) -> tuple[str, ...]:
    """The parameters that are numbers and sizes of a program."""
    return spec.dynamic.numbers if isinstance(spec.dynamic, DynamicSpec) else ()


def host_shapes(spec: ProgramSpec | SequenceSpec, sizes: Mapping[str, int]) -> list[Shape]:
    """The shapes of the caller's tensors where the symbols have these values. Raises as :func:`at_sizes`."""
    every = [()] * len(spec.tensors) if spec.dynamic is None else spec.dynamic.shapes
    numbers = numbers_of(spec)
    return [
        _shape(dims, sizes) if any(map(names_in, dims)) and tensor.name not in numbers else tensor.host_shape
        for tensor, dims in zip(spec.tensors, every, strict=True)
    ]


def at_sizes(spec: ProgramSpec, sizes: Mapping[str, int]) -> ProgramSpec:
    """``spec`` at other sizes of its symbols; takes time by cores.

    A launch grid without blocks gives a program without cores.

    Raises:
        ProgramError: ``argument-shape``, where no launch is possible at these sizes.
        PartitionError: ``shard-grid-coverage`` where shards in L1 that the kernels were compiled for do not hold the
            tensors, ``number-too-large`` for more work tiles than an index counts.
    """
    # Imported here: the partition is plain data to whoever only loads a program.
    from ..partition import WorkGrid, WorkPartition, repartition

    dynamic = _dynamic(spec)
    if sizes == dynamic.sizes:
        return spec
    tensors = tuple(
        tensor if tensor.name in dynamic.numbers else resized(tensor, dims, sizes)
        for tensor, dims in zip(spec.tensors, dynamic.shapes, strict=True)
    )
    grid = [_evaluated(size, sizes, "launch grid") for size in dynamic.grid]
    now = msgspec.structs.replace(dynamic, sizes=dict(sizes))
    if 0 in grid and min(grid) >= 0:
        idle = msgspec.structs.replace(spec.partition, core_ranges=(), core_runtime_args=())
        return msgspec.structs.replace(spec, tensors=tensors, partition=idle, dynamic=now)
    if min(grid) < 1 or min(sizes.values()) < 1:
        raise ProgramError(
            Code.ARGUMENT_SHAPE,
            f"{spec.name} cannot be launched at these sizes",
            subject=", ".join(name for name, size in sizes.items() if size < 1) or "launch grid",
            found=f"{_text(sizes)}: a launch grid of {grid}",
            expected="sizes from 1 up, or a launch grid without blocks, which is no work",
        )
    kt = _evaluated(dynamic.kt, sizes, "reduction steps")
    again = repartition(
        WorkPartition.from_spec(spec.partition), WorkGrid(*grid), spec.device, kt=kt, schedule=_schedule(spec)
    )
    return msgspec.structs.replace(spec, tensors=tensors, partition=again.to_spec(), dynamic=now)


def has_work(spec: ProgramSpec) -> bool:
    """Whether a launch of ``spec`` runs any block."""
    return bool(spec.partition.core_ranges)


class Relaunches:
    """The programs at the shapes that one program was launched with; the latest of them are kept."""

    def __init__(self, spec: ProgramSpec) -> None:
        self._spec = spec
        self._at_shapes = lru_cache(maxsize=KEPT_SHAPES)(self._at)

    def at(self, shapes: Sequence[Shape | None]) -> ProgramSpec:
        """The program for tensors of these shapes. Raises as :func:`sizes_of` and :func:`at_sizes`."""
        return self._at_shapes(tuple(shapes))

    def _at(self, shapes: tuple[Shape | None, ...]) -> ProgramSpec:
        return at_sizes(self._spec, sizes_of(self._spec, shapes))


def _schedule(spec: ProgramSpec) -> UserSchedule:
    from ..partition import parse_user_schedule

    return parse_user_schedule(_dynamic(spec).schedule)


def _dynamic(spec: ProgramSpec) -> DynamicSpec:
    assert spec.dynamic is not None
    return spec.dynamic


def _shape(dims: Sequence[Size], sizes: Mapping[str, int]) -> Shape:
    return tuple(_evaluated(dim, sizes, "shape") for dim in dims)


def _evaluated(size: Size, sizes: Mapping[str, int], what: str) -> int:
    try:
        value = evaluate(size, sizes)
    except ZeroDivisionError:
        value = -1
    if (what == "shape" and value < 0) or value > INT32_MAX:
        raise ProgramError(
            Code.ARGUMENT_SHAPE,
            f"there is no such {what}",
            subject=what,
            found=f"{size_text(size)} where {_text(sizes)}",
            expected=f"an integer from 0 to {INT32_MAX}",
        )
    return value


def stored(storage: StorageSpec, shape: Shape) -> StorageSpec:
    """How a tensor of ``shape`` is stored where some of it is symbolic: in another order, dimensions of 1 added."""
    return StorageSpec(shape, shape + (1,) * (len(storage.order) - len(shape)), storage.order)


def host_shape(tensor: TensorSpec, shape: Shape) -> Shape:
    """The shape in the order of the caller of what is stored as ``shape``, for a tensor of symbolic sizes."""
    if tensor.storage is None or len(shape) != len(tensor.shape):
        return shape
    split = dict(zip(tensor.storage.order, shape, strict=True))
    return tuple(split[axis] for axis in range(len(tensor.storage.shape)))


def resized(tensor: TensorSpec, dims: Sequence[Size], sizes: Mapping[str, int]) -> TensorSpec:
    """``tensor``, of dimensions ``dims``, where the symbols have these values. Raises as :func:`at_sizes`."""
    shape = _shape(dims, sizes)
    if shape == tensor.host_shape:
        return tensor
    if tensor.storage is not None:
        storage = stored(tensor.storage, shape)
        now = tuple(storage.split[axis] for axis in storage.order)
        return msgspec.structs.replace(tensor, shape=now, storage=storage)
    shard = None if tensor.shard is None else _clipped(tensor.name, tensor.shard, shape)
    return msgspec.structs.replace(tensor, shape=shape, shard=shard)


def _clipped(name: str, shard: ShardSpec, shape: Shape) -> ShardSpec:
    """The shards, one per core, that a tensor of this shape has: they stay where the kernels were compiled for them."""
    tiles = stored_tiles(shape, len(shard.grid))
    grid = tuple(max(1, -(-extent // size)) for extent, size in zip(tiles, shard.shard_tiles, strict=True))
    if any(parts > most for parts, most in zip(grid, shard.grid, strict=True)):
        raise PartitionError(
            Code.SHARD_GRID_COVERAGE,
            f"tensor {name!r} is larger than the shards in L1 that the kernels were compiled for",
            subject=name,
            found=f"{' x '.join(map(str, tiles))} hardware tiles, for shape {list(shape)}",
            expected=f"at most {' x '.join(map(str, shard.grid))} shards of "
            f"{' x '.join(map(str, shard.shard_tiles))} hardware tiles",
            hint="compile for the largest size, or keep the tensor in DRAM",
        )
    kept = zip(product(*map(range, shard.grid)), shard.cores, strict=True)
    inside = (core for place, core in kept if all(index < parts for index, parts in zip(place, grid, strict=True)))
    return ShardSpec(grid, shard.shard_tiles, tuple(inside))


def _untold(name: str, tellers: Sequence[str]) -> ProgramError:
    return ProgramError(
        Code.ARGUMENT_COUNT,
        f"no tensor given tells the size {name}",
        subject=name,
        found=f"none of {', '.join(tellers)}",
        expected=f"a tensor with {name} as a dimension",
        hint="pass the output instead of having it returned",
    )


def _mismatch(name: str, shape: Shape, dims: Sequence[Size], why: str = "") -> ProgramError:
    return ProgramError(
        Code.ARGUMENT_SHAPE,
        f"argument {name!r} has another shape than the program was compiled for",
        subject=name,
        found=list(shape),
        expected=f"[{', '.join(map(size_text, dims))}]{why if any(map(names_in, dims)) else ''}",
    )


def _text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())
