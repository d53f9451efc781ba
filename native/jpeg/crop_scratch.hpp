// Memory that decoding a crop works in, kept from one crop to the next.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "jpeg/combined_table.hpp"
#include "jpeg/segments.hpp"

namespace stoker::jpeg {

struct CropScratch {
  SegmentReader segments;
  std::array<DcTable, 4> dc_tables{};
  std::array<AcTable, 4> ac_tables{};
  std::vector<std::uint8_t> samples{};  // of all planes, padded: vector code reads and writes whole registers
  std::vector<std::uint8_t> pixels{};   // of the crop, interleaved RGB, padded
  std::vector<std::uint16_t> sums{};
  std::array<std::vector<std::uint8_t>, 2> colour{};
};

}  // namespace stoker::jpeg
