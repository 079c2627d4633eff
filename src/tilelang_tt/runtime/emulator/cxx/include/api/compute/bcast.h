#pragma once
#include "emulator/compute.h"

namespace ckernel {
template <BroadcastType type>
ALWI void unary_bcast_init(uint32_t icb, EMU_SITE) {
    emu_unary_bcast_init(detail::bcast(type), icb, site);
}
template <BroadcastType type>
ALWI void unary_bcast(uint32_t icb, uint32_t tile, uint32_t dst, EMU_SITE) {
    emu_unary_bcast(detail::bcast(type), icb, tile, dst, site);
}
template <BroadcastType type>
ALWI void unary_bcast_uninit(uint32_t) {}

template <EltwiseBinaryType op, BroadcastType type>
ALWI void bcast_init(uint32_t icb0, uint32_t icb1, EMU_SITE) {
    emu_binary_init(detail::eltwise<op>(), detail::bcast(type), icb0, icb1, false, site);
}
template <EltwiseBinaryType op, BroadcastType type>
ALWI void any_tiles_bcast(
    uint32_t icb0, uint32_t icb1, uint32_t tile0, uint32_t tile1, uint32_t dst, uint32_t bcast_row_idx = 0, EMU_SITE
) {
    emu_binary(detail::eltwise<op>(), detail::bcast(type), icb0, icb1, tile0, tile1, dst, bcast_row_idx, site);
}

// Rows: the row of tile B is used for every row. Cols: its first column for every column. Scalar: its first element.
#define EMU_BCAST(op, dim, DIM)                                                         \
    ALWI void op##_bcast_##dim##_init(uint32_t icb0, uint32_t icb1, EMU_SITE) {         \
        emu_binary_init(emu::Eltwise::op, detail::bcast(DIM), icb0, icb1, false, site); \
    }
#define EMU_BCAST_TILES(op, dim, DIM)                                                             \
    ALWI void op##_tiles_bcast_##dim(                                                             \
        uint32_t icb0, uint32_t icb1, uint32_t tile0, uint32_t tile1, uint32_t dst, EMU_SITE      \
    ) {                                                                                           \
        emu_binary(emu::Eltwise::op, detail::bcast(DIM), icb0, icb1, tile0, tile1, dst, 0, site); \
    }
#define EMU_BCAST_OP(op)                                                                                       \
    EMU_BCAST(op, rows, ROW)                                                                                   \
    EMU_BCAST(op, cols, COL)                                                                                   \
    EMU_BCAST(op, scalar, SCALAR)                                                                              \
    EMU_BCAST_TILES(op, cols, COL)                                                                             \
    EMU_BCAST_TILES(op, scalar, SCALAR)                                                                        \
    ALWI void op##_tiles_bcast_rows(                                                                           \
        uint32_t icb0, uint32_t icb1, uint32_t tile0, uint32_t tile1, uint32_t dst, uint32_t row = 0, EMU_SITE \
    ) {                                                                                                        \
        emu_binary(emu::Eltwise::op, emu::Bcast::row, icb0, icb1, tile0, tile1, dst, row, site);               \
    }                                                                                                          \
    template <BroadcastType type>                                                                              \
    ALWI void op##_tiles_bcast(                                                                                \
        uint32_t icb0, uint32_t icb1, uint32_t tile0, uint32_t tile1, uint32_t dst, uint32_t row = 0, EMU_SITE \
    ) {                                                                                                        \
        emu_binary(emu::Eltwise::op, detail::bcast(type), icb0, icb1, tile0, tile1, dst, row, site);           \
    }
EMU_BCAST_OP(add)
EMU_BCAST_OP(sub)
EMU_BCAST_OP(mul)
#undef EMU_BCAST_OP
#undef EMU_BCAST_TILES
#undef EMU_BCAST
}  // namespace ckernel
