#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(erf)
EMU_SFPU(erfc)
