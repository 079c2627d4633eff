#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(clamp)
namespace ckernel {
ALWI void clamp_tile(uint32_t idst, uint32_t param0, uint32_t param1, EMU_SITE) {
    detail::sfpu("clamp", idst, idst, idst, idst, param0, param1, site);
}
}  // namespace ckernel
