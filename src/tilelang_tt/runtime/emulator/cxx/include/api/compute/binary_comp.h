#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_BINARY(eq_int)
EMU_SFPU_BINARY(ne_int)
EMU_SFPU_BINARY(lt_int)
EMU_SFPU_BINARY(gt_int)
EMU_SFPU_BINARY(le_int)
EMU_SFPU_BINARY(ge_int)
