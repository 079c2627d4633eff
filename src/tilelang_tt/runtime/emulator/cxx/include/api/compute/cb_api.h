#pragma once
#include "emulator/compute.h"

namespace ckernel {
// On the chip the unpacker's thread reads it and tells the other two.
ALWI uint32_t read_tile_value(uint32_t cb_id, uint32_t tile_index, uint32_t element_offset, EMU_SITE) {
    return emu_cb_value(cb_id, tile_index, element_offset, site);
}
}  // namespace ckernel
