// Compiled with -mavx2 -mbmi2. Only crop.cpp calls it, where the processor has these.
#define STOKER_DECODE_CROP decode_crop_avx2
#include "jpeg/crop_kernels.hpp"
