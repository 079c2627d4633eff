"""Vectors: how they lie in tiles, and turning one that was loaded into the form that the engines compute with.

A tensor's vector is a row of tiles whose first rows hold it. On chip a vector lies along the columns of its tiles
("row") or along their rows ("col"), the same in every row (or column), so that element-wise work on it and broadcasts
of it are plain tile operations.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...formats import DataFormat, working_format
from ..tile_program.expressions import BlockTile, Broadcast, operands
from ..tile_program.statements import Load, Map, Reduce, Statement, Store, TileProgram, sets, walk
from .context import Context
from .elementwise import evaluate
from .matmul import transpose_into
from .products import sum_along
from .values import Operand, Orientation, Tiles, Value


def orientations(program: TileProgram) -> dict[str, Orientation]:
    """How each on-chip vector is oriented: by its shape, the reductions that make it, the broadcasts that use it, and
    its kin. What uses it another way turns it."""
    vectors = {block.name for block in program.blocks if block.is_vector and block.lies != "all"}
    found: dict[str, Broadcast] = {block.name: block.lies for block in program.blocks if block.lies}
    statements = walk((program.tile_loop,))
    for statement in statements:
        if isinstance(statement, Reduce) and statement.axis is not None:
            found.setdefault(statement.dst, _ALONG[statement.axis])
    before: dict[str, Broadcast] | None = None
    while found != before:
        before = dict(found)
        for statement in statements:
            for name, orientation in _evidence(statement, vectors, found):
                found.setdefault(name, orientation)
    return {name: "col" if found.get(name) == "col" else "row" for name in vectors}


_ALONG: dict[int, Orientation] = {0: "row", 1: "col"}
"""How what a reduction along an axis makes lies."""


def _evidence(statement: Statement, vectors: set[str], known: dict[str, Broadcast]) -> Iterator[tuple[str, Broadcast]]:
    if not isinstance(statement, (Map, Store)):
        return
    read = [leaf for leaf in operands(statement.value) if isinstance(leaf, BlockTile) and leaf.block in vectors]
    leaves = [leaf for leaf in read if leaf.picked is None]
    for leaf in leaves:
        if leaf.broadcast:
            yield leaf.block, leaf.broadcast
    stores_vector = isinstance(statement, Store) and (statement.target.is_vector or statement.target.picked is not None)
    if stores_vector or (isinstance(statement, Map) and statement.dst in vectors):
        kin = [leaf.block for leaf in leaves] + ([statement.dst] if isinstance(statement, Map) else [])
        agreed: set[Broadcast] = {known[name] for name in kin if name in known}
        for orientation in agreed:
            for name in kin:
                yield (name, orientation)


def needs_replication(program: TileProgram, name: str, orientation: Orientation) -> bool:
    """Whether a loaded vector is used in any other way than as a row added to or multiplied with a matrix."""
    uses = [
        leaf.broadcast
        for statement in walk((program.tile_loop,))
        if isinstance(statement, (Map, Store))
        for leaf in operands(statement.value)
        if isinstance(leaf, BlockTile) and leaf.block == name
    ]
    statements = walk((program.tile_loop,))
    if any(
        (isinstance(s, Reduce) and s.src == name) or (sets(s) == name and not isinstance(s, Load)) for s in statements
    ):
        return True
    plain_stores = [s for s in walk((program.tile_loop,)) if isinstance(s, Store) and s.value == BlockTile(name)]
    return orientation == "col" or len([use for use in uses if use != "row"]) > len(plain_stores)


def replicated(ctx: Context, name: str, source: Tiles, orientation: Orientation) -> Tiles:
    """A loaded vector in the form that the engines compute with."""
    if source.cb is not None and source.cb.data_format == "Int32":
        raise ctx.unsupported(
            f"{name}, a vector of int32, is more than copied", subject=name, hint="use a matrix of one row"
        )
    ctx.free_dst()
    row = _same_in_every_row(ctx, name, source)
    if orientation == "row":
        return row
    return turned(ctx, name, row)


def turned(ctx: Context, name: str, source: Tiles) -> Tiles:
    """The transpose of ``source``; of a vector's tiles, the vector as it lies the other way."""
    assert source.cb is not None
    if source.cb.data_format == "Int32":
        raise ctx.unsupported(f"{name} is transposed, and the engines transpose no int32", subject=name)
    ctx.free_dst()
    ctx.await_operands(Operand(source, name))
    pages, purpose = source.rows * source.cols, f"{name}, the other way"
    buffer = ctx.spare_buffer("turned", f"{name}_turned", working_format(source.cb.data_format), pages, purpose=purpose)
    tiles = ctx.stage(buffer, source.cols, source.rows, lambda target: transpose_into(ctx, source, target))
    ctx.await_operands(Operand(tiles, name))
    return tiles


def vector_orientation(ctx: Context, store: Store) -> Orientation:
    """How the vector lies that ``store`` stores."""
    vectors = [leaf.block for leaf in operands(store.value) if isinstance(leaf, BlockTile)]
    found: list[Orientation] = [ctx.orientation[name] for name in vectors if name in ctx.orientation]
    return found[0] if found else target_orientation(store)


def target_orientation(store: Store) -> Orientation:
    """How the vector lies in its tensor."""
    return "col" if store.target.picked is not None and store.target.picked.lies == "col" else "row"


def laid_otherwise(
    ctx: Context, name: str, value: Value, orientation: Orientation, length: int, data_format: DataFormat
) -> Tiles:
    """A vector of ``length`` tiles that lies as ``orientation`` says, as tiles that lie the other way."""
    ctx.free_dst()
    ctx.await_operands(value)
    shape = (length, 1) if orientation == "col" else (1, length)
    before = working_format(data_format)
    buffer = ctx.spare_buffer("column", name, before, length, purpose=f"{name}, before it is turned")
    tiles = ctx.stage(buffer, *shape, lambda target: evaluate(ctx, value, target))
    return turned(ctx, name, tiles)


def _same_in_every_row(ctx: Context, name: str, source: Tiles) -> Tiles:
    """The product of a tile of ones with the vector's tiles, whose rows but the first are zero."""
    cb = source.cb
    assert cb is not None
    purpose = f"{name}, the same in every row"
    buffer = ctx.spare_buffer("row", name, working_format(cb.data_format), source.cols, purpose=purpose)

    return ctx.stage(buffer, 1, source.cols, lambda target: evaluate(ctx, sum_along(ctx, source, name, 0), target))
