#pragma once
#include "emulator/compute.h"

namespace ckernel {
#define EMU_BINARY(op, accumulates)                                                                              \
    ALWI void op##_init(uint32_t icb0, uint32_t icb1, bool acc_to_dest = accumulates, EMU_SITE) {                \
        emu_binary_init(emu::Eltwise::op, emu::Bcast::none, icb0, icb1, acc_to_dest, site);                      \
    }                                                                                                            \
    ALWI void op##_tiles(uint32_t icb0, uint32_t icb1, uint32_t tile0, uint32_t tile1, uint32_t dst, EMU_SITE) { \
        emu_binary(emu::Eltwise::op, emu::Bcast::none, icb0, icb1, tile0, tile1, dst, 0, site);                  \
    }                                                                                                            \
    ALWI void op##_block(                                                                                        \
        uint32_t icb0, uint32_t icb1, uint32_t tile0, uint32_t tile1, uint32_t dst, uint32_t tiles, EMU_SITE     \
    ) {                                                                                                          \
        for (uint32_t i = 0; i < tiles; ++i) {                                                                   \
            emu_binary(emu::Eltwise::op, emu::Bcast::none, icb0, icb1, tile0 + i, tile1 + i, dst + i, 0, site);  \
        }                                                                                                        \
    }                                                                                                            \
    template <EltwiseBinaryReuseDestType reuse_dest>                                                             \
    ALWI void op##_reuse_dest_init(uint32_t icb, EMU_SITE) {                                                     \
        emu_reuse_init(emu::Eltwise::op, detail::reuse<reuse_dest>(), icb, site);                                \
    }                                                                                                            \
    template <EltwiseBinaryReuseDestType reuse_dest, bool fp32_dest = DST_ACCUM_MODE>                            \
    ALWI void op##_reuse_dest_tiles(uint32_t icb, uint32_t tile, uint32_t dst, EMU_SITE) {                       \
        emu_reuse(emu::Eltwise::op, detail::reuse<reuse_dest>(), icb, tile, dst, site);                          \
    }
EMU_BINARY(add, false)
EMU_BINARY(sub, false)
EMU_BINARY(mul, true)
#undef EMU_BINARY
}  // namespace ckernel
