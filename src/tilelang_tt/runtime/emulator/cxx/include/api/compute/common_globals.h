#pragma once
#include "emulator/compute.h"
