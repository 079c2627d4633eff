// Shapes of SFPU calls, from which each API header makes its operations; what they compute is in the emulator core's
// table.
//
// On the chip they take template arguments that choose approximations and rounding of the stores; here those change
// nothing.
#pragma once
#include "emulator/compute.h"

namespace ckernel::detail {
ALWI void sfpu(
    const char* op, uint32_t a, uint32_t b, uint32_t c, uint32_t out, uint32_t p0, uint32_t p1, emu::Site site
) {
    emu_sfpu(op, a, b, c, out, p0, p1, site);
}
}  // namespace ckernel::detail

// name_tile_init()
#define EMU_SFPU_INIT(name)                \
    namespace ckernel {                    \
    template <auto... options>             \
    ALWI void name##_tile_init(EMU_SITE) { \
        emu_sfpu_init(#name, site);        \
    }                                      \
    }
// name_tile(dst)
#define EMU_SFPU_CALL(name)                                      \
    namespace ckernel {                                          \
    template <auto... options>                                   \
    ALWI void name##_tile(uint32_t idst, EMU_SITE) {             \
        detail::sfpu(#name, idst, idst, idst, idst, 0, 0, site); \
    }                                                            \
    }
// name_tile(dst, parameter bits)
#define EMU_SFPU_SCALAR_CALL(name)                                    \
    namespace ckernel {                                               \
    template <auto... options>                                        \
    ALWI void name##_tile(uint32_t idst, uint32_t param0, EMU_SITE) { \
        detail::sfpu(#name, idst, idst, idst, idst, param0, 0, site); \
    }                                                                 \
    }
// name_tile(a, b, out); on int32 with its format as template argument
#define EMU_SFPU_BINARY_CALL(name)                                                   \
    namespace ckernel {                                                              \
    template <auto... options>                                                       \
    ALWI void name##_tile(uint32_t idst0, uint32_t idst1, uint32_t odst, EMU_SITE) { \
        detail::sfpu(#name, idst0, idst1, odst, odst, 0, 0, site);                   \
    }                                                                                \
    }
#define EMU_SFPU(name)  \
    EMU_SFPU_INIT(name) \
    EMU_SFPU_CALL(name)
#define EMU_SFPU_SCALAR(name) \
    EMU_SFPU_INIT(name)       \
    EMU_SFPU_SCALAR_CALL(name)
#define EMU_SFPU_BINARY(name) \
    EMU_SFPU_INIT(name)       \
    EMU_SFPU_BINARY_CALL(name)
