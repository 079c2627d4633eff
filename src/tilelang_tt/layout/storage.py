"""How a tensor is stored where the blocks that a kernel takes of it are not made of its hardware tiles.

Hardware tiles lie over the last two dimensions of what is stored. A kernel that takes blocks of other dimensions, as
``Q[b, s0:s0+64, h, :]`` does, or blocks that begin inside a tile, as ``A[16*i:16*i+16, :]``, gets its tensor stored
as a view of it: reshaped to ``split`` and its dimensions put in ``order``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TILE = 32


@dataclass(frozen=True)
class TensorUse:
    """One access to a tensor, per dimension.

    Attributes:
        extents: the elements that it covers.
        steps: a number that its first element is always a multiple of; 0 where that is always element 0.
    """

    extents: tuple[int, ...]
    steps: tuple[int, ...]


Extent = int | None
"""The size of a dimension; None for one that is known only at launch, which is kept whole."""


@dataclass(frozen=True)
class StorageView:
    """A tensor of ``shape`` stored as ``reshape(split)`` with its dimensions in ``order``."""

    shape: tuple[Extent, ...]
    split: tuple[Extent, ...]
    order: tuple[int, ...]

    @property
    def stored_shape(self) -> tuple[Extent, ...]:
        """The shape of what is stored."""
        return tuple(self.split[axis] for axis in self.order)


@dataclass(frozen=True)
class Part:
    """A dimension of ``split``: dimension ``axis`` of the tensor, whole or, in blocks of ``grain`` elements, its
    blocks ("outer") or the elements of one ("inner"); axis None for a dimension of one element."""

    axis: int | None
    size: Extent
    kind: str = "whole"
    grain: int = 1


def choose_view(shape: Sequence[Extent], uses: Sequence[TensorUse]) -> tuple[StorageView, tuple[Part, ...]] | None:
    """The view that makes all ``uses`` blocks of whole tiles, with the meaning of its stored dimensions.

    None where the tensor is stored as it is: nothing else is needed, or no view would help.
    """
    rank = len(shape)
    wide = [axis for axis in range(rank) if any(use.extents[axis] > 1 for use in uses)]
    if len(wide) not in (1, 2):
        return None
    grains = {axis: _grain(axis, shape[axis], uses) for axis in wide}
    if not _is_needed(wide, shape, grains):
        return None
    parts: list[Part] = []
    tiled: list[Part] = []
    for axis, size in enumerate(shape):
        grain = grains.get(axis)
        if grain is not None and size is not None:
            parts.append(Part(axis, size // grain, "outer", grain))
        last = Part(axis, size) if grain is None else Part(axis, grain, "inner", grain)
        parts.append(last)
        if axis in wide:
            tiled.append(last)
    if len(tiled) == 1:
        tiled.insert(0, Part(None, 1))
        parts.append(tiled[0])
    stored = [part for part in parts if part not in tiled] + tiled
    order = tuple(parts.index(part) for part in stored)
    return StorageView(tuple(shape), tuple(part.size for part in parts), order), tuple(stored)


def rows_to_pick(shape: Sequence[Extent]) -> list[TensorUse]:
    """How a tensor of which rows are picked is best used, where its matrices have one row: none, where they do not."""
    if len(shape) < 3 or shape[-2] != 1:
        return []
    sizes = [TILE if size is None else size for size in shape]
    longest = max(range(len(shape) - 2), key=lambda axis: (shape[axis] is None, sizes[axis]))
    extents = tuple(size if axis in (longest, len(shape) - 1) else 1 for axis, size in enumerate(sizes))
    return [TensorUse(extents, (0,) * len(shape))]


def _grain(axis: int, size: Extent, uses: Sequence[TensorUse]) -> int | None:
    """The elements of the blocks that dimension ``axis`` is stored in, None where it is stored whole."""
    steps = [use.steps[axis] for use in uses]
    if size is None or all(step % TILE == 0 for step in steps):
        return None
    blocks = {use.extents[axis] for use in uses} - {1}
    grain = blocks.pop()
    if blocks or size % grain or any(step % grain for step in steps):
        return None
    return grain


def _is_needed(wide: Sequence[int], shape: Sequence[Extent], grains: dict[int, int | None]) -> bool:
    if any(grain is not None for grain in grains.values()):
        return True
    rank = len(shape)
    if rank == 1 or list(wide) == [rank - 2, rank - 1]:
        return False
    # A matrix of one row or one column is taken as it is.
    return not (len(wide) == 1 and shape[2 * rank - 3 - wide[0]] == 1 and wide[0] >= rank - 2)
