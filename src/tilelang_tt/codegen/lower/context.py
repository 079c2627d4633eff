"""What the parts of lowering share: the streams under construction, and what every on-chip buffer holds at this
point."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...errors import Code, SourceLocation, UnsupportedError
from ...formats import DataFormat, data_format, tile_bytes
from ...program.spec import ComputeConfig
from ..cexpr import identifier
from ..cpp import metalium
from ..cpp.circular_buffers import CircularBuffer, CircularBuffers
from ..cpp.streams import Define, For, Line, Node, Stream
from ..tile_program.expressions import Constant
from ..tile_program.liveness import Liveness
from ..tile_program.statements import TileProgram
from .multicast import MulticastTensor
from .values import Apply, Operand, Orientation, Tiles, Value, leaves


@dataclass(frozen=True)
class Shard:
    """A tensor that is used where it lies: the part of it in the core's own L1, ``count`` shards of ``rows`` x ``cols``
    tiles, one behind the other.

    ``number`` is which of them the core works on, and ``row0`` and ``col0`` are the coordinates of its first tile in
    the tensor as a matrix (in tiles); all are C++ expressions.
    """

    tensor: str
    rows: int
    cols: int
    row0: str
    col0: str
    count: int = 1
    number: str = "0"


@dataclass(frozen=True)
class Staging:
    """How a tensor is staged in L1: blocks of circular buffer (``depth``) and element format."""

    data_format: DataFormat
    depth: int


@dataclass
class Popping:
    """A circular buffer that is popped where the scope that filled it ends."""

    stream: Stream
    tiles: Tiles


@dataclass
class Accumulator:
    """The target of a matrix product that is being accumulated.

    In DST while ``tiles.cb`` is None; else in L1, where the C++ variable ``started`` tells whether it holds anything
    yet.
    """

    name: str
    tiles: Tiles
    initial: Value
    buffer: CircularBuffer | None = None
    started: str | None = None

    @property
    def total(self) -> Value:
        """Its value once accumulated, what it held before included."""
        product = Operand(self.tiles, self.name)
        return product if self.initial == Constant(0.0) else Apply("add", product, self.initial)


@dataclass
class Context:
    """The state of one lowering."""

    program: TileProgram
    staging: Mapping[str, Staging]
    shards: Mapping[str, Shard]
    orientation: Mapping[str, Orientation]
    liveness: Liveness
    multicasts: Mapping[str, MulticastTensor]
    config: ComputeConfig = field(default_factory=ComputeConfig)
    reader: Stream = field(default_factory=Stream)
    compute: Stream = field(default_factory=Stream)
    writer: Stream = field(default_factory=Stream)
    buffers: CircularBuffers = field(default_factory=CircularBuffers)
    headers: set[str] = field(default_factory=set)
    accessors: dict[str, list[str]] = field(default_factory=lambda: {"reader": [], "writer": []})
    values: dict[str, Value] = field(default_factory=dict)
    fixed: dict[str, Tiles] = field(default_factory=dict)
    """Where the buffers lie that are written in parts."""

    scopes: list[list[Popping]] = field(default_factory=list)
    open_accumulators: dict[str, Accumulator] = field(default_factory=dict)
    held: Accumulator | None = None
    """The accumulator that occupies DST."""

    prologue: list[Node] = field(default_factory=list)
    """What the compute kernel does before its first work tile."""

    epilogue: list[tuple[Stream, str]] = field(default_factory=list)
    """What the kernels do after their last work tile."""

    carrying: list[CircularBuffer] = field(default_factory=list)
    """The circular buffers of what the loops that are open carry, and of what the branches that are open leave."""

    filling: list[CircularBuffer] = field(default_factory=list)
    """The circular buffers that are reserved and not yet pushed."""

    picks: list[Tiles] = field(default_factory=list)
    """Rows, columns and elements that were picked out of tiles."""

    location: SourceLocation | None = None
    _made: dict[tuple[str, ...], CircularBuffer] = field(default_factory=dict)

    @property
    def streams(self) -> tuple[Stream, Stream, Stream]:
        """Reader, compute, writer."""
        return self.reader, self.compute, self.writer

    def unsupported(
        self, message: str, *, subject: str, found: object = None, hint: str | None = None
    ) -> UnsupportedError:
        """The error for a construct at the current statement."""
        return UnsupportedError(
            Code.UNSUPPORTED, message, subject=subject, found=found, hint=hint, location=self.location
        )

    # ---- what the engines are set to --------------------------------------------------------------------------------

    @property
    def dst_tiles(self) -> int:
        """Tiles that DST holds while the packer empties its other half."""
        return 4 if self.config.fp32_dest_acc else 8

    @property
    def widest(self) -> DataFormat:
        """The format of tiles in L1 that holds what DST held."""
        return "Float32" if self.config.fp32_dest_acc else "Float16_b"

    @property
    def matrix_ops(self) -> frozenset[str]:
        """The element-wise operations that the matrix engine does without loss on 16-bit tiles."""
        exact = self.config.math_fidelity == "HiFi4"
        return metalium.FPU_BINARY if exact else metalium.FPU_BINARY - {"mul"}

    # ---- circular buffers ------------------------------------------------------------------------------------------

    def buffer(
        self,
        key: tuple[str, ...],
        name: str,
        data_format: DataFormat,
        pages: int,
        depth: int = 1,
        *,
        purpose: str,
        tensor: str | None = None,
    ) -> CircularBuffer:
        """The circular buffer made for ``key``, made now when it is asked for first."""
        if key not in self._made:
            self._made[key] = self.buffers.new(name, data_format, pages, depth, purpose, tensor)
        return self._made[key]

    def spare_buffer(
        self,
        kind: str,
        name: str,
        data_format: DataFormat,
        pages: int,
        depth: int = 1,
        *,
        purpose: str,
        filled_by_compute: bool = True,
    ) -> CircularBuffer:
        """A circular buffer of this kind for ``name`` that holds nothing which the compute kernel has still to pop."""
        live = [popping.tiles.cb for scope in self.scopes for popping in scope] + self.carrying + self.filling
        number = 0
        while True:
            key = (kind, name, str(number))
            fresh = self.made(key) is None
            buffer = self.buffer(key, name, data_format, pages, depth, purpose=purpose)
            buffer.within_compute |= fresh and filled_by_compute
            if buffer not in live:
                return buffer
            number += 1

    def scratch(self, key: tuple[str, ...], name: str, size: int, purpose: str, stream: Stream | None = None) -> str:
        """The name of the address of ``size`` bytes of L1 that ``stream``, by default the reader, alone sees, made now
        when asked for first."""
        fresh = key not in self._made
        buffer = self.buffer(key, name, "Int32", -(-size // tile_bytes("Int32")), purpose=purpose)
        address = f"{buffer.name}_l1"
        if fresh:
            reserve = Line(buffer.call("reserve_back"))
            (stream or self.reader).insert_first([reserve, Define(address, f"get_write_ptr({buffer.name})")])
        return address

    def shape(self, name: str) -> tuple[int, int]:
        """Rows and columns in tiles of an on-chip buffer, a vector as it is oriented."""
        block = self.program.block(name)
        return (block.cols, 1) if self.orientation.get(name) == "col" else (block.rows, block.cols)

    def format_of(self, name: str) -> DataFormat:
        """The circular buffer format of an on-chip buffer."""
        return data_format(self.program.block(name).dtype)

    def holds_integers(self, name: str) -> bool:
        """Whether the elements of an on-chip buffer are integers."""
        return self.format_of(name) == "Int32"

    def made(self, key: tuple[str, ...]) -> CircularBuffer | None:
        """The circular buffer that was made for ``key``, if one was."""
        return self._made.get(key)

    def reserve(self, buffer: CircularBuffer) -> None:
        """Wait for room for a block in ``buffer``, which the compute kernel is about to fill."""
        self.compute.line(buffer.call("reserve_back"))

    def push(self, buffer: CircularBuffer) -> None:
        """Hand over the block that the compute kernel packed into ``buffer``."""
        self.compute.line(buffer.call("push_back"))

    def pop_at_end(self, stream: Stream, tiles: Tiles) -> None:
        """``stream`` is the consumer of ``tiles``: it pops them where the current scope ends."""
        self.scopes[-1].append(Popping(stream, tiles))

    def pop_now(self, buffer: CircularBuffer) -> None:
        """Pop what the current scope holds of ``buffer``, which is about to be filled again."""
        for popping in [popping for popping in self.scopes[-1] if popping.tiles.cb is buffer]:
            self._pop(popping)
            self.scopes[-1].remove(popping)

    def pop_everywhere(self, buffer: CircularBuffer) -> None:
        """Pop what any open scope holds of ``buffer``: a loop or branch is about to fill it again."""
        for scope in self.scopes:
            for popping in [popping for popping in scope if popping.tiles.cb is buffer]:
                self._pop(popping)
                scope.remove(popping)

    def pop_unused(self, among: Collection[Tiles]) -> None:
        """Pop what the current scope holds of ``among`` that no buffer's value is made of."""
        values = [*self.values.values(), *(open_.initial for open_ in self.open_accumulators.values())]
        used = [tiles for value in values for leaf in leaves(value) for tiles in (leaf.tiles, leaf.tiles.whole)]
        for popping in [popping for popping in self.scopes[-1] if popping.tiles in among]:
            if popping.tiles not in used:
                self._pop(popping)
                self.scopes[-1].remove(popping)

    def end_scope(self) -> None:
        """Pop what the innermost scope still holds, and free DST of a product that nobody took from it."""
        if self.held is not None and self.held.name not in self.open_accumulators:
            self.free_dst()
        for popping in self.scopes.pop():
            self._pop(popping)

    def _pop(self, popping: Popping) -> None:
        buffer = popping.tiles.cb
        assert buffer is not None
        if popping.stream is self.compute and not popping.tiles.awaited:
            self.compute.line(buffer.call("wait_front"))
        popping.stream.line(buffer.call("pop_front"))
        popping.tiles.stale = True

    def await_operands(self, value: Value) -> None:
        """Make sure that the tiles ``value`` reads are there, and still are what it means."""
        for operand in leaves(value):
            tiles = operand.tiles
            if tiles.popped:
                raise self.unsupported(
                    f"what {operand.name} held is used after it was overwritten",
                    subject=operand.name,
                    hint="use it before the next copy into it, or copy into another buffer",
                )
            if not tiles.awaited and tiles.cb is not None:
                self.compute.line(tiles.cb.call("wait_front"))
                tiles.awaited = True

    def stage(self, buffer: CircularBuffer, rows: int, cols: int, fill: Callable[[Tiles], None]) -> Tiles:
        """Tiles that the compute kernel makes for itself: ``fill`` packs them into the reserved ``buffer``."""
        tiles = Tiles(rows, cols, buffer, row_stride=cols, awaited=False)
        self.reserve(buffer)
        self.filling.append(buffer)
        fill(tiles)
        self.filling.remove(buffer)
        self.push(buffer)
        self.pop_at_end(self.compute, tiles)
        return tiles

    def accessor(self, role: str, tensor: str) -> str:
        """The name of the TensorAccessor for ``tensor`` in the reader or writer."""
        if tensor not in self.accessors[role]:
            self.accessors[role].append(tensor)
        return f"tensor_{identifier(tensor)}"

    def ones(self, partner: CircularBuffer) -> CircularBuffer:
        """A tile of ones to multiply ``partner`` with, made once per core by the compute kernel.

        The matrix engine takes any two formats with exponents of 8 bits together, and Float16 with itself only.
        """
        data_format: DataFormat = "Float16" if partner.data_format == "Float16" else self.widest
        key = ("ones", data_format)
        fresh = self.made(key) is None
        buffer = self.buffer(key, "ones", data_format, 1, purpose="a tile of ones, to sum and to spread")
        if fresh:
            making = Stream()
            making.lines(f"cb_reserve_back({buffer.name}, 1);", "tile_regs_acquire();")
            self.sfpu(metalium.FILL, making)
            making.line(metalium.FILL.call.format(a=0, bits=float_bits(1.0)) + ";")
            making.lines("tile_regs_commit();", "tile_regs_wait();")
            self.pack_to(buffer, making)
            making.lines(f"pack_tile<true>(0, {buffer.name}, 0);", "tile_regs_release();")
            making.lines(f"cb_push_back({buffer.name}, 1);", f"cb_wait_front({buffer.name}, 1);")
            self.prologue += making.nodes
            self.epilogue.append((self.compute, f"cb_pop_front({buffer.name}, 1);"))
        return buffer

    def indices(self, axis: Literal["row", "column"]) -> Tiles:
        """A tile whose elements are the numbers of their rows (or columns), made once per core by the reader."""
        key = ("indices", axis)
        fresh = self.made(key) is None
        purpose = f"a tile of {axis} numbers, for conditions on indices"
        buffer = self.buffer(key, f"{axis}_numbers", "Float16_b", 1, purpose=purpose)
        if fresh:
            self.reader.insert_first(number_tile(buffer.name, axis))
            self.prologue.append(Line(f"cb_wait_front({buffer.name}, 1);"))
            self.epilogue.append((self.compute, f"cb_pop_front({buffer.name}, 1);"))
        return Tiles(1, 1, buffer, row_stride=1)

    # ---- DST -------------------------------------------------------------------------------------------------------

    def free_dst(self) -> None:
        """Move the accumulator that occupies DST, if one does, to L1."""
        if self.held is None:
            return
        accumulator, self.held = self.held, None
        tiles = accumulator.tiles
        buffer = self.accumulator_buffer(accumulator)
        self.reserve(buffer)
        indices = [str(tile) for tile in range(tiles.rows * tiles.cols)]
        self.hand_to_packer(buffer, list(enumerate(indices)))
        self.publish(accumulator, buffer)

    def accumulator_buffer(self, accumulator: Accumulator) -> CircularBuffer:
        """The circular buffer of an accumulator that is in L1, or goes there."""
        if accumulator.buffer is None:
            name, pages = accumulator.name, accumulator.tiles.rows * accumulator.tiles.cols
            purpose = f"accumulator {name}"
            accumulator.buffer = self.spare_buffer("accumulator", name, self.widest, pages, purpose=purpose)
        return accumulator.buffer

    def publish(self, accumulator: Accumulator, buffer: CircularBuffer) -> None:
        """Push a finished accumulator: from here on its tiles are read from ``buffer``."""
        tiles = accumulator.tiles
        tiles.cb, tiles.row_stride, tiles.awaited = buffer, tiles.cols, False
        self.push(buffer)
        self.pop_at_end(self.compute, tiles)

    def hand_to_packer(self, buffer: CircularBuffer, moves: list[tuple[int, str]]) -> None:
        """Close DST for the math thread and pack (register, page index) pairs into ``buffer``."""
        self.compute.lines("tile_regs_commit();", "tile_regs_wait();")
        self.pack_to(buffer, self.compute)
        for register, index in moves:
            self.compute.line(f"pack_tile<true>({register}, {buffer.name}, {index});")
        self.compute.line("tile_regs_release();")

    # ---- modes of the engines --------------------------------------------------------------------------------------

    def math(self, kind: str, sources: tuple[CircularBuffer, ...], *lines: str) -> None:
        """Put the matrix engine and its unpackers into the mode that ``lines`` set for ``sources``."""
        names = tuple(source.name for source in sources)
        self.compute.configure("math", " ".join([kind, *lines]), *lines, operands=names)

    def matmul(self, a: CircularBuffer, b: CircularBuffer, transpose: int, ct: int, rt: int, kt: int) -> None:
        """Matrix products: ``rt`` x ``ct`` tiles of DST at a time, a's rows ``kt`` tiles apart."""
        if (a.data_format == "Float16") != (b.data_format == "Float16"):
            raise self.unsupported(
                "the matrix engine takes float16 together with float16 only",
                subject=a.name,
                found=f"{a.data_format} and {b.data_format}",
                hint="give both operands of T.gemm one dtype",
            )
        self.headers.add(metalium.MATMUL_HEADER)
        a.feeds_matrix_engine = b.feeds_matrix_engine = True
        arguments = f"{a.name}, {b.name}, {transpose}, {ct}, {rt}, {kt}"
        self.math(
            "matmul",
            (a, b),
            f"reconfig_data_format<SrcOrder::Reverse>({a.name}, {b.name});",
            f"matmul_block_init({arguments});",
        )

    def pack_to(self, buffer: CircularBuffer, stream: Stream) -> None:
        """Pack in ``buffer``'s format."""
        reconfigure = f"pack_reconfig_data_format({buffer.name});"
        stream.configure("pack", buffer.data_format, reconfigure, operands=(buffer.name,))

    def sfpu(self, op: metalium.SfpuOp, stream: Stream | None = None) -> None:
        """Load the vector engine's program for ``op``."""
        self.headers.add(op.header)
        (stream or self.compute).configure("sfpu", op.init, f"{op.init};")


