#pragma once
#include "emulator/compute.h"

namespace ckernel {
template <PoolType type, ReduceDim dim>
ALWI void reduce_init(uint32_t icb, uint32_t icb_scaler, uint32_t ocb, EMU_SITE) {
    emu_reduce_init(detail::pool<type>(), detail::reduce(dim), icb, icb_scaler, ocb, site);
}
ALWI void reduce_uninit(uint32_t = 0, EMU_SITE) { emu_reduce_uninit(site); }
template <PoolType type, ReduceDim dim>
ALWI void reduce_tile(uint32_t icb, uint32_t icb_scaler, uint32_t tile, uint32_t scaler_tile, uint32_t dst, EMU_SITE) {
    emu_reduce(detail::pool<type>(), detail::reduce(dim), icb, icb_scaler, tile, scaler_tile, dst, site);
}
}  // namespace ckernel
