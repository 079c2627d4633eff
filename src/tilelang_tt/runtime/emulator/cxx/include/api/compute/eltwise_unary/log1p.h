#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(log1p)
