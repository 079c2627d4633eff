#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_BINARY(binary_max)
EMU_SFPU_BINARY(binary_min)
