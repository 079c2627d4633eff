#pragma once
#include "emulator/tensor.h"
