// Huffman tables for fast decoding of sequential scans: most coefficients take one look, which yields the code and the value's bits.
#pragma once

#include <array>
#include <cstdint>

#include "jpeg/baseline_header.hpp"

namespace stoker::jpeg {

constexpr int kMaxDcSize = 11;  // bits of a value, of 8-bit samples; anything beyond is damage
constexpr int kMaxAcSize = 10;

constexpr int kEndOfBlock = 129;

// What the bits that come next mean, in one word: taking it apart costs less than loading its parts.
class Symbol {
 public:
  Symbol() = default;
  constexpr Symbol(int value, int advance, int length) noexcept
      : word_(static_cast<std::uint32_t>(value) << 16 | static_cast<std::uint32_t>(advance) << 8 | static_cast<std::uint32_t>(length)) {}

  std::int16_t value() const noexcept { return static_cast<std::int16_t>(word_ >> 16); }

  // How many places this coefficient is behind the one before; kEndOfBlock where there is none.
  int advance() const noexcept { return static_cast<int>(word_ >> 8 & 0xFF); }

  // Of the code and the value, in bits; 0: ask find().
  int length() const noexcept { return static_cast<int>(word_ & 0xFF); }

 private:
  std::uint32_t word_ = 0;
};

// kBits: how many bits a look takes in. More find more, but fall out of the first-level cache: 12 and 10 were fastest.
template <int kBits, int kMaxSize>
class CombinedTable {
 public:
  // Throws Refused where the lengths do not make a prefix code. Costs nothing where it is built already.
  void build(const HuffmanView& view);

  // `bits` are the next ones, from the top.
  Symbol look(std::uint64_t bits) const noexcept { return entries_[bits >> (64 - kBits)]; }

  // The same, for what does not fit into a look. A length of 0 means damage.
  Symbol find(std::uint64_t bits) const noexcept;

 private:
  void fill(int code, int length, int symbol) noexcept;

  std::array<Symbol, 1 << kBits> entries_;
  std::array<std::int32_t, 17> limit_;   // first code of this length that is not one, left-aligned to 16 bits
  std::array<std::int32_t, 17> offset_;  // of a code's symbol from the code
  std::array<std::uint8_t, 16> counts_{};
  std::array<std::uint8_t, 256> symbols_;
  int num_symbols_ = 0;  // 0: not built
};

using DcTable = CombinedTable<10, kMaxDcSize>;
using AcTable = CombinedTable<12, kMaxAcSize>;

}  // namespace stoker::jpeg
