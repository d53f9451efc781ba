#include "jpeg/encode.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "jpeg/huffman.hpp"

namespace stoker::jpeg {
namespace {

using Frequencies = std::array<std::uint32_t, 256>;

int num_bits(int value) noexcept { return std::bit_width(static_cast<unsigned>(value < 0 ? -value : value)); }

// A bit for each coefficient that is not zero; most of them are.
std::uint64_t nonzero(const Block& block) noexcept {
  std::uint64_t found = 0;
#if defined(__SSE2__)
  for (int k = 0; k < kBlockSize; k += 16) {
    const auto* at = reinterpret_cast<const __m128i*>(block.data() + k);
    const __m128i zeros = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_loadu_si128(at), _mm_setzero_si128()),
                                          _mm_cmpeq_epi16(_mm_loadu_si128(at + 1), _mm_setzero_si128()));
    found |= static_cast<std::uint64_t>(~_mm_movemask_epi8(zeros) & 0xFFFF) << k;
  }
#else
  for (int k = 0; k < kBlockSize; ++k) {
    found |= static_cast<std::uint64_t>(block[k] != 0) << k;
  }
#endif
  return found;
}

// The symbols and magnitude bits of a block, handed to `sink(is_ac, symbol, bits, num_bits)` in order.
template <typename Sink>
void walk_block(const Block& block, int predicted, Sink&& sink) {
  const auto bits_of = [](int value, int count) { return static_cast<std::uint32_t>(value < 0 ? value + (1 << count) - 1 : value); };
  const int difference = block[0] - predicted;
  const int dc_bits = num_bits(difference);
  if (dc_bits > 11) {
    throw Refused("a coefficient out of range");
  }
  sink(false, dc_bits, bits_of(difference, dc_bits), dc_bits);
  int last = 0;
  for (std::uint64_t left = nonzero(block) & ~std::uint64_t{1}; left; left &= left - 1) {
    const int k = std::countr_zero(left);
    int run = k - last - 1;
    for (; run > 15; run -= 16) {
      sink(true, 0xF0, 0U, 0);
    }
    const int value = block[k];
    const int size = num_bits(value);
    if (size > 10) {
      throw Refused("a coefficient out of range");
    }
    sink(true, run << 4 | size, bits_of(value, size), size);
    last = k;
  }
  if (last != kBlockSize - 1) {
    sink(true, 0, 0U, 0);
  }
}

// Every block in the order of an interleaved scan: `on_restart()` between segments, `on_block(component, block, predicted)`.
template <typename OnRestart, typename OnBlock>
void walk_scan(const Picture& picture, int restart_interval, OnRestart&& on_restart, OnBlock&& on_block) {
  std::array<int, 4> predicted{};
  const int num_mcus = picture.mcus_wide * picture.mcus_high;
  for (int mcu = 0; mcu < num_mcus; ++mcu) {
    if (mcu && mcu % restart_interval == 0) {
      on_restart(mcu / restart_interval - 1);
      predicted = {};
    }
    const int row = mcu / picture.mcus_wide;
    const int column = mcu % picture.mcus_wide;
    for (std::size_t index = 0; index < picture.components.size(); ++index) {
      const Component& component = picture.components[index];
      for (int v = 0; v < component.vertical; ++v) {
        for (int h = 0; h < component.horizontal; ++h) {
          const Block& block = component.block(row * component.vertical + v, column * component.horizontal + h);
          on_block(index, block, predicted[index]);
          predicted[index] = block[0];
        }
      }
    }
  }
}

class Writer {
 public:
  void byte(int value) { out.push_back(static_cast<std::uint8_t>(value)); }

  void word(int value) {
    byte(value >> 8);
    byte(value & 0xFF);
  }

  void marker(int value) {
    byte(0xFF);
    byte(value);
  }

  void bits(std::uint32_t value, int count) {  // at most 27
    pending_ = pending_ << count | value;
    num_pending_ += count;
    if (num_pending_ >= 32) {
      num_pending_ -= 32;
      four_bytes(static_cast<std::uint32_t>(pending_ >> num_pending_));
    }
  }

  void pad() {  // with ones, as the standard recommends
    while (num_pending_ > 0) {
      const std::uint64_t filled = num_pending_ < 8 ? (pending_ << (8 - num_pending_)) | ((1U << (8 - num_pending_)) - 1) : pending_ >> (num_pending_ - 8);
      stuffed(static_cast<std::uint8_t>(filled));
      num_pending_ -= 8;
    }
    num_pending_ = 0;
  }

  std::vector<std::uint8_t> out{};

