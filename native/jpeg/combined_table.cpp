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

template <int kBits, int kMaxSize>
void CombinedTable<kBits, kMaxSize>::build(const HuffmanView& view) {
  if (num_symbols_ && num_symbols_ == view.num_symbols && std::equal(counts_.begin(), counts_.end(), view.counts) &&
      std::equal(view.symbols, view.symbols + view.num_symbols, symbols_.begin())) {
    return;
  }
  num_symbols_ = 0;
  entries_.fill({});
  std::copy_n(view.counts, counts_.size(), counts_.begin());
  std::copy_n(view.symbols, view.num_symbols, symbols_.begin());
  int code = 0;
  int next = 0;
  for (int length = 1; length <= 16; ++length, code <<= 1) {
    offset_[length] = next - code;
    for (int i = 0; i < counts_[length - 1]; ++i, ++code, ++next) {
      if (code >= 1 << length) {
        throw Refused("a Huffman table is no prefix code");
      }
      if (kIsDc<kMaxSize> && symbols_[next] > kMaxSize) {
        throw Refused("a Huffman table of differences that are out of range");
      }
      if (length <= kBits) {
        fill(code, length, symbols_[next]);
      }
    }
    limit_[length] = code << (16 - length);
  }
  num_symbols_ = view.num_symbols;
}

template <int kBits, int kMaxSize>
void CombinedTable<kBits, kMaxSize>::fill(int code, int length, int symbol) noexcept {
  const int advance = advance_of<kMaxSize>(symbol);
  const int size = size_of<kMaxSize>(symbol);
  const int free_bits = kBits - length - size;
  if (advance < 0 || free_bits < 0) {
    return;
  }
  auto entry = entries_.begin() + (static_cast<std::ptrdiff_t>(code) << (kBits - length));
  for (int bits = 0; bits < 1 << size; ++bits, entry += std::ptrdiff_t{1} << free_bits) {
    std::fill_n(entry, std::size_t{1} << free_bits, Symbol(extended(bits, size), advance, length + size));
  }
}

template <int kBits, int kMaxSize>
Symbol CombinedTable<kBits, kMaxSize>::find(std::uint64_t bits) const noexcept {
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

template class CombinedTable<10, kMaxDcSize>;
template class CombinedTable<12, kMaxAcSize>;

}  // namespace stoker::jpeg
