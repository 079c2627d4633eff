"""From a raw layout dictionary to a checked :class:`BufferLayout`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, get_args

from .._plain import core_range_tuple, int_tuple, str_tuple
from ..errors import Code, LayoutError, SourceLocation, nearest
from ..formats import BLOCK_FLOATS, FLOATS
from .shards import check_shards
from .types import TILE, BufferLayout, Distribution, MajorOrder, Memory, NdShard, Placement

_LAYOUT_KEYS = ("memory", "layout", "tile_shape", "dtype", "nd_shard")
_NEEDED_SHARD_KEYS = ("axes", "grid", "shard_shape_elems")
_SHARD_KEYS = (*_NEEDED_SHARD_KEYS, "order", "orientation", "core_ranges", "distribution", "banks")
_AXES = ("M", "N", "K", "B")

_DISTRIBUTION = {"L1": "one_per_core", "DRAM": "round_robin"}
"""How shards are dealt out when nobody says: round the DRAM banks as pages are, but a core takes one."""

_SHORT_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "bfp8": "bfloat8_b", "bfp4": "bfloat4_b"}
_FLOAT_STORAGE = ("bfloat16", "float32", *BLOCK_FLOATS)
"""What any tensor of floats may be stored as."""


def parse_user_layout(
    name: str,
    raw: Any,
    tensor_shape: Sequence[int],
    tensor_dtype: str,
    location: SourceLocation | None = None,
) -> BufferLayout:
    """The layout of buffer ``name`` from its dictionary in ``tt.user_layout``.

    Args:
        name: the buffer, named in errors.
        raw: the user's dictionary, of plain values. What it leaves out is memory DRAM, layout interleaved, tile_shape
            [32, 32] and the tensor's dtype.
        tensor_shape: the tensor's shape in elements.
        tensor_dtype: the tensor's dtype. ``dtype`` names it, or of a tensor of floats what it is stored as: bfloat16,
            float32, bfloat8_b or bfloat4_b (bf16, fp16, fp32, bfp8 and bfp4 are short for the long names).
        location: where in the source the tensor is declared, for errors.

    Raises:
        LayoutError: for everything that is not exactly a layout of this tensor; the code says what.
    """
    try:
        return _Parser(name).parse(raw, tuple(tensor_shape), tensor_dtype)
    except LayoutError as error:
        error.at(location)
        raise


class _Parser:
    def __init__(self, name: str) -> None:
        self.name = name

    def parse(self, raw: Any, shape: tuple[int, ...], dtype: str) -> BufferLayout:
        raw = self.keys(raw, "its layout", _LAYOUT_KEYS)
        memory = self.word(raw, "memory", Memory, "DRAM")
        layout = self.word(raw, "layout", Placement, "interleaved")
        parsed = BufferLayout(
            memory=memory,
            layout=layout,
            tile_shape=self.tile_shape(raw.get("tile_shape", (TILE, TILE))),
            dtype=self.dtype(raw.get("dtype", dtype), dtype),
            nd_shard=self.nd_shard(raw, layout, memory, len(shape)),
        )
        check_shards(self.name, parsed, shape)
        return parsed

    def keys(self, raw: Any, what: str, known: Sequence[str], malformed: Code = Code.BAD_VALUE) -> Mapping[str, Any]:
        if not isinstance(raw, Mapping):
            self.fail(malformed, f"{what} is not a dictionary", raw, f"a dictionary with keys {', '.join(known)}")
        if "halo" in raw:
            self.fail(
                Code.HALO_UNSUPPORTED,
                f"{what} asks for a halo, which is not supported",
                f"halo: {raw['halo']}",
                "no halo",
                "leave the halo out and let the kernel read neighbouring tiles itself",
            )
        for key in raw:
            if key not in known:
                self.fail(
                    Code.UNKNOWN_KEY,
                    f"{what} has an unknown key {key!r}",
                    key,
                    f"one of {', '.join(known)}",
                    nearest(str(key), known),
                )
        return raw

    def word(self, raw: Mapping[str, Any], key: str, words: Any, default: str, code: Code = Code.BAD_VALUE) -> Any:
        value, allowed = raw.get(key, default), get_args(words)
        if not isinstance(value, str) or value not in allowed:
            folded = {word.lower(): word for word in allowed}
            hint = folded.get(value.lower()) if isinstance(value, str) else None
            self.fail(
                code,
                f"{key} is wrong",
                repr(value),
                f"one of {', '.join(allowed)}",
                f"write it {hint!r}" if hint else nearest(str(value), allowed),
            )
        return value

    def tile_shape(self, value: Any) -> tuple[int, int]:
        sizes = int_tuple(value, length=2, minimum=1)
        if sizes is None:
            self.fail(Code.BAD_VALUE, "tile_shape is wrong", value, "two integers from 1 up")
        if sizes != (TILE, TILE):
            self.fail(Code.LAYOUT_UNSUPPORTED, "this tile_shape is not supported", list(sizes), f"[{TILE}, {TILE}]")
        return TILE, TILE

    def dtype(self, value: Any, dtype: str) -> str:
        allowed = (dtype, *(name for name in _FLOAT_STORAGE if name != dtype)) if dtype in FLOATS else (dtype,)
        stored = _SHORT_NAMES.get(value, value) if isinstance(value, str) else value
        if stored not in allowed:
            self.fail(
                Code.BAD_VALUE,
                f"a tensor of dtype {dtype} is not stored as this dtype",
                repr(value),
                f"one of {', '.join(allowed)}",
                nearest(str(value), (*allowed, *_SHORT_NAMES)),
            )
        return stored

    def nd_shard(self, raw: Mapping[str, Any], layout: Placement, memory: Memory, rank: int) -> NdShard | None:
        if layout == "interleaved":
            if "nd_shard" in raw:
                self.fail(
                    Code.ND_SHARD_UNEXPECTED,
                    "nd_shard is given for an interleaved layout",
                    "layout: interleaved",
                    "layout: sharded",
                    'add "layout": "sharded", or leave nd_shard out',
                )
            return None
        if "nd_shard" not in raw:
            self.fail(
                Code.ND_SHARD_MISSING,
                "a sharded layout needs nd_shard",
                "no nd_shard",
                f"nd_shard with {', '.join(_NEEDED_SHARD_KEYS)}",
            )
        shard = self.keys(raw["nd_shard"], "nd_shard", _SHARD_KEYS, Code.ND_SHARD_MALFORMED)
        for key in _NEEDED_SHARD_KEYS:
            if key not in shard:
                self.fail(
                    Code.ND_SHARD_MISSING,
                    f"nd_shard lacks {key}",
                    f"keys {', '.join(shard) or 'none'}",
                    ", ".join(_NEEDED_SHARD_KEYS),
                )
        malformed = Code.ND_SHARD_MALFORMED
        parsed = NdShard(
            axes=self.axes(shard["axes"], rank),
            grid=self.per_dimension(shard, "grid", rank),
            shard_shape_elems=self.per_dimension(shard, "shard_shape_elems", rank),
            order=self.word(shard, "order", MajorOrder, "row_major", malformed),
            orientation=self.word(shard, "orientation", MajorOrder, "row_major", malformed),
            core_ranges=self.core_ranges(shard, memory),
            distribution=self.word(shard, "distribution", Distribution, _DISTRIBUTION[memory], malformed),
            banks=self.banks(shard, memory),
        )
        if parsed.order == "col_major" and parsed.distribution != "one_per_core":
            self.fail(
                malformed,
                "nd_shard.order numbers shards column by column, but shards are dealt out row by row",
                f"order: col_major, distribution: {parsed.distribution}",
                "order: row_major",
                "orientation says how the cores are walked",
            )
        return parsed

    def axes(self, value: Any, rank: int) -> tuple[str, ...]:
        axes = str_tuple(value, length=rank)
        if axes is None or any(axis not in _AXES for axis in axes):
            self.fail(
                Code.ND_SHARD_MALFORMED,
                "nd_shard.axes is wrong",
                value,
                f"{rank} of {', '.join(_AXES)}, one per dimension of the tensor",
            )
        repeated = [axis for axis in ("M", "N", "K") if axes.count(axis) > 1]
        if repeated:
            self.fail(
                Code.ND_SHARD_MALFORMED,
                f"nd_shard.axes names {repeated[0]} more than once",
                list(axes),
                "M, N and K at most once each",
            )
        if "M" not in axes and "N" not in axes:
            self.fail(
                Code.AXES_WITHOUT_MN,
                "nd_shard.axes has neither M nor N, so its shards have no place on the work grid",
                list(axes),
                "M or N among the axes",
            )
        return axes

    def per_dimension(self, shard: Mapping[str, Any], key: str, rank: int) -> tuple[int, ...]:
        numbers = int_tuple(shard[key], length=rank, minimum=1)
        if numbers is None:
            self.fail(
                Code.ND_SHARD_MALFORMED,
                f"nd_shard.{key} is wrong",
                shard[key],
                f"{rank} integers from 1 up, one per dimension of the tensor",
            )
        return numbers

    def core_ranges(self, shard: Mapping[str, Any], memory: Memory) -> tuple[tuple[int, int, int, int], ...] | None:
        if "core_ranges" not in shard:
            return None
        ranges = core_range_tuple(shard["core_ranges"])
        if ranges is None:
            self.fail(
                Code.ND_SHARD_MALFORMED,
                "nd_shard.core_ranges is wrong",
                shard["core_ranges"],
                "rectangles [x0, y0, x1, y1] with 0 <= x0 <= x1 and 0 <= y0 <= y1",
            )
        if memory == "DRAM":
            self.fail(
                Code.ND_SHARD_MALFORMED,
                "nd_shard.core_ranges is given for shards in DRAM, which lie on no core",
                "memory: DRAM",
                "memory: L1",
                "banks names DRAM banks",
            )
        return ranges

    def banks(self, shard: Mapping[str, Any], memory: Memory) -> tuple[int, ...] | None:
        if "banks" not in shard:
            return None
        banks = int_tuple(shard["banks"], minimum=0)
        if not banks or len(set(banks)) != len(banks):
            self.fail(
                Code.ND_SHARD_MALFORMED, "nd_shard.banks is wrong", shard["banks"], "numbers of DRAM banks, each once"
            )
        if memory == "L1":
            self.fail(Code.ND_SHARD_MALFORMED, "nd_shard.banks is given for shards in L1", "memory: L1", "memory: DRAM")
        return banks

    def fail(self, code: Code, message: str, found: object, expected: str, hint: str | None = None) -> NoReturn:
        raise LayoutError(
            code, f"buffer {self.name!r}: {message}", subject=self.name, found=found, expected=expected, hint=hint
        )
