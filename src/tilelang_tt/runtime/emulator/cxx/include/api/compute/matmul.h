#pragma once
#include "emulator/compute.h"

namespace ckernel {
ALWI void matmul_init(uint32_t in0, uint32_t in1, uint32_t transpose = 0, EMU_SITE) {
    emu_matmul_init(in0, in1, transpose, 1, 1, 1, site);
}
ALWI void matmul_tiles(uint32_t in0, uint32_t in1, uint32_t tile0, uint32_t tile1, uint32_t dst, EMU_SITE) {
    emu_matmul(in0, in1, tile0, tile1, dst, ~0u, 1, 1, 1, site);
}
ALWI void matmul_block_init(
    uint32_t in0, uint32_t in1, uint32_t transpose = 0, uint32_t ct = 1, uint32_t rt = 1, uint32_t kt = 1, EMU_SITE
) {
    emu_matmul_init(in0, in1, transpose, ct, rt, kt, site);
}
// One step of the inner dimension: rt x ct tiles of DST += a column of in0 (rows kt tiles apart) x ct tiles of in1.
ALWI void matmul_block(
    uint32_t in0,
    uint32_t in1,
    uint32_t tile0,
    uint32_t tile1,
    uint32_t dst,
    uint32_t transpose,
    uint32_t ct,
    uint32_t rt,
    uint32_t kt,
    EMU_SITE
) {
    emu_matmul(in0, in1, tile0, tile1, dst, transpose != 0, ct, rt, kt, site);
}
}  // namespace ckernel
