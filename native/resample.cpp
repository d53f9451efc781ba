// For any processor, and the choice between the two.
#define STOKER_RESAMPLE_RGB resample_rgb_baseline
#include "resample_kernels.hpp"

#include "processor.hpp"

namespace stoker {

#if defined(STOKER_HAS_AVX2_UNIT)

void resample_rgb_avx2(const Resample& job);

void resample_rgb(const Resample& job) {
  (has_avx2() ? resample_rgb_avx2 : resample_rgb_baseline)(job);
}

#else

void resample_rgb(const Resample& job) { resample_rgb_baseline(job); }

#endif

}  // namespace stoker
