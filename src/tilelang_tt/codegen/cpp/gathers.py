"""What the reader does to pick pieces of rows of elements out of tiles, which are four faces of 16 x 16."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WINDOW_BYTES = 64
"""What is read around a piece: reads from DRAM have this alignment at both ends on every chip."""

READ_PIECE_NAME = "read_piece"
PLACE_PIECE_NAME = "place_piece"
READ_HELD_ELEMENT_NAME = "read_held_element"

_OFFSET = """\
// Where an element of a tile lies, in bytes.
template <uint32_t bytes>
inline uint32_t offset_in_tile(uint32_t row, uint32_t column) {
    return ((row / 16 * 2 + column / 16) * 256 + row % 16 * 16 + column % 16) * bytes;
}
"""

_READ_PIECE = """\
// Brings what surrounds `size` elements of a row of a tile to l1: one window, or for 32 elements one of each face.
template <uint32_t bytes, uint32_t size, typename Tensor>
inline void read_piece(const Tensor& tensor, uint32_t page, uint32_t row, uint32_t column, uint32_t l1) {
    const uint32_t from = offset_in_tile<bytes>(row, column) & ~63u;
    noc_async_read(get_noc_addr(page, tensor, from), l1, 64);
    if (size == 32) noc_async_read(get_noc_addr(page, tensor, from + 256 * bytes), l1 + 64, 64);
}
"""

_PLACE_PIECE = """\
// Copies these elements from their windows at l1 to a row of a tile, which lies in l1; zeros unless they are inside.
template <uint32_t bytes, uint32_t size>
inline void place_piece(
    uint32_t tile, uint32_t r, uint32_t c, bool inside, uint32_t row, uint32_t column, uint32_t l1
) {
    constexpr uint32_t together = size == 32 ? 16 : size;
    for (uint32_t half = 0; half < size / together; ++half) {
        const uint32_t from = l1 + half * 64 + (offset_in_tile<bytes>(row, column) & 63);
        const uint32_t to = tile + offset_in_tile<bytes>(r, c + half * 16);
        if (together * bytes == 2) {
            *reinterpret_cast<volatile tt_l1_ptr uint16_t*>(to) =
                inside ? *reinterpret_cast<volatile tt_l1_ptr uint16_t*>(from) : 0;
        }
        auto* const source = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(from);
        auto* const target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to);
        for (uint32_t word = 0; word < together * bytes / 4; ++word) target[word] = inside ? source[word] : 0;
    }
}
"""

_READ_HELD_ELEMENT = """\
// An int32 of a tile of a tensor; the tile that is at l1 already, page `held`, is not brought again.
template <typename Tensor>
inline uint32_t read_held_element(
    const Tensor& tensor, uint32_t page, uint32_t row, uint32_t column, uint32_t l1, uint32_t& held
) {
    if (page != held) {
        noc_async_read_page(page, tensor, l1);
        noc_async_read_barrier();
        held = page;
    }
    return CoreLocalMem<const volatile uint32_t>(l1)[offset_in_tile<1>(row, column)];
}
"""

GATHERS: Mapping[str, str] = MappingProxyType(
    {
        "offset_in_tile": _OFFSET,
        READ_PIECE_NAME: _READ_PIECE,
        PLACE_PIECE_NAME: _PLACE_PIECE,
        READ_HELD_ELEMENT_NAME: _READ_HELD_ELEMENT,
    }
)
"""C++ functions by name, those first that others call."""
