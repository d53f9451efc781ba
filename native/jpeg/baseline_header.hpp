// The header of a baseline JPEG, read for decoding its pixels: nothing is copied or allocated. Every byte is hostile.
#pragma once

#include <array>
#include <cstdint>

#include "jpeg/picture.hpp"

namespace stoker::jpeg {

// A DHT segment's table, as it stands in the file.
struct HuffmanView {
  const std::uint8_t* counts = nullptr;  // of codes by length, [0] is length 1; null where the file has no such table
  const std::uint8_t* symbols = nullptr;
  int num_symbols = 0;
};

struct BaselineComponent {
  int id = 0;
  int horizontal = 1, vertical = 1;  // sampling factors; 1 where there is one component
  int quant = 0;
  int dc_table = 0, ac_table = 0;
};

struct BaselineHeader {
  int height = 0, width = 0;
  int num_components = 0;
  std::array<BaselineComponent, 3> components{};
  int horizontal_max = 1, vertical_max = 1;
  int mcus_wide = 0, mcus_high = 0;
  int restart_interval = 0;  // 0: none
  int orientation = 1;       // as in EXIF
  std::array<std::array<std::int16_t, kBlockSize>, 4> quants{};  // in the order of rows, not in zigzag order
  std::array<bool, 4> has_quant{};
  std::array<HuffmanView, 4> dc_tables{}, ac_tables{};
  std::size_t scan_start = 0;  // of the entropy-coded data in the file
};

constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;

// Natural index (row * 8 + column) of each place in zigzag order.
extern const std::array<std::uint8_t, kBlockSize> kNaturalOrder;

// Throws Refused for what is no JPEG, damaged, or of another kind than: baseline or extended sequential, 8 bits, one scan, grey or
// YCbCr, colour sampled 4:4:4, 4:2:2, 4:2:0 or 4:4:0, at most kMaxPixels.
BaselineHeader read_baseline_header(Bytes file);

}  // namespace stoker::jpeg
