#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_BINARY(sub_int)
