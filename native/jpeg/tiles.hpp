// JPEG that can be entered anywhere: restart markers cut it into tiles, and a rectangle is decoded from the tiles that cover it.
#pragma once

#include <cstdint>
#include <vector>

#include "jpeg/picture.hpp"

namespace stoker::jpeg {

struct Rectangle {
  int top, left, height, width;
};

// The same picture, coefficient for coefficient, with a restart marker after about `wanted` MCUs, so that each row of MCUs is whole
// tiles. Throws Refused for what has to stay as it is.
std::vector<std::uint8_t> retile(Bytes file, int wanted);

struct Extract {
  std::vector<std::uint8_t> file{};  // a JPEG of its own
  int top = 0;                       // where its first pixel stands in the whole picture: multiples of 8
  int left = 0;
};

// The tiles that cover a rectangle, as a small JPEG. The rectangle's pixels in it are those of the whole file, bit for bit: where
// colour is subsampled, neighbours that its upsampling reads are covered too. Throws Refused where `file` is not tiled, or damaged.
Extract extract(Bytes file, Rectangle rectangle);

}  // namespace stoker::jpeg
