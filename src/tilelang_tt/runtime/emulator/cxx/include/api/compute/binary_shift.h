#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(binary_shift)
EMU_SFPU_BINARY_CALL(binary_left_shift)
EMU_SFPU_BINARY_CALL(binary_right_shift)
