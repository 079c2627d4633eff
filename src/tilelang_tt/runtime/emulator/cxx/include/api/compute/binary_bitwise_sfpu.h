#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(binary_bitwise)
EMU_SFPU_BINARY_CALL(bitwise_and_binary)
EMU_SFPU_BINARY_CALL(bitwise_or_binary)
EMU_SFPU_BINARY_CALL(bitwise_xor_binary)
