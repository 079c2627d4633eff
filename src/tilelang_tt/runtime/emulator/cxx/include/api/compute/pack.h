#pragma once
#include "emulator/compute.h"

namespace ckernel {
template <bool out_of_order_output = false, bool fp32_dest = DST_ACCUM_MODE>
ALWI void pack_tile(uint32_t dst, uint32_t cb, uint32_t output_tile_index = 0, EMU_SITE) {
    emu_pack(dst, cb, out_of_order_output, output_tile_index, site);
}
template <bool fp32_dest = DST_ACCUM_MODE>
ALWI void pack_block(uint32_t dst, uint32_t cb, uint32_t tiles, EMU_SITE) {
    for (uint32_t i = 0; i < tiles; ++i) {
        emu_pack(dst + i, cb, false, 0, site);
    }
}
ALWI void pack_reconfig_l1_acc(uint32_t enable, EMU_SITE) { emu_pack_l1_acc(enable, site); }
}  // namespace ckernel
