#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(sin)
EMU_SFPU(cos)
