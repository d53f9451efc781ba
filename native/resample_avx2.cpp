// Compiled with -mavx2. Only resample.cpp calls it, where the processor has that.
#define STOKER_RESAMPLE_RGB resample_rgb_avx2
#include "resample_kernels.hpp"
