"""What data movement kernels do with parts of tiles: spread a row, a column or an element, or write it.

Tiles are four faces of 16 x 16 elements; a word holds one element of 4 bytes or two of 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..tile_program.expressions import Broadcast

SPREAD_NAMES: Mapping[Broadcast, str] = MappingProxyType(
    {"row": "spread_row", "col": "spread_column", "all": "spread_element"}
)
"""The function for what lies so."""

TURN_NAMES: Mapping[Broadcast, str] = MappingProxyType({"row": "turn_row", "col": "turn_column"})
"""The function that makes it lie the other way."""

_SPREAD = {
    "spread_row": """\
template <uint32_t bytes>
inline void spread_row(uint32_t from, uint32_t to, uint32_t row) {
    constexpr uint32_t words = 16 * bytes / 4, face = 16 * words;
    auto* const source = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(from);
    auto* const target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to);
    for (uint32_t half = 0; half < 2; ++half) {
        for (uint32_t word = 0; word < words; ++word) {
            auto* const column = target + half * face + word;
            const uint32_t value = source[half * face + word + (row / 16) * 2 * face + (row % 16) * words];
            for (uint32_t r = 0; r < 32; ++r) column[(r / 16) * 2 * face + (r % 16) * words] = value;
        }
    }
}
""",
    "spread_column": """\
template <uint32_t bytes>
inline void spread_column(uint32_t from, uint32_t to, uint32_t column) {
    constexpr uint32_t words = 16 * bytes / 4, face = 16 * words;
    auto* const source = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(from);
    auto* const target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to);
    for (uint32_t r = 0; r < 32; ++r) {
        const uint32_t first = (r / 16) * 2 * face + (r % 16) * words;
        uint32_t value = source[first + (column / 16) * face + (column % 16) * bytes / 4];
        if (bytes == 2) value = (column % 2 ? value >> 16 : value & 0xffff) * 0x10001;
        for (uint32_t word = 0; word < words; ++word) target[first + word] = target[first + face + word] = value;
    }
}
""",
    "spread_element": """\
template <uint32_t bytes>
inline void spread_element(uint32_t from, uint32_t to, uint32_t row, uint32_t column) {
    const uint32_t at = (row / 16) * 512 + (column / 16) * 256 + (row % 16) * 16 + column % 16;
    auto* const target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to);
    uint32_t value = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(from)[at * bytes / 4];
    if (bytes == 2) value = (at % 2 ? value >> 16 : value & 0xffff) * 0x10001;
    for (uint32_t word = 0; word < 256 * bytes; ++word) target[word] = value;
}
""",
}
"""Of a tile in L1: one row in all rows, one column in all columns, one element everywhere, of itself or of another."""

_TURN = {
    "turn_row": """\
template <uint32_t bytes>
inline void turn_row(uint32_t from, uint32_t to, uint32_t row) {
    constexpr uint32_t words = 16 * bytes / 4, face = 16 * words;
    auto* const source = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(from) + row / 16 * 2 * face + row % 16 * words;
    for (uint32_t r = 0; r < 32; ++r) {
        uint32_t value = source[(r / 16) * face + (r % 16) * bytes / 4];
        if (bytes == 2) value = (r % 2 ? value >> 16 : value & 0xffff) * 0x10001;
        auto* const target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to) + (r / 16) * 2 * face + r % 16 * words;
        for (uint32_t word = 0; word < words; ++word) target[word] = target[face + word] = value;
    }
}
""",
    "turn_column": """\
template <uint32_t bytes>
inline void turn_column(uint32_t from, uint32_t to, uint32_t column) {
    constexpr uint32_t words = 16 * bytes / 4, face = 16 * words, each = 4 / bytes;
    auto* const source = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(from) + (column / 16) * face;
    for (uint32_t c = 0; c < 32; c += each) {
        const uint32_t at = (c / 16) * 2 * face + (c % 16) * words + (column % 16) * bytes / 4;
        uint32_t value = source[at];
        if (bytes == 2) {
            const uint32_t shift = column % 2 * 16;
            value = (value >> shift & 0xffff) | (source[at + words] >> shift) << 16;
        }
        auto* const target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to) + (c / 16) * face + (c % 16) / each;
        for (uint32_t r = 0; r < 32; ++r) target[(r / 16) * 2 * face + (r % 16) * words] = value;
    }
}
""",
}
"""Of a tile, to another: one row in all columns, one column in all rows."""

WRITE_NAMES: Mapping[Broadcast, str] = MappingProxyType(
    {"row": "write_row", "col": "write_column", "all": "write_element"}
)
"""The function that writes what lies so, and nothing else of its tile. It has the same place in the tile in L1, as both
ends of a write over the network must have the same alignment to 16 bytes."""

_WRITE = {
    "write_row": """\
// One row of elements of a tile, which is 16 of each of two faces.
template <uint32_t bytes, typename Accessor>
inline void write_row(uint32_t page, const Accessor& tensor, uint32_t address, uint32_t row) {
    for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t offset = ((row / 16) * 512 + half * 256 + (row % 16) * 16) * bytes;
        noc_async_write_page(page, tensor, address + offset, 16 * bytes, offset);
    }
}
""",
    "write_column": """\
template <uint32_t bytes, typename Accessor>
inline void write_column(uint32_t page, const Accessor& tensor, uint32_t address, uint32_t column) {
    for (uint32_t r = 0; r < 32; ++r) {
        const uint32_t offset = ((r / 16) * 512 + (column / 16) * 256 + (r % 16) * 16 + column % 16) * bytes;
        noc_async_write_page(page, tensor, address + offset, bytes, offset);
    }
}
""",
    "write_element": """\
template <uint32_t bytes, typename Accessor>
inline void write_element(uint32_t page, const Accessor& tensor, uint32_t address, uint32_t row, uint32_t column) {
    const uint32_t offset = ((row / 16) * 512 + (column / 16) * 256 + (row % 16) * 16 + column % 16) * bytes;
    noc_async_write_page(page, tensor, address + offset, bytes, offset);
}
""",
}

PARTS_OF_TILES: Mapping[str, str] = MappingProxyType({**_SPREAD, **_TURN, **_WRITE})
"""C++ functions by name."""
