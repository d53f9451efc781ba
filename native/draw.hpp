// Random rectangles of a batch, drawn in one call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "crops.hpp"

namespace stoker {

struct ResizedCropRange {
  double scale_low, scale_high;          // of the area
  double log_ratio_low, log_ratio_high;  // natural logarithms of width to height
  double ratio_low, ratio_high;
};

// Bit for bit what RandomResizedCrop.draw of stoker/image/ops.py gives for an image of that size under KeyedRandom(key). Pure.
CropBox draw_resized_crop(std::uint64_t key, int height, int width, const ResizedCropRange& range) noexcept;

}  // namespace stoker
