"""Work over more than two dimensions, matrix by matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tilelang import tvm
from tvm import tirx

from ...language import tile_ops
from ...language.nodes import nodes, uses
from ..tile_program.statements import Loop, Statement
from .regions import Regions


def over_matrices(loops: Sequence[tirx.For], body: Any) -> tirx.For | None:
    """``body`` in the parallel ``loops``, where one of these is to go matrix by matrix: inside of that one.

    It is one that counts the matrices of an on-chip buffer, or the first of more than two. None where there is none.
    """
    counting = [loop for loop in loops if any(uses(index, loop.loop_var) for index in _counting_indices(body))]
    if not counting and len(loops) < 3:
        return None
    one = counting[0] if counting else loops[0]
    for loop in reversed(loops):
        if loop is not one:
            body = tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.PARALLEL, body)
    return tirx.For(one.loop_var, one.min, one.extent, tirx.ForKind.SERIAL, body)


def _counting_indices(body: Any) -> list[Any]:
    """The indices in ``body`` that say which matrix of an on-chip buffer is meant."""
    found: list[Any] = []
    for access in [*nodes(body, tirx.BufferLoad), *nodes(body, tirx.BufferStore)]:
        if not tile_ops.is_global(access.buffer):
            sizes = zip(access.indices, access.buffer.shape, strict=True)
            found += [index for index, size in sizes if int(size) != 1][:-2]
    return found


def dimensions(region: tile_ops.Region) -> list[int]:
    """The dimensions along which ``region`` has more than one element."""
    return [axis for axis, extent in enumerate(region.extents) if extent > 1]


def matrix_by_matrix(
    operands: Sequence[tile_ops.Region], regions: Regions, body: Callable[..., Sequence[Statement]]
) -> Loop:
    """The loop that does ``body`` with each of the matrices, in turn, that all ``operands`` have as many of."""
    count = operands[0].extents[dimensions(operands[0])[0]]
    variable = tirx.Var("matrix", "int32")
    regions.analyzer.bind(variable, tvm.ir.Range(0, count))
    statements = body(*(_one_of(region, variable) for region in operands))
    return Loop(regions.names.name(variable), str(count), tuple(statements))


def _one_of(region: tile_ops.Region, number: tirx.Var) -> tile_ops.Region:
    axis = dimensions(region)[0]
    mins, extents = list(region.mins), list(region.extents)
    mins[axis], extents[axis] = mins[axis] + number, 1
    return replace(region, mins=tuple(mins), extents=tuple(extents))
