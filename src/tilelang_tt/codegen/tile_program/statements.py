"""What one core does for one work tile, in whole hardware tiles: the code generator's input, free of TIR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...errors import SourceLocation
from .expressions import Block, BlockTile, Rectangle, TensorBlock, TileExpr, operands


@dataclass(frozen=True)
class Load:
    """Tensor -> on-chip buffer."""

    source: TensorBlock
    dst: str
    location: SourceLocation | None = None


@dataclass(frozen=True)
class Window:
    """Elements of a block: rows and columns from a first one up to an end, C++ expressions of numbers inside it.

    None where the end is not behind the first.
    """

    first_row: str
    end_row: str
    first_col: str
    end_col: str


@dataclass(frozen=True)
class Store:
    """``value``, tile by tile -> tensor; ``window``: these elements alone, so that all others there stay."""

    value: TileExpr
    target: TensorBlock
    location: SourceLocation | None = None
    window: Window | None = None


@dataclass(frozen=True)
class Map:
    """``value``, tile by tile -> on-chip buffer, or ``part`` of it: its other tiles stay."""

    dst: str
    value: TileExpr
    location: SourceLocation | None = None
    part: Rectangle | None = None


@dataclass(frozen=True)
class Gemm:
    """C (+)= op(a) @ op(b) on on-chip buffers."""

    a: str
    b: str
    c: str
    transpose_a: bool
    transpose_b: bool
    clear: bool
    location: SourceLocation | None = None


@dataclass(frozen=True)
class Reduce:
    """dst (op)= the reduction of ``src`` along ``axis`` (0: over rows, 1: over columns; None: of a vector)."""

    src: str
    dst: str
    op: str
    axis: int | None
    clear: bool
    location: SourceLocation | None = None


@dataclass(frozen=True)
class Loop:
    """``for var in range(extent)``, while ``condition``.

    ``may_be_empty``: it may run not at all.
    """

    var: str
    extent: str
    body: tuple[Statement, ...]
    may_be_empty: bool = False
    condition: str | None = None


@dataclass(frozen=True)
class Branch:
    """``then`` where ``condition``, a C++ expression that is the same for all elements, holds, else ``otherwise``."""

    condition: str
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Let:
    """A named index."""

    var: str
    value: str


@dataclass(frozen=True)
class Variable:
    """An integer that statements change: ``var`` begins as ``value``."""

    var: str
    value: str = "0"


@dataclass(frozen=True)
class Assign:
    """``var``, a Variable, becomes ``value``."""

    var: str
    value: str


@dataclass(frozen=True)
class ReadScalar:
    """``var`` = the element (``row``, ``col``) of an int32 tile, ``page`` of a tensor; 0 unless ``inside``."""

    var: str
    tensor: str
    page: str
    row: str
    col: str
    inside: str | None = None
    location: SourceLocation | None = None


Statement = Load | Store | Map | Gemm | Reduce | Loop | Branch | Let | Variable | Assign | ReadScalar


@dataclass(frozen=True)
class TensorInfo:
    """A tensor parameter, its buffer attributes read."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    direction: Literal["in", "out", "inout"]


@dataclass(frozen=True)
class TileProgram:
    """One persistent kernel.

    ``tile_loop`` runs over the core's work tiles; where a core has several shards, over those of one, inside
    ``shard_loop``, whose body defines what the tile loop uses of the shard. ``block_axes``: which axis of the work
    plane, "M" or "N", each block index is of; ``constants``: the runtime arguments that are the same on every core;
    ``sizes``: the C++ names of the symbolic sizes, in the order of the common runtime arguments behind the tensors'
    addresses.
    """

    name: str
    tensors: tuple[TensorInfo, ...]
    blocks: tuple[Block, ...]
    tile_loop: Loop
    shard_loop: Loop | None = None
    block_axes: Mapping[str, str] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()
    sizes: tuple[str, ...] = ()

    def block(self, name: str) -> Block:
        """The on-chip buffer called ``name``."""
        return next(block for block in self.blocks if block.name == name)


def walk(statements: tuple[Statement, ...]) -> list[Statement]:
    """Every statement, loops and branches before what is in them."""
    flat: list[Statement] = []
    for statement in statements:
        flat.append(statement)
        for body in bodies(statement):
            flat += walk(body)
    return flat


def bodies(statement: Statement) -> tuple[tuple[Statement, ...], ...]:
    """The statements in a loop, or in each arm of a branch."""
    if isinstance(statement, Loop):
        return (statement.body,)
    return (statement.then, statement.otherwise) if isinstance(statement, Branch) else ()


def reads(statement: Statement) -> list[str]:
    """The on-chip buffers that a statement reads."""
    if isinstance(statement, (Map, Store)):
        return [leaf.block for leaf in operands(statement.value) if isinstance(leaf, BlockTile)]
    if isinstance(statement, Gemm):
        return [statement.a, statement.b, *([] if statement.clear else [statement.c])]
    if isinstance(statement, Reduce):
        return [statement.src, *([] if statement.clear else [statement.dst])]
    return []


def sets(statement: Statement) -> str | None:
    """The on-chip buffer that a statement gives a new value, or a part of which it does."""
    if isinstance(statement, (Load, Map, Reduce)):
        return statement.dst
    return statement.c if isinstance(statement, Gemm) else None


def sets_part(statement: Statement) -> bool:
    """Whether what a statement sets is a part of an on-chip buffer."""
    return isinstance(statement, Map) and statement.part is not None
