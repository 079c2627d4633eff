#pragma once
#include "emulator/sfpu.h"

namespace ckernel {
ALWI void copy_dest_values_init(EMU_SITE) { emu_sfpu_init("copy_dest_values", site); }
template <auto... options>
ALWI void copy_dest_values(uint32_t idst_in, uint32_t idst_out, EMU_SITE) {
    detail::sfpu("copy_dest_values", idst_in, idst_out, idst_out, idst_out, 0, 0, site);
}
}  // namespace ckernel
