#pragma once
#include "emulator/compute.h"

namespace ckernel {
ALWI void transpose_init(uint32_t icb, EMU_SITE) { emu_transpose_init(icb, site); }
ALWI void transpose_tile(uint32_t icb, uint32_t tile, uint32_t dst, EMU_SITE) { emu_transpose(icb, tile, dst, site); }
}  // namespace ckernel
