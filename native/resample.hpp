// Crop, resize and flip of 8-bit RGB pixels.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stoker {

struct Resample {
  const std::uint8_t* source;  // the crop's first pixel; pixels are 3 interleaved bytes
  std::size_t source_stride;   // bytes from one row to the next
  int source_height;           // of the crop, at least 1
  int source_width;
  std::uint8_t* target;
  int target_height;  // at least 1
  int target_width;
  bool antialias;
  bool flip_horizontally;
  bool flip_vertically;
  bool planar;  // target is [3, height, width], else [height, width, 3]
};

// Bilinear, with half-pixel centres; with `antialias` the triangle is widened to cover what a target pixel covers, as Pillow's
// resize does. Differs from it by at most one level: the intermediate keeps six more bits. Reentrant.
void resample_rgb(const Resample& job);

}  // namespace stoker
