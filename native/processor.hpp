// What the processor at hand can do.
#pragma once

#include <cstdlib>

namespace stoker {

// Whether code compiled with -mavx2 -mbmi2 may run. STOKER_NO_AVX2 in the environment says no, for tests and for suspicions.
inline bool has_avx2() noexcept {
#if defined(STOKER_HAS_AVX2_UNIT)
  static const bool result = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && !std::getenv("STOKER_NO_AVX2");
  return result;
#else
  return false;
#endif
}

}  // namespace stoker
