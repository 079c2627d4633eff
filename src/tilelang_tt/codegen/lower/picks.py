"""Rows, columns and elements of on-chip buffers, spread over whole tiles by the writer.

The engines compute with whole tiles, and the matrix engine would cut float32 to TF32. So the compute kernel packs a
copy of the tiles, the writer makes tiles of what is picked, bit for bit, and the compute kernel goes on with those.
"""

from __future__ import annotations

from ...formats import ELEMENT_BYTES
from ..cexpr import times
from ..cpp.parts_of_tiles import SPREAD_NAMES
from ..tile_program.expressions import Picked
from .context import Context
from .elementwise import evaluate
from .values import Operand, Tiles


def pick(ctx: Context, name: str, tiles: Tiles, picked: Picked) -> Tiles:
    """What is ``picked`` of ``tiles``, a part of what the on-chip buffer ``name`` holds."""
    rows, cols, data_format = tiles.rows, tiles.cols, ctx.format_of(name)
    pages, writer = rows * cols, ctx.writer
    purpose = f"tiles of {name} that the writer picks from"
    given = ctx.buffer(("picked from", name, str(pages)), f"{name}_given", data_format, pages, purpose=purpose)
    ctx.reserve(given)
    evaluate(ctx, Operand(tiles, name), Tiles(rows, cols, given, row_stride=cols))
    ctx.push(given)
    purpose = f"what was picked of {name}"
    found = ctx.spare_buffer("picked", f"{name}_picked_{pages}", data_format, pages, purpose=purpose)
    writer.lines(given.call("wait_front"), found.call("reserve_back"))
    source = writer.define(f"{given.name}_l1", f"get_read_ptr({given.name})")
    target = writer.define(f"{found.name}_l1", f"get_write_ptr({found.name})")
    writer.open_loop("r", pages)
    places = [f"{address} + {times('r', found.page_size)}" for address in (source, target)]
    arguments = ", ".join([*places, *picked.places])
    writer.line(f"{SPREAD_NAMES[picked.lies]}<{ELEMENT_BYTES[data_format]}>({arguments});")
    writer.close_loop()
    writer.lines(found.call("push_back"), given.call("pop_front"))
    spread = Tiles(rows, cols, found, row_stride=cols, awaited=False)
    ctx.pop_at_end(ctx.compute, spread)
    ctx.picks.append(spread)
    return spread
