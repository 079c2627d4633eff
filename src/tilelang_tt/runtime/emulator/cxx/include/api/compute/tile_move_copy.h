#pragma once
#include "api/compute/reconfig_data_format.h"
#include "emulator/compute.h"

namespace ckernel {
ALWI void copy_init(uint32_t cb, uint32_t transpose = 0, uint32_t transpose_within_16x16_face = 0, EMU_SITE) {
    emu_copy_init(cb, (transpose != 0) | (transpose_within_16x16_face != 0) << 1, site);
}
ALWI void copy_tile(uint32_t cb, uint32_t tile, uint32_t dst, EMU_SITE) { emu_copy(cb, tile, dst, site); }
ALWI void copy_block(uint32_t cb, uint32_t tile, uint32_t dst, uint32_t tiles, EMU_SITE) {
    for (uint32_t i = 0; i < tiles; ++i) {
        emu_copy(cb, tile + i, dst + i, site);
    }
}
}  // namespace ckernel
