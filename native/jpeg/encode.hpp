// Writing a picture's coefficients as a baseline JPEG with a restart marker after every few MCUs.
#pragma once

#include <cstdint>
#include <vector>

#include "jpeg/picture.hpp"

namespace stoker::jpeg {

// One interleaved scan, Huffman tables made for it, metadata as it was. The blocks beyond the picture's edge, which nobody sees, are
// overwritten by the cheapest ones. `restart_interval` is in MCUs, 1 to 65,535. Throws Refused for coefficients that baseline cannot hold.
std::vector<std::uint8_t> encode(Picture& picture, int restart_interval);

// The number of MCUs between restart markers that divides `mcus_wide` and is nearest, as a ratio, to `wanted`.
int tile_width(int mcus_wide, int wanted);

}  // namespace stoker::jpeg
