// The marker segments of a JPEG, parsed; the scans' entropy-coded data is only delimited. Every byte is hostile.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "jpeg/huffman.hpp"
#include "jpeg/picture.hpp"

namespace stoker::jpeg {

struct ScanComponent {
  int index;  // into Picture::components
  int dc_table;
  int ac_table;
};

// One scan, with the tables that are in force at it.
struct Scan {
  std::vector<ScanComponent> components{};
  int spectral_start = 0;
  int spectral_end = kBlockSize - 1;
  int approx_high = 0;
  int approx_low = 0;
  int restart_interval = 0;
  Bytes data{};  // with byte stuffing and restart markers, up to the next other marker
  std::array<std::optional<HuffmanSpec>, 4> dc_tables{};
  std::array<std::optional<HuffmanSpec>, 4> ac_tables{};
};

struct ParsedFile {
  Picture picture{};  // blocks are allocated, and zero
  bool progressive = false;
  std::vector<Scan> scans{};
  std::size_t scans_start = 0;  // where the first scan's data begins in the file
  std::size_t height_offset = 0;
};

// Parses a whole file. Throws Refused for what is damaged, arithmetic, lossless, hierarchical, of 12 bits, or of 2 or 4 components.
ParsedFile parse(Bytes file);

}  // namespace stoker::jpeg
