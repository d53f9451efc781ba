// Compiled with -ffp-contract=off: every step is rounded as Python rounds it.
#include "draw.hpp"

#include <cmath>

namespace stoker {
namespace {

constexpr int kAttempts = 10;
constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;

__extension__ using Product = unsigned __int128;

std::uint64_t mix64(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

// KeyedRandom of stoker/order/keys.py.
class KeyedRandom {
 public:
  explicit KeyedRandom(std::uint64_t key) noexcept : counter_(mix64(key)) {}

  double uniform(double low, double high) noexcept { return low + (high - low) * (static_cast<double>(next() >> 11) * 0x1p-53); }

  // In [0, span).
  int below(int span) noexcept {
    const std::uint64_t count = static_cast<std::uint64_t>(span);
    const std::uint64_t reject = (0 - count) % count;  // 2^64 modulo count
    while (true) {
      const Product product = static_cast<Product>(next()) * count;
      if (static_cast<std::uint64_t>(product) >= reject) {
        return static_cast<int>(product >> 64);
      }
    }
  }

 private:
  std::uint64_t next() noexcept { return mix64(counter_ += kGolden); }

  std::uint64_t counter_;
};

}  // namespace

CropBox draw_resized_crop(std::uint64_t key, int height, int width, const ResizedCropRange& range) noexcept {
  KeyedRandom random(key);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = static_cast<double>(std::int64_t{height} * width) * random.uniform(range.scale_low, range.scale_high);
    const double aspect = std::exp(random.uniform(range.log_ratio_low, range.log_ratio_high));
    const double w = std::nearbyint(std::sqrt(area * aspect)), h = std::nearbyint(std::sqrt(area / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const int crop_height = static_cast<int>(h), crop_width = static_cast<int>(w);
      const int top = random.below(height - crop_height + 1);
      return {top, random.below(width - crop_width + 1), crop_height, crop_width};
    }
  }
  int w = width, h = height;
  const double ratio = static_cast<double>(width) / height;
  if (ratio < range.ratio_low) {
    h = static_cast<int>(std::nearbyint(w / range.ratio_low));
  } else if (ratio > range.ratio_high) {
    w = static_cast<int>(std::nearbyint(h * range.ratio_high));
  }
  return {(height - h) / 2, (width - w) / 2, h, w};
}

}  // namespace stoker
