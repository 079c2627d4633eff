#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(gelu)
EMU_SFPU(gelu_tanh)
