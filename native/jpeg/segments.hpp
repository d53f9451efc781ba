// The entropy-coded data of a scan, one restart segment after another: skipped, or freed of its stuffed zeros and read.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "jpeg/picture.hpp"

namespace stoker::jpeg {

// The next bits of a segment, from the top of `buffer`. Its owner keeps at least 8 readable bytes behind `next`.
struct Bits {
  const std::uint8_t* next = nullptr;
  std::uint64_t buffer = 0;
  int count = 0;  // that are valid; below them are copies of the first bits of *next, or zeros

  // At least 56 valid bits.
  void refill() noexcept {
    std::uint64_t bytes;
    std::memcpy(&bytes, next, sizeof bytes);
    if constexpr (std::endian::native == std::endian::little) {
      bytes = __builtin_bswap64(bytes);
    }
    buffer |= bytes >> count;
    next += (63 - count) >> 3;
    count |= 56;
  }

  void skip(int length) noexcept {
    buffer <<= length;
    count -= length;
  }
};

class SegmentReader {
 public:
  static constexpr std::size_t kMcuBytes = 2048;  // no MCU has more: 10 blocks of 64 coefficients of 16 + 11 bits would, 6 do not

  // Starts at the file's first segment.
  void open(Bytes file, std::size_t start) noexcept {
    file_ = file;
    place_ = start;
  }

  // The bits of the segment that begins here. Throws Refused where the file ends.
  Bits begin();

  // To be called before each MCU and after the last: an MCU's bits can be read without looking where they end. What follows a
  // segment's end is nothing in particular; false means that it has been read. Throws Refused where the file ends.
  bool prepare(Bits& bits) {
    return bits.next <= plenty_ || prepare_more(bits);
  }

  // Throws Refused unless all but some padding of the segment has been read, and nothing beyond.
  void finish(Bits& bits);

  // Goes to the end of the segment, wherever in it reading has come to. Throws Refused where there is no end.
  void skip();

  // Goes past restart marker number `number`, modulo 8. Throws Refused unless it stands here.
  void pass_restart(int number);

  bool at_end_of_image() const noexcept;

 private:
  static constexpr std::size_t kWindowBytes = 16384;

  bool prepare_more(Bits& bits);
  void fill();

  Bytes file_;
  std::size_t place_ = 0;                // in the file: of what is not in the window yet, a marker where the segment is complete
  bool is_complete_ = false;             // whether the window holds the segment's end
  std::uint8_t* end_ = nullptr;          // of the data in the window
  const std::uint8_t* plenty_ = nullptr; // up to here an MCU is certainly whole
  std::array<std::uint8_t, kWindowBytes + kMcuBytes + 64> window_{};
};

}  // namespace stoker::jpeg
