// The marker segments of a JPEG, parsed; the scans' entropy-coded data is only delimited. Every byte is hostile.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "jpeg/huffman.hpp"
#include "jpeg/picture.hpp"

namespace stoker::jpeg {

enum Marker : int {
  kSOF0 = 0xC0, kSOF1 = 0xC1, kSOF2 = 0xC2, kDHT = 0xC4, kRST0 = 0xD0, kRST7 = 0xD7, kSOI = 0xD8, kEOI = 0xD9, kSOS = 0xDA,
  kDQT = 0xDB, kDRI = 0xDD, kAPP0 = 0xE0, kAPP2 = 0xE2, kAPP14 = 0xEE, kAPP15 = 0xEF, kCOM = 0xFE,
};

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
};

// Parses a whole file. Throws Refused for what is damaged, arithmetic, lossless, hierarchical, of 12 bits, or of 2 or 4 components.
ParsedFile parse(Bytes file);

}  // namespace stoker::jpeg
