"""What data movement kernels do with blocks that begin inside hardware tiles: their elements are moved to whole tiles,
and from whole tiles to where they belong.

Tiles are four faces of 16 x 16 elements, of whose rows as many as lie together are moved at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COPY_ROWS_NAME = "copy_rows"
GATHER_TILE_NAME = "gather_tile"
WRITE_ROWS_NAME = "write_rows"
WRITE_SHIFTED_ROW_NAME = "write_shifted_row"
IN_TILE_NAME = "in_tile"

SHIFTED_TILES: Mapping[str, str] = MappingProxyType(
    {
        COPY_ROWS_NAME: """\
// The rows of a tile of this core's L1 to rows `shift` further down of another, those that it has.
template <uint32_t bytes>
inline void copy_rows(uint32_t from, uint32_t to, int32_t shift) {
    const int32_t end = shift > 0 ? 32 - shift : 32;
    for (int32_t row = shift < 0 ? -shift : 0, count; row < end; row += count) {
        const int32_t target = row + shift, here = 16 - row % 16, there = 16 - target % 16;
        count = end - row < here ? end - row : here;
        count = count < there ? count : there;
        for (int32_t half = 0; half < 2; ++half) {
            const uint32_t source = from + (row / 16 * 512 + half * 256 + row % 16 * 16) * bytes;
            const uint32_t offset = (target / 16 * 512 + half * 256 + target % 16 * 16) * bytes;
            noc_async_read(get_noc_addr(source), to + offset, count * 16 * bytes);
        }
    }
}
""",
        GATHER_TILE_NAME: """\
// Rows [first, end) of the tile that begins `rows` and `columns` inside one of several: the next is `right` bytes on,
// the one below it `down` bytes.
template <uint32_t bytes>
inline void gather_tile(
    uint32_t from, uint32_t down, uint32_t right, uint32_t to, uint32_t rows, uint32_t columns, uint32_t first,
    uint32_t end
) {
    for (uint32_t r = first; r < end; ++r) {
        for (uint32_t c = 0; c < 32; ++c) {
            const uint32_t row = (r + rows) % 32, column = (c + columns) % 32;
            const uint32_t tile = from + (r + rows) / 32 * down + (c + columns) / 32 * right;
            const uint32_t source = row / 16 * 512 + column / 16 * 256 + row % 16 * 16 + column % 16;
            const uint32_t target = r / 16 * 512 + c / 16 * 256 + r % 16 * 16 + c % 16;
            if (bytes == 2) {
                reinterpret_cast<volatile tt_l1_ptr uint16_t*>(to)[target] =
                    reinterpret_cast<volatile tt_l1_ptr uint16_t*>(tile)[source];
            } else {
                reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to)[target] =
                    reinterpret_cast<volatile tt_l1_ptr uint32_t*>(tile)[source];
            }
        }
    }
}
""",
        IN_TILE_NAME: """\
// Where an element, counted from a block's first, lies in a tile of it: 0 in front of it, 32 past it.
inline int32_t in_tile(int32_t element, int32_t tile) {
    const int32_t inside = element - tile * 32;
    return inside < 0 ? 0 : inside < 32 ? inside : 32;
}
""",
        WRITE_ROWS_NAME: """\
// Columns [left, right) of rows [first, end) of a tile to rows `shift` further down of a tensor's tile, those that it
// has.
template <uint32_t bytes, typename Accessor>
inline void write_rows(
    uint32_t page, const Accessor& tensor, uint32_t address, int32_t first, int32_t end, int32_t shift, int32_t left,
    int32_t right
) {
    const bool whole = left == 0 && right == 32;
    if (whole && shift == 0 && first == 0 && end == 32) {
        noc_async_write_page(page, tensor, address);
        return;
    }
    if (end + shift > 32) end = 32 - shift;
    for (int32_t row = first + shift < 0 ? -shift : first, count; row < end; row += count) {
        const int32_t target = row + shift, here = 16 - row % 16, there = 16 - target % 16;
        count = end - row < here ? end - row : here;
        count = whole ? (count < there ? count : there) : 1;
        for (int32_t half = 0; half < 2; ++half) {
            const int32_t from = left > half * 16 ? left - half * 16 : 0;
            const int32_t to = right < half * 16 + 16 ? right - half * 16 : 16;
            if (from >= to) continue;
            const uint32_t source = address + (row / 16 * 512 + half * 256 + row % 16 * 16 + from) * bytes;
            const uint32_t offset = (target / 16 * 512 + half * 256 + target % 16 * 16 + from) * bytes;
            noc_async_write_page(page, tensor, source, ((count - 1) * 16 + to - from) * bytes, offset);
        }
    }
}
""",
        WRITE_SHIFTED_ROW_NAME: """\
// Columns [left, right) of a row of a block's tiles, which lie `stride` bytes apart, to a row of a tensor's tile: its
// first column is column `first` of the block. At `scratch` they get the alignment that they have in the tensor.
template <uint32_t bytes, typename Accessor>
inline void write_shifted_row(
    uint32_t page, const Accessor& tensor, uint32_t address, uint32_t stride, uint32_t row, uint32_t target,
    int32_t first, int32_t left, int32_t right, uint32_t scratch
) {
    left = left > first ? left - first : 0;
    right = right < first + 32 ? right - first : 32;
    for (int32_t c = left; c < right; ++c) {
        const uint32_t column = (first + c) % 32, tile = address + (first + c) / 32 * stride;
        const uint32_t source = row / 16 * 512 + column / 16 * 256 + row % 16 * 16 + column % 16;
        if (bytes == 2) {
            reinterpret_cast<volatile tt_l1_ptr uint16_t*>(scratch)[c] =
                reinterpret_cast<volatile tt_l1_ptr uint16_t*>(tile)[source];
        } else {
            reinterpret_cast<volatile tt_l1_ptr uint32_t*>(scratch)[c] =
                reinterpret_cast<volatile tt_l1_ptr uint32_t*>(tile)[source];
        }
    }
    for (int32_t half = 0; half < 2; ++half) {
        const int32_t from = left > half * 16 ? left : half * 16, to = right < half * 16 + 16 ? right : half * 16 + 16;
        if (from >= to) continue;
        const uint32_t offset = (target / 16 * 512 + half * 256 + target % 16 * 16 + from - half * 16) * bytes;
        noc_async_write_page(page, tensor, scratch + from * bytes, (to - from) * bytes, offset);
    }
}
""",
    }
)
"""C++ functions by name."""
