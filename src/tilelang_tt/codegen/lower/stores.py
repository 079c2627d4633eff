"""Tensors out: finished blocks, and the writer that takes them to their tensor."""

from __future__ import annotations

from ...formats import BLOCK_FORMATS, EXPONENT_SHARED_BY
from ..cpp.parts_of_tiles import WRITE_NAMES
from ..tile_program.expressions import TensorBlock
from ..tile_program.statements import Store
from .binding import Binding
from .context import Context
from .elementwise import evaluate, rounded_by_packer
from .gathers import element_bytes
from .shards import output_shard, part_of_shard
from .shifted import write_window
from .uses import Uses
from .values import Operand, Tiles, Value
from .vectors import laid_otherwise, target_orientation, vector_orientation


class Stores:
    """The writes of one kernel."""

    def __init__(self, ctx: Context, uses: Uses, binding: Binding) -> None:
        self.ctx = ctx
        self.uses = uses
        self.binding = binding

    def store(self, store: Store) -> None:
        """Evaluate what is stored and hand its tiles to the writer, or leave them where they lie."""
        ctx, target = self.ctx, store.target
        is_vector = target.is_vector or (target.picked is not None and target.picked.lies != "all")
        orientation = vector_orientation(ctx, store) if is_vector else None
        value = self.binding.bind(store.value, orientation)
        if orientation is not None and orientation != target_orientation(store):
            data_format = ctx.staging[target.tensor].data_format
            length = target.rows * target.cols
            value = Operand(laid_otherwise(ctx, target.tensor, value, orientation, length, data_format), "")
        if target.tensor in ctx.shards:
            self._check_made_of_tiles(store)
            self._check_shared_exponents(target)
            # What lies past the tensor's end is padding of the core's own shard, which nobody reads.
            shard = ctx.shards[target.tensor]
            evaluate(ctx, value, part_of_shard(target, shard, output_shard(ctx, shard)))
            return
        finished = self._finished_tiles(value, store)
        if finished is not None:
            self._write_pages(store, finished)
            return
        self._check_shared_exponents(target)
        staging = ctx.staging[target.tensor]
        key = ("store", target.tensor, f"{target.rows}x{target.cols}")
        buffer = ctx.buffer(
            key,
            f"{target.tensor}_out",
            staging.data_format,
            target.rows * target.cols,
            staging.depth,
            purpose=f"finished blocks of {target.tensor}",
        )
        tiles = Tiles(target.rows, target.cols, buffer, row_stride=target.cols)
        ctx.reserve(buffer)
        evaluate(ctx, value, tiles)
        ctx.push(buffer)
        ctx.writer.line(buffer.call("wait_front"))
        self._write_pages(store, tiles)
        ctx.writer.line(buffer.call("pop_front"))

    def _check_made_of_tiles(self, store: Store) -> None:
        if store.window is not None:
            raise self.ctx.unsupported(
                f"a block of {store.target.tensor} is not made of hardware tiles, and it is used where it lies in L1",
                subject=store.target.tensor,
                hint="keep it in DRAM",
            )

    def _check_shared_exponents(self, target: TensorBlock) -> None:
        """What is computed in padding may be anything, and would cost the elements beside it their exponent."""
        data_format = self.ctx.staging[target.tensor].data_format
        last = target.last_cols
        if data_format in BLOCK_FORMATS and not (last.isdecimal() and int(last) % EXPONENT_SHARED_BY == 0):
            raise self.ctx.unsupported(
                f"{target.tensor} is stored in block floats, and its last elements would share exponents with padding",
                subject=target.tensor,
                found=f"{last} columns in the last hardware tile",
                hint=f"store it as bfloat16, or make its last dimension a multiple of {EXPONENT_SHARED_BY}",
            )

    def _finished_tiles(self, value: Value, store: Store) -> Tiles | None:
        """The tiles of ``value`` when the writer can take them from the circular buffer that they are in already."""
        ctx, data_format = self.ctx, self.ctx.staging[store.target.tensor].data_format
        value = rounded_by_packer(value, data_format)
        if not isinstance(value, Operand) or value.name not in self.uses.only_stored or value.tiles.cb is None:
            return None
        if self.uses.passes_through(value.name):
            return value.tiles
        buffer = value.tiles.cb
        mine = [popping for popping in ctx.scopes[-1] if popping.tiles is value.tiles and not value.tiles.awaited]
        if (
            value.name in ctx.liveness.after(store)
            or not mine
            or buffer.swaps_with
            or buffer.data_format != data_format
        ):
            return None
        mine[0].stream, buffer.within_compute = ctx.writer, False
        ctx.writer.line(value.tiles.cb.call("wait_front"))
        return value.tiles

    def _write_pages(self, store: Store, tiles: Tiles) -> None:
        writer, buffer, target = self.ctx.writer, tiles.cb, store.target
        assert buffer is not None
        accessor = self.ctx.accessor("writer", target.tensor)
        address = writer.define(f"{buffer.name}_l1", f"get_read_ptr({buffer.name})")
        if store.window is not None:
            write_window(self.ctx, target, store.window, tiles, address, accessor)
            writer.line("noc_async_write_barrier();")
            return
        writer.open_loop("r", target.rows)
        writer.open_loop("c", target.cols)
        offset = f"({tiles.index('r', 'c')}) * {buffer.page_size}"
        inside = target.inside("r", "c")
        place = f"{target.page('r', 'c')}, {accessor}, {address} + {offset}"
        write = f"noc_async_write_page({place});"
        if target.picked is not None and not target.picked.alone:
            name, size = WRITE_NAMES[target.picked.lies], element_bytes(self.ctx, target, buffer)
            write = f"{name}<{size}>({place}, {', '.join(target.picked.places)});"
        writer.line(write if inside is None else f"if ({inside}) {write}")
        writer.close_loop()
        writer.close_loop()
        writer.line("noc_async_write_barrier();")
