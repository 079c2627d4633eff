#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(rounding_op)
EMU_SFPU_CALL(floor)
EMU_SFPU_CALL(ceil)
EMU_SFPU_CALL(trunc)
