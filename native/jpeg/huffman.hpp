// Huffman tables of JPEG (ITU-T T.81, annexes C, F.2.2 and K.2).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "jpeg/picture.hpp"

namespace stoker::jpeg {

// As a DHT segment holds it: how many codes there are of each length, and their symbols in the order of the codes.
struct HuffmanSpec {
  std::array<std::uint8_t, 17> counts{};  // by length; [0] is unused
  std::vector<std::uint8_t> symbols{};
};

class DecodingTable {
 public:
  static constexpr int kFastBits = 10;

  // Throws Refused where the lengths do not make a prefix code.
  explicit DecodingTable(const HuffmanSpec& spec);

  struct Entry {
    std::uint8_t symbol;
    std::uint8_t length;  // 0: no code begins like this
  };

  // The code at the top of `peeked`, the next 16 bits.
  Entry find(std::uint32_t peeked) const noexcept {
    const Entry fast = fast_[peeked >> (16 - kFastBits)];
    return fast.length ? fast : find_long(peeked);
  }

 private:
  Entry find_long(std::uint32_t peeked) const noexcept;

  std::array<Entry, 1 << kFastBits> fast_{};
  std::array<std::int32_t, 18> limit_{};   // first code of this length that is not one, left-aligned to 16 bits
  std::array<std::int32_t, 17> offset_{};  // of a code's symbol from the code
  std::vector<std::uint8_t> symbols_;
};

struct EncodingTable {
  std::array<std::uint16_t, 256> code{};
  std::array<std::uint8_t, 256> length{};  // 0: the symbol has no code

  explicit EncodingTable(const HuffmanSpec& spec);
};

// The table with which symbols of these frequencies take the fewest bits, no code longer than 16 and none of ones alone.
HuffmanSpec optimal_table(const std::array<std::uint32_t, 256>& frequencies);

}  // namespace stoker::jpeg
