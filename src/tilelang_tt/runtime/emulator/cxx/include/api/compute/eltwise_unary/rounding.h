#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(rounding_op)
EMU_SFPU_CALL(floor)
EMU_SFPU_CALL(ceil)
EMU_SFPU_CALL(trunc)
namespace ckernel {
// To whole numbers (decimals is 0), halves to the even one.
ALWI void round_tile(uint32_t idst, [[maybe_unused]] int32_t decimals, EMU_SITE) {
    detail::sfpu("round", idst, idst, idst, idst, 0, 0, site);
}
}  // namespace ckernel
