#include "jpeg/huffman.hpp"

#include <algorithm>
#include <numeric>
#include <queue>
#include <utility>

namespace stoker::jpeg {

DecodingTable::DecodingTable(const HuffmanSpec& spec) : symbols_(spec.symbols) {
  std::int32_t code = 0;
  std::size_t next = 0;
  for (int length = 1; length <= 16; ++length) {
    offset_[length] = static_cast<std::int32_t>(next) - code;
    for (int i = 0; i < spec.counts[length]; ++i, ++code, ++next) {
      if (code >= (1 << length) || next >= symbols_.size()) {
        throw Refused("a Huffman table is no prefix code");
      }
      if (length <= kFastBits) {
        const int first = code << (kFastBits - length);
        std::fill_n(fast_.begin() + first, 1 << (kFastBits - length), Entry{symbols_[next], static_cast<std::uint8_t>(length)});
      }
    }
    limit_[length] = code << (16 - length);
    code <<= 1;
  }
}

DecodingTable::Entry DecodingTable::find_long(std::uint32_t peeked) const noexcept {
  for (int length = kFastBits + 1; length <= 16; ++length) {
    if (static_cast<std::int32_t>(peeked) < limit_[length]) {
      const std::size_t index = static_cast<std::size_t>((static_cast<std::int32_t>(peeked) >> (16 - length)) + offset_[length]);
      return index < symbols_.size() ? Entry{symbols_[index], static_cast<std::uint8_t>(length)} : Entry{0, 0};
    }
  }
  return {0, 0};
}

EncodingTable::EncodingTable(const HuffmanSpec& spec) {
  std::uint32_t next_code = 0;
  std::size_t next = 0;
  for (int bits = 1; bits <= 16; ++bits, next_code <<= 1) {
    for (int i = 0; i < spec.counts[bits]; ++i, ++next_code, ++next) {
      code[spec.symbols[next]] = static_cast<std::uint16_t>(next_code);
      length[spec.symbols[next]] = static_cast<std::uint8_t>(bits);
    }
  }
}

HuffmanSpec optimal_table(const std::array<std::uint32_t, 256>& frequencies) {
  constexpr int kReserved = 256;  // a symbol that nobody writes takes the code of ones alone
  struct Node {
    std::uint64_t weight;
    int left, right;
  };
  std::vector<Node> nodes;
  std::vector<int> symbol_of;
  using Item = std::pair<std::uint64_t, int>;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> heap;
  const auto add_leaf = [&](int symbol, std::uint64_t weight) {
    symbol_of.push_back(symbol);
    nodes.push_back({weight, -1, -1});
    heap.emplace(weight, static_cast<int>(nodes.size()) - 1);
  };
  add_leaf(kReserved, 0);
  for (int symbol = 0; symbol < 256; ++symbol) {
    if (frequencies[symbol]) {
      add_leaf(symbol, frequencies[symbol]);
    }
  }
  if (nodes.size() == 1) {
    add_leaf(0, 1);  // a scan without a symbol still names a table
  }
  const int num_leaves = static_cast<int>(nodes.size());
  while (heap.size() > 1) {
    const auto [a_weight, a] = heap.top();
    heap.pop();
    const auto [b_weight, b] = heap.top();
    heap.pop();
    nodes.push_back({a_weight + b_weight, a, b});
    heap.emplace(a_weight + b_weight, static_cast<int>(nodes.size()) - 1);
  }
  std::vector<int> depth(nodes.size(), 0);
  std::array<int, 300> counts{};
  for (int node = static_cast<int>(nodes.size()) - 1; node >= 0; --node) {
    if (nodes[node].left >= 0) {
      depth[nodes[node].left] = depth[nodes[node].right] = depth[node] + 1;
    } else {
      ++counts[depth[node]];
    }
  }
  for (int length = 299; length > 16; --length) {  // figure K.3: pairs that are too deep move up
    while (counts[length] > 0) {
      int shorter = length - 2;
      while (counts[shorter] == 0) {
        --shorter;
      }
      counts[length] -= 2;
      ++counts[length - 1];
      counts[shorter + 1] += 2;
      --counts[shorter];
    }
  }
  int longest = 16;
  while (counts[longest] == 0) {
    --longest;
  }
  --counts[longest];  // the reserved one

  std::vector<int> leaves(static_cast<std::size_t>(num_leaves - 1));
  std::iota(leaves.begin(), leaves.end(), 1);
  std::stable_sort(leaves.begin(), leaves.end(), [&](int a, int b) { return nodes[a].weight > nodes[b].weight; });
  HuffmanSpec spec;
  for (int length = 1; length <= 16; ++length) {
    spec.counts[length] = static_cast<std::uint8_t>(counts[length]);
  }
  for (const int leaf : leaves) {
    spec.symbols.push_back(static_cast<std::uint8_t>(symbol_of[leaf]));
  }
  return spec;
}

}  // namespace stoker::jpeg
