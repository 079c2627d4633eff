#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_SCALAR(rsub)
