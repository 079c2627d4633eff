#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(sin)
EMU_SFPU(cos)
EMU_SFPU(tan)
EMU_SFPU(asin)
EMU_SFPU(acos)
EMU_SFPU(atan)
EMU_SFPU(sinh)
EMU_SFPU(cosh)
EMU_SFPU(asinh)
EMU_SFPU(acosh)
EMU_SFPU(atanh)
