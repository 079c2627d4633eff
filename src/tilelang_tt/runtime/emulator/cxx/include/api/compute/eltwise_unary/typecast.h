#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(typecast)
namespace ckernel {
template <uint32_t IN_DTYPE, uint32_t OUT_DTYPE>
ALWI void typecast_tile(uint32_t idst, EMU_SITE) {
    emu_typecast(static_cast<DataFormat>(IN_DTYPE), static_cast<DataFormat>(OUT_DTYPE), idst, site);
}
}  // namespace ckernel
