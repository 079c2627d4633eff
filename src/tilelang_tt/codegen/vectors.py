"""Vectors: how they lie in tiles, and turning one that was loaded into the form that the engines compute with.

A tensor's vector is a row of tiles whose first rows hold it. On chip a vector lies along the columns of its tiles
("row") or along their rows ("col"), the same in every row (or column), so that element-wise work on it and broadcasts
of it are plain tile operations.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Code, UnsupportedError
from ..formats import DataFormat
from . import metalium
from .context import DST_TILES, Context, Operand, Orientation, Tiles, Value, largest_divisor, plus
from .elementwise import evaluate
from .matmul import transpose_into
from .tile_program import BlockTile, Broadcast, Load, Map, Reduce, Statement, Store, TileProgram, operands, sets, walk


def orientations(program: TileProgram) -> dict[str, Orientation]:
    """How each on-chip vector is oriented: by the reductions that make it, the broadcasts that use it, and its kin.

    Raises:
        UnsupportedError: ``unsupported``, for a vector that is used both ways.
    """
    vectors = {block.name for block in program.blocks if block.is_vector}
    found: dict[str, Broadcast] = {}
    changed = True
    while changed:
        before = dict(found)
        for statement in walk((program.tile_loop,)):
            for name, orientation in _evidence(statement, vectors, found):
                if found.setdefault(name, orientation) != orientation:
                    raise UnsupportedError(
                        Code.UNSUPPORTED,
                        f"vector {name} is used along the rows and along the columns of a matrix",
                        subject=name,
                        hint="use two vectors",
                        location=getattr(statement, "location", None),
                    )
        changed = found != before
    return {name: "col" if found.get(name) == "col" else "row" for name in vectors}


def _evidence(statement: Statement, vectors: set[str], known: dict[str, Broadcast]) -> Iterator[tuple[str, Broadcast]]:
    if isinstance(statement, Reduce):
        yield statement.dst, "col" if statement.axis == 1 else "row"
    if not isinstance(statement, (Map, Store)):
        return
    leaves = [leaf for leaf in operands(statement.value) if isinstance(leaf, BlockTile) and leaf.block in vectors]
    for leaf in leaves:
        if leaf.broadcast:
            yield leaf.block, leaf.broadcast
    stores_vector = isinstance(statement, Store) and statement.target.is_vector
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
    if any(sets(s) == name and not isinstance(s, Load) for s in walk((program.tile_loop,))):
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
    assert row.cb is not None
    purpose = f"{name}, the same in every column"
    buffer = ctx.spare_buffer("column", name, row.cb.data_format, source.cols, purpose=purpose)

    def fill(target: Tiles) -> None:
        ctx.compute.line(f"cb_wait_front({row.cb.name}, {row.cb.block_pages});")  # type: ignore[union-attr]
        transpose_into(ctx, row, target)

    return ctx.stage(buffer, source.cols, 1, fill)


def vector_orientation(ctx: Context, store: Store) -> Orientation:
    """How the vector lies that ``store`` stores."""
    found: list[Orientation] = [
        ctx.orientation[leaf.block] for leaf in operands(store.value) if isinstance(leaf, BlockTile)
    ]
    return found[0] if found else "row"


def as_row(ctx: Context, name: str, column: Value, length: int, data_format: DataFormat) -> Tiles:
    """A vector of ``length`` tiles that lies along rows, as tiles whose rows all hold it."""
    ctx.free_dst()
    ctx.await_operands(column)
    purpose = f"{name}, the same in every column"
    column_cb = ctx.spare_buffer("column", name, data_format, length, purpose=purpose)
    tiles = ctx.stage(column_cb, length, 1, lambda target: evaluate(ctx, column, target))
    ctx.await_operands(Operand(tiles, name))
    row_cb = ctx.spare_buffer("row", name, data_format, length, purpose=f"{name}, the same in every row")
    return ctx.stage(row_cb, 1, length, lambda target: transpose_into(ctx, tiles, target))


def _same_in_every_row(ctx: Context, name: str, source: Tiles) -> Tiles:
    """The product of a tile of ones with the vector's tiles, whose rows but the first are zero."""
    cb = source.cb
    assert cb is not None
    purpose = f"{name}, the same in every row"
    buffer = ctx.spare_buffer("row", name, cb.data_format, source.cols, purpose=purpose)

    def fill(target: Tiles) -> None:
        assert target.cb is not None
        ones = ctx.ones(cb)
        batch = largest_divisor(source.cols, DST_TILES)
        ctx.headers.add(metalium.MATMUL_HEADER)
        ctx.compute.open_loop("j", source.cols, batch)
        ctx.compute.line("tile_regs_acquire();")
        ctx.matmul(ones, cb, 0, 1, 1, 1)
        for tile in range(batch):
            index = source.index("0", plus("j", tile))
            ctx.compute.line(f"matmul_block({ones.name}, {cb.name}, 0, {index}, {tile}, 0, 1, 1, 1);")
        ctx.hand_to_packer(target.cb, [(tile, target.index("0", plus("j", tile))) for tile in range(batch)])
        ctx.compute.close_loop()

    return ctx.stage(buffer, 1, source.cols, fill)
