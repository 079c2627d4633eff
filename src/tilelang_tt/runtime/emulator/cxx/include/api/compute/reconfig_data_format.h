#pragma once
#include "emulator/compute.h"

namespace ckernel {
ALWI void reconfig_data_format_srca(uint32_t cb, EMU_SITE) { emu_reconfig_srca(cb, site); }
ALWI void reconfig_data_format_srcb(uint32_t cb, EMU_SITE) { emu_reconfig_srcb(cb, site); }
// The forms with an old buffer do nothing where the old and the new one have the same format.
ALWI void reconfig_data_format_srca(uint32_t old_cb, uint32_t cb, EMU_SITE) {
    emu_reconfig_srca_from(old_cb, cb, site);
}
ALWI void reconfig_data_format_srcb(uint32_t old_cb, uint32_t cb, EMU_SITE) {
    emu_reconfig_srcb_from(old_cb, cb, site);
}
template <SrcOrder order = SrcOrder::Regular>
ALWI void reconfig_data_format(uint32_t icb0, uint32_t icb1, EMU_SITE) {
    constexpr bool reverse = order == SrcOrder::Reverse;
    emu_reconfig_srca(reverse ? icb1 : icb0, site);
    emu_reconfig_srcb(reverse ? icb0 : icb1, site);
}
template <SrcOrder order = SrcOrder::Regular>
ALWI void reconfig_data_format(uint32_t old0, uint32_t icb0, uint32_t old1, uint32_t icb1, EMU_SITE) {
    constexpr bool reverse = order == SrcOrder::Reverse;
    emu_reconfig_srca_from(reverse ? old1 : old0, reverse ? icb1 : icb0, site);
    emu_reconfig_srcb_from(reverse ? old0 : old1, reverse ? icb0 : icb1, site);
}
ALWI void pack_reconfig_data_format(uint32_t cb, EMU_SITE) { emu_reconfig_pack(cb, site); }
ALWI void pack_reconfig_data_format(uint32_t old_cb, uint32_t cb, EMU_SITE) {
    emu_reconfig_pack_from(old_cb, cb, site);
}
}  // namespace ckernel
