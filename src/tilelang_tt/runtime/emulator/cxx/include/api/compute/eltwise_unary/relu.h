#pragma once
#include "emulator/sfpu.h"

EMU_SFPU(relu)
EMU_SFPU_SCALAR(relu_min)
EMU_SFPU_SCALAR(relu_max)
EMU_SFPU_SCALAR(leaky_relu)
