#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(isinf)
EMU_SFPU(isnan)
EMU_SFPU(isfinite)
