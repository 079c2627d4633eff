#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_BINARY(binary_max)
EMU_SFPU_BINARY(binary_min)
EMU_SFPU_BINARY(binary_max_int32)
EMU_SFPU_BINARY(binary_min_int32)
