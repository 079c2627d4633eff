#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(abs)
EMU_SFPU(exp2)
EMU_SFPU(expm1)
EMU_SFPU(log)
EMU_SFPU_SCALAR(log_with_base)
EMU_SFPU_SCALAR(power)
EMU_SFPU(sigmoid)
EMU_SFPU(sign)
EMU_SFPU(silu)
EMU_SFPU(square)
EMU_SFPU(tanh)
EMU_SFPU_SCALAR(unary_max)
EMU_SFPU_SCALAR(unary_min)

namespace ckernel {
ALWI void abs_tile_int32(uint32_t idst, EMU_SITE) { detail::sfpu("abs_int32", idst, idst, idst, idst, 0, 0, site); }
}  // namespace ckernel