 private:
  void four_bytes(std::uint32_t value) {
    const std::uint32_t inverted = ~value;
    if ((((inverted - 0x01010101U) & value) & 0x80808080U) == 0) {  // none of them is 0xFF
      const std::uint8_t bytes[4] = {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
                                     static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
      const std::size_t end = out.size();
      out.resize(end + 4);
      std::memcpy(out.data() + end, bytes, 4);
      return;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
      stuffed(static_cast<std::uint8_t>(value >> shift));
    }
  }

  void stuffed(std::uint8_t value) {
    out.push_back(value);
    if (value == 0xFF) {
      out.push_back(0);
    }
  }

  std::uint64_t pending_ = 0;  // the last `num_pending_` bits are not written yet
  int num_pending_ = 0;        // below 32 between calls
};

void fill_edges(Picture& picture) {
  for (Component& component : picture.components) {
    for (int row = 0; row < component.rows; ++row) {
      for (int column = row < component.blocks_high ? component.blocks_wide : 0; column < component.stride; ++column) {
        Block cheap{};
        cheap[0] = column ? component.block(row, column - 1)[0] : component.block(row - 1, component.stride - 1)[0];
        component.block(row, column) = cheap;
      }
    }
  }
}

void write_header(Writer& writer, const Picture& picture, const std::array<HuffmanSpec, 4>& tables, int num_classes, int restart_interval) {
  writer.marker(0xD8);
  for (const Bytes segment : picture.metadata) {
    writer.out.insert(writer.out.end(), segment.begin(), segment.end());
  }
  bool is_baseline = true;
  for (int id = 0; id < 4; ++id) {
    const bool used = std::any_of(picture.components.begin(), picture.components.end(), [&](const Component& c) { return c.quant == id; });
    if (!used) {
      continue;
    }
    if (!picture.quants[id]) {
      throw Refused("a quantisation table is missing");
    }
    const QuantTable& table = *picture.quants[id];
    const bool is_wide = std::any_of(table.begin(), table.end(), [](std::uint16_t value) { return value > 255; });
    is_baseline = is_baseline && !is_wide;
    writer.marker(0xDB);
    writer.word(3 + kBlockSize * (is_wide ? 2 : 1));
    writer.byte((is_wide ? 16 : 0) | id);
    for (const std::uint16_t value : table) {
      is_wide ? writer.word(value) : writer.byte(value);
    }
  }
  const int count = static_cast<int>(picture.components.size());
  writer.marker(is_baseline ? 0xC0 : 0xC1);
  writer.word(8 + 3 * count);
  writer.byte(8);
  writer.word(picture.height);
  writer.word(picture.width);
  writer.byte(count);
  for (const Component& component : picture.components) {
    writer.byte(component.id);
    writer.byte(component.horizontal << 4 | component.vertical);
    writer.byte(component.quant);
  }
  for (int number = 0; number < 2 * num_classes; ++number) {
    const HuffmanSpec& spec = tables[number];
    writer.marker(0xC4);
    writer.word(19 + static_cast<int>(spec.symbols.size()));
    writer.byte((number & 1) << 4 | number >> 1);
    for (int length = 1; length <= 16; ++length) {
      writer.byte(spec.counts[length]);
    }
    writer.out.insert(writer.out.end(), spec.symbols.begin(), spec.symbols.end());
  }
  writer.marker(0xDD);
  writer.word(4);
  writer.word(restart_interval);
  writer.marker(0xDA);
  writer.word(6 + 2 * count);
  writer.byte(count);
  for (int index = 0; index < count; ++index) {
    writer.byte(picture.components[index].id);
    writer.byte(index ? 0x11 : 0);
  }
  writer.byte(0);
  writer.byte(kBlockSize - 1);
  writer.byte(0);
}

}  // namespace

std::vector<std::uint8_t> encode(Picture& picture, int restart_interval) {
  fill_edges(picture);
  std::array<Frequencies, 4> frequencies{};  // DC and AC of luminance, DC and AC of colour
  const auto class_of = [](std::size_t index) { return index ? 2U : 0U; };
  walk_scan(picture, restart_interval, [](int) {}, [&](std::size_t index, const Block& block, int predicted) {
    walk_block(block, predicted, [&](bool is_ac, int symbol, std::uint32_t, int) { ++frequencies[class_of(index) + is_ac][symbol]; });
  });
  std::array<HuffmanSpec, 4> specs;
  std::vector<EncodingTable> tables;
  const int num_classes = picture.components.size() > 1 ? 2 : 1;
  for (int number = 0; number < 2 * num_classes; ++number) {
    specs[number] = optimal_table(frequencies[number]);
    tables.emplace_back(specs[number]);
  }
  Writer writer;
  write_header(writer, picture, specs, num_classes, restart_interval);
  const auto on_restart = [&](int number) {
    writer.pad();
    writer.marker(0xD0 + (number & 7));
  };
  walk_scan(picture, restart_interval, on_restart, [&](std::size_t index, const Block& block, int predicted) {
    walk_block(block, predicted, [&](bool is_ac, int symbol, std::uint32_t bits, int count) {
      const EncodingTable& table = tables[class_of(index) + is_ac];
      writer.bits(static_cast<std::uint32_t>(table.code[symbol]) << count | bits, table.length[symbol] + count);
    });
  });
  writer.pad();
  writer.marker(0xD9);
  return std::move(writer.out);
}

int tile_width(int mcus_wide, int wanted) {
  int best = mcus_wide;
  const auto distance = [&](int width) { return width > wanted ? static_cast<double>(width) / wanted : static_cast<double>(wanted) / width; };
  for (int width = mcus_wide; width >= 1; --width) {
    if (mcus_wide % width == 0 && distance(width) < distance(best)) {
      best = width;
    }
  }
  return best;
}

}  // namespace stoker::jpeg
