#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_BINARY(mul_int)
