#pragma once
#include "emulator/base.h"
