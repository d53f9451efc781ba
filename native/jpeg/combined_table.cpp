#include "jpeg/combined_table.hpp"

#include <algorithm>

namespace stoker::jpeg {
namespace {

// The value that `size` bits stand for (T.81, table F.1).
int extended(int bits, int size) noexcept { return size == 0 || bits >> (size - 1) ? bits : bits - (1 << size) + 1; }

template <int kMaxSize>
constexpr bool kIsDc = kMaxSize == kMaxDcSize;

// How many places a symbol goes on, or -1 where it means nothing in a sequential scan.
template <int kMaxSize>
int advance_of(int symbol) noexcept {
  if (kIsDc<kMaxSize>) {
    return symbol <= kMaxSize ? 0 : -1;
  }
  const int size = symbol & 15;
  if (size == 0) {
    return symbol == 0 ? kEndOfBlock : symbol == 0xF0 ? 16 : -1;
  }
  return size <= kMaxSize ? (symbol >> 4) + 1 : -1;
}

template <int kMaxSize>
int size_of(int symbol) noexcept {
  return kIsDc<kMaxSize> ? symbol : symbol & 15;
}

}  // namespace

template <int kMaxSize>
bool Codes<kMaxSize>::build(const HuffmanView& view) {
  if (num_symbols_ && num_symbols_ == view.num_symbols && std::equal(counts_.begin(), counts_.end(), view.counts) &&
      std::equal(view.symbols, view.symbols + view.num_symbols, symbols_.begin())) {
    return false;
  }
  num_symbols_ = 0;
  std::copy_n(view.counts, counts_.size(), counts_.begin());
  std::copy_n(view.symbols, view.num_symbols, symbols_.begin());
  if (kIsDc<kMaxSize> && std::any_of(view.symbols, view.symbols + view.num_symbols, [](int symbol) { return symbol > kMaxSize; })) {
    throw Refused("a Huffman table of differences that are out of range");
  }
  int code = 0;
  int next = 0;
  for (int length = 1; length <= 16; ++length, code <<= 1) {
    offset_[length] = next - code;
    code += counts_[length - 1];
    next += counts_[length - 1];
    if (code > 1 << length) {
      throw Refused("a Huffman table is no prefix code");
    }
    limit_[length] = code << (16 - length);
  }
  num_symbols_ = view.num_symbols;
  return true;
}

template <int kMaxSize>
template <typename Visit>
void Codes<kMaxSize>::each(int most_bits, Visit visit) const {
  int code = 0;
  int next = 0;
  for (int length = 1; length <= most_bits; ++length, code <<= 1) {
    for (int i = 0; i < counts_[length - 1]; ++i, ++code, ++next) {
      const int advance = advance_of<kMaxSize>(symbols_[next]);
      const int size = size_of<kMaxSize>(symbols_[next]);
      const int free_bits = most_bits - length - size;
      if (advance < 0 || free_bits < 0) {
        continue;
      }
      for (int bits = 0; bits < 1 << size; ++bits) {
        visit((code << size | bits) << free_bits, Symbol(extended(bits, size), advance, length + size));
      }
    }
  }
}

template <int kMaxSize>
Symbol Codes<kMaxSize>::find(std::uint64_t bits) const noexcept {
  const int peeked = static_cast<int>(bits >> 48);
  int length = 1;
  while (length <= 16 && peeked >= limit_[length]) {
    ++length;
  }
  if (length > 16) {
    return {};
  }
  const int symbol = symbols_[static_cast<std::size_t>((peeked >> (16 - length)) + offset_[length])];
  const int advance = advance_of<kMaxSize>(symbol);
  const int size = size_of<kMaxSize>(symbol);
  if (advance < 0) {
    return {};
  }
  const int value = size == 0 ? 0 : static_cast<int>(bits << length >> (64 - size));
  return {extended(value, size), advance, length + size};
}

template class Codes<kMaxDcSize>;
template class Codes<kMaxAcSize>;

void DcTable::build(const HuffmanView& view) {
  if (!codes_.build(view)) {
    return;
  }
  entries_.fill({});
  codes_.each(kLookBits, [&](int place, Symbol symbol) {
    std::fill_n(entries_.begin() + place, std::size_t{1} << (kLookBits - symbol.length()), symbol);
  });
}

void AcTable::build(const HuffmanView& view) {
  if (!codes_.build(view)) {
    return;
  }
  seconds_.fill({});
  for (int bits = 1; bits < kLookBits; ++bits) {
    codes_.each(bits, [&](int place, Symbol symbol) {
      if (symbol.value() >= -SymbolPair::kMostSecond && symbol.value() <= SymbolPair::kMostSecond) {
        std::fill_n(seconds_.begin() + (1 << bits) + place, std::size_t{1} << (bits - symbol.length()), SymbolPair::as_second(symbol));
      }
    });
  }
  pairs_.fill({});
  codes_.each(kLookBits, [&](int place, Symbol symbol) {
    const SymbolPair only(symbol);
    const int count = 1 << (kLookBits - symbol.length());
    SymbolPair* pair = pairs_.data() + place;
    const SymbolPair* second = seconds_.data() + count;
    if (symbol.advance() == kEndOfBlock) {
      std::fill_n(pair, count, only);
    } else {
      for (int i = 0; i < count; ++i) {
        pair[i] = only.followed_by(second[i]);
      }
    }
  });
}

}  // namespace stoker::jpeg