def number_tile(name: str, axis: str) -> list[Node]:
    """The reader's code for a bfloat16 tile of row or column numbers, in the face layout of hardware tiles."""
    number = "(face & 2) * 8 + at / 16" if axis == "row" else "(face & 1) * 16 + at % 16"
    write = For("at", "256")
    write.body = [
        Define("number", number),
        # The bits of a bfloat16 from a number below 32, by integers only: data movement cores have no floats.
        Define("exponent", "number == 0 ? 0 : 31 - __builtin_clz(number)"),
        Define("bits", "number == 0 ? 0 : (127 + exponent) << 7 | ((number << 7 >> exponent) & 0x7f)"),
        Line(f"{name}_tile[face * 256 + at] = bits;"),
    ]
    tile = Define(
        f"{name}_tile", f"reinterpret_cast<volatile tt_l1_ptr uint16_t*>(get_write_ptr({name}))", "auto* const"
    )
    return [Line(f"cb_reserve_back({name}, 1);"), tile, For("face", "4", [write]), Line(f"cb_push_back({name}, 1);")]


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of ``number`` that is at most ``limit``."""
    return max(divisor for divisor in range(1, limit + 1) if number % divisor == 0)


def float_bits(number: float) -> str:
    """A C++ literal for the bits of ``number`` as a float32."""
    return f"0x{struct.unpack('<I', struct.pack('<f', number))[0]:08x}u /* {number!r} */"
