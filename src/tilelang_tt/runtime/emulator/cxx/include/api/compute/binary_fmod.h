#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_BINARY(fmod_binary)
