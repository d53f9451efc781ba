// Huffman tables for fast decoding of sequential scans: one look yields the code and the value's bits, and often those of the next
// coefficient too.
#pragma once

#include <array>
#include <cstdint>

#include "jpeg/baseline_header.hpp"

namespace stoker::jpeg {

constexpr int kMaxDcSize = 11;  // bits of a value, of 8-bit samples; anything beyond is damage
constexpr int kMaxAcSize = 10;

constexpr int kEndOfBlock = 63;  // an advance that leads out of any block

// What the bits that come next mean, in one word: taking it apart costs less than loading its parts.
class Symbol {
 public:
  Symbol() = default;
  constexpr Symbol(int value, int advance, int length) noexcept
      : word_(static_cast<std::uint32_t>(value) << 16 | static_cast<std::uint32_t>(advance) << 8 | static_cast<std::uint32_t>(length)) {}

  constexpr std::int16_t value() const noexcept { return static_cast<std::int16_t>(word_ >> 16); }

  // How many places this coefficient is behind the one before; kEndOfBlock where there is none.
  constexpr int advance() const noexcept { return static_cast<int>(word_ >> 8 & 0xFF); }

  // Of the code and the value, in bits; 0: ask find().
  constexpr int length() const noexcept { return static_cast<int>(word_ & 0xFF); }

 private:
  std::uint32_t word_ = 0;
};

// The codes of a table, and what they mean in a sequential scan.
template <int kMaxSize>
class Codes {
 public:
  // Throws Refused where the lengths do not make a prefix code. Returns whether it was another table until now.
  bool build(const HuffmanView& view);

  // What the next bits, from the top of `bits`, mean. A length of 0: nothing.
  Symbol find(std::uint64_t bits) const noexcept;

  // Calls visit(place, symbol) for every code and value that together are of at most `most_bits` bits; `place` is these bits, followed
  // by zeros up to `most_bits`.
  template <typename Visit>
  void each(int most_bits, Visit visit) const;

 private:
  std::array<std::int32_t, 17> limit_;   // first code of this length that is not one, left-aligned to 16 bits
  std::array<std::int32_t, 17> offset_;  // of a code's symbol from the code
  std::array<std::uint8_t, 16> counts_{};
  std::array<std::uint8_t, 256> symbols_;
  int num_symbols_ = 0;  // 0: not built
};

class DcTable {
 public:
  void build(const HuffmanView& view);
  Symbol look(std::uint64_t bits) const noexcept { return entries_[bits >> (64 - kLookBits)]; }
  Symbol find(std::uint64_t bits) const noexcept { return codes_.find(bits); }

 private:
  static constexpr int kLookBits = 10;

  Codes<kMaxDcSize> codes_{};
  std::array<Symbol, 1 << kLookBits> entries_;
};

// Two symbols, or one and an advance of 0. In one word, so that the table stays small.
class SymbolPair {
 public:
  static constexpr int kMostSecond = 15;  // the largest value, or smallest below zero, that a second symbol can have

  SymbolPair() = default;
  constexpr explicit SymbolPair(Symbol only) noexcept : word_(word(only, only.length() & 15)) {}  // a long one's length has no room

  // This one symbol and the one of `second`, which are together of at most 15 bits.
  constexpr SymbolPair followed_by(SymbolPair second) const noexcept {
    SymbolPair pair;
    pair.word_ = word_ + second.word_;
    return pair;
  }

  // For followed_by.
  static constexpr SymbolPair as_second(Symbol symbol) noexcept {
    SymbolPair pair;
    pair.word_ = static_cast<std::uint32_t>(symbol.length()) | static_cast<std::uint32_t>(symbol.advance()) << 10 |
                 (static_cast<std::uint32_t>(symbol.value()) & 31) << 16;
    return pair;
  }

  int first_value() const noexcept { return static_cast<std::int32_t>(word_) >> 21; }
  int second_value() const noexcept { return static_cast<std::int32_t>(word_ << 11) >> 27; }
  int first_advance() const noexcept { return static_cast<int>(word_ >> 4 & 63); }
  int second_advance() const noexcept { return static_cast<int>(word_ >> 10 & 63); }

  // Of both, in bits; 0: ask find().
  int length() const noexcept { return static_cast<int>(word_ & 15); }

 private:
  static constexpr std::uint32_t word(Symbol first, int length) noexcept {
    return static_cast<std::uint32_t>(first.value()) << 21 | static_cast<std::uint32_t>(first.advance()) << 4 | static_cast<std::uint32_t>(length);
  }

  std::uint32_t word_ = 0;
};

class AcTable {
 public:
  void build(const HuffmanView& view);
  SymbolPair look(std::uint64_t bits) const noexcept { return pairs_[bits >> (64 - kLookBits)]; }
  Symbol find(std::uint64_t bits) const noexcept { return codes_.find(bits); }

 private:
  static constexpr int kLookBits = 12;  // more would find more pairs, and fall out of the first-level cache

  Codes<kMaxAcSize> codes_{};
  std::array<SymbolPair, 1 << kLookBits> pairs_;
  std::array<SymbolPair, 1 << kLookBits> seconds_;  // [2^n, 2^(n + 1)): what n bits say of a second symbol
};

}  // namespace stoker::jpeg
