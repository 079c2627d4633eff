#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(where)
namespace ckernel {
template <DataFormat data_format>
ALWI void where_tile(uint32_t idst0, uint32_t idst1, uint32_t idst2, uint32_t odst, EMU_SITE) {
    detail::sfpu(
        data_format == DataFormat::Int32 ? "where_int32" : "where", idst0, idst1, idst2, odst, 0, 0, site
    );
}
}  // namespace ckernel
