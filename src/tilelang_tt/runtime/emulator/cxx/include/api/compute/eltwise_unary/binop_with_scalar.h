#pragma once
#include "emulator/sfpu.h"

EMU_SFPU_INIT(binop_with_scalar)
EMU_SFPU_SCALAR_CALL(add_unary)
EMU_SFPU_SCALAR_CALL(sub_unary)
EMU_SFPU_SCALAR_CALL(rsub_unary)
EMU_SFPU_SCALAR_CALL(mul_unary)
// Multiplies: its parameter is the reciprocal of the divisor.
EMU_SFPU_SCALAR_CALL(div_unary)
