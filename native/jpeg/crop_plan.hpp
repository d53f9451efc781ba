// Which part of a picture's samples has to be decoded for a rectangle of its pixels, at full or reduced size.
#pragma once

#include <array>

#include "jpeg/baseline_header.hpp"
#include "jpeg/tiles.hpp"

namespace stoker::jpeg {

struct Span {
  int first, last;  // `last` excluded

  bool holds(int value) const noexcept { return value >= first && value < last; }
  int size() const noexcept { return last - first; }
};

// Samples of one component, of the MCUs that are decoded.
struct Plane {
  int block_side = kBlockSide;       // of a decoded block: 8, 4, 2 or 1
  int height = 0, width = 0;         // of the whole component, in samples
  int first_row = 0, first_column = 0;  // of the first decoded one
  std::size_t stride = 0, rows = 0;     // of the decoded ones
  std::uint8_t* samples = nullptr;

  const std::uint8_t* at(int row, int column) const noexcept {
    return samples + static_cast<std::size_t>(row - first_row) * stride + static_cast<std::size_t>(column - first_column);
  }
};

struct CropPlan {
  Rectangle box;  // of the reduced picture
  Span mcu_rows, mcu_columns;
  std::array<Plane, 3> planes{};
  int colour_ratio_down = 1, colour_ratio_across = 1;  // pixels per sample of colour: 1 or 2
  bool smooth_down = false, smooth_across = false;     // whether upsampling blends neighbours, or repeats
};

// The rectangle `box` of the picture, reduced by 1, 2, 4 or 8 as libjpeg does it. Throws Refused where it is not within the picture.
CropPlan plan_crop(const BaselineHeader& header, Rectangle box, int reduction);

}  // namespace stoker::jpeg
