#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(fill)
namespace ckernel {
ALWI void fill_tile_bitcast(uint32_t idst, uint32_t param0, EMU_SITE) {
    detail::sfpu("fill", idst, idst, idst, idst, param0, 0, site);
}
ALWI void fill_tile(uint32_t idst, float param0, EMU_SITE) {
    uint32_t bits;
    __builtin_memcpy(&bits, &param0, 4);
    fill_tile_bitcast(idst, bits, site);
}
template <DataFormat data_format>
ALWI void fill_tile_int(uint32_t idst, uint32_t param0, EMU_SITE) {
    static_assert(data_format == DataFormat::Int32, "the emulator fills with int32 only");
    detail::sfpu("fill_int32", idst, idst, idst, idst, param0, 0, site);
}
}  // namespace ckernel
