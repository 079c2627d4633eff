"""Rows, columns and elements of on-chip buffers, spread over whole tiles by the writer.

The engines compute with whole tiles, and the matrix engine would cut float32 to TF32. So the compute kernel packs a
copy of the tiles, the writer makes tiles of what is picked, bit for bit, and the compute kernel goes on with those.
"""

from __future__ import annotations

from ...formats import ELEMENT_BYTES
from ..cexpr import times
from ..cpp.parts_of_tiles import SPREAD_NAMES, TURN_NAMES
from ..tile_program.expressions import Picked
from .context import Context
from .elementwise import evaluate
from .values import Operand, Tiles


def pick(ctx: Context, name: str, tiles: Tiles, picked: Picked, *, turns: bool) -> Tiles:
    """What is ``picked`` of ``tiles``, a part of what the on-chip buffer ``name`` holds; a row that ``turns`` is a
    column then."""
    data_format, pages, writer = ctx.format_of(name), tiles.rows * tiles.cols, ctx.writer
    kind = f"{data_format}_{pages}"
    given = ctx.buffer(("given", kind), f"given_{kind}", data_format, pages, purpose="tiles that the writer picks from")
    ctx.reserve(given)
    evaluate(ctx, Operand(tiles, name), Tiles(tiles.rows, tiles.cols, given, row_stride=tiles.cols))
    ctx.push(given)
    purpose = "what was picked of tiles"
    found = ctx.spare_buffer("picked", f"picked_{kind}", data_format, pages, purpose=purpose, filled_by_compute=False)
    writer.lines(given.call("wait_front"), found.call("reserve_back"))
    source = writer.define(f"{given.name}_l1", f"get_read_ptr({given.name})")
    target = writer.define(f"{found.name}_l1", f"get_write_ptr({found.name})")
    writer.open_loop("r", pages)
    places = [f"{address} + {times('r', found.page_size)}" for address in (source, target)]
    arguments = ", ".join([*places, *picked.places])
    function = TURN_NAMES[picked.lies] if turns else SPREAD_NAMES[picked.lies]
    writer.line(f"{function}<{ELEMENT_BYTES[data_format]}>({arguments});")
    writer.close_loop()
    writer.lines(found.call("push_back"), given.call("pop_front"))
    rows, cols = (tiles.cols, tiles.rows) if turns else (tiles.rows, tiles.cols)
    spread = Tiles(rows, cols, found, row_stride=cols, awaited=False)
    ctx.pop_at_end(ctx.compute, spread)
    ctx.picks.append(spread)
    return spread
