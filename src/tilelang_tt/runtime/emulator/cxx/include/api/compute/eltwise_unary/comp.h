#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(gtz)
EMU_SFPU(gez)
EMU_SFPU(ltz)
EMU_SFPU(lez)
EMU_SFPU(eqz)
EMU_SFPU(nez)
EMU_SFPU_SCALAR(unary_eq)
EMU_SFPU_SCALAR(unary_ne)
EMU_SFPU_SCALAR(unary_gt)
EMU_SFPU_SCALAR(unary_ge)
EMU_SFPU_SCALAR(unary_lt)
EMU_SFPU_SCALAR(unary_le)
