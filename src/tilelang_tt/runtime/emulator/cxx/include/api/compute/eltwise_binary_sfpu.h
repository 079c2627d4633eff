#pragma once
#include "emulator/sfpu.h"

namespace ckernel {
// How sums are stored to a 16-bit DST: by default they are cut.
enum class DstRoundingMode : std::uint8_t { Default, NearestEven };
}  // namespace ckernel

#define EMU_SFPU_SUM(name)                                                                              \
    EMU_SFPU_INIT(name)                                                                                 \
    namespace ckernel {                                                                                 \
    template <DstRoundingMode rounding = DstRoundingMode::Default, bool fp32_dest = DST_ACCUM_MODE>     \
    ALWI void name##_tile(uint32_t idst0, uint32_t idst1, uint32_t odst, EMU_SITE) {                    \
        constexpr const char* op = rounding == DstRoundingMode::NearestEven ? #name "_nearest" : #name; \
        detail::sfpu(op, idst0, idst1, odst, odst, 0, 0, site);                                         \
    }                                                                                                   \
    }
EMU_SFPU_SUM(add_binary)
EMU_SFPU_SUM(sub_binary)
EMU_SFPU_SUM(rsub_binary)
#undef EMU_SFPU_SUM
EMU_SFPU_BINARY(mul_binary)
EMU_SFPU_BINARY(div_binary)
EMU_SFPU_BINARY(power_binary)
EMU_SFPU_BINARY(eq_binary)
EMU_SFPU_BINARY(ne_binary)
EMU_SFPU_BINARY(lt_binary)
EMU_SFPU_BINARY(gt_binary)
EMU_SFPU_BINARY(le_binary)
EMU_SFPU_BINARY(ge_binary)
