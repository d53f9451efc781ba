// From entropy-coded data to a crop's pixels, compiled once for each set of instructions: the file that includes this says by
// STOKER_DECODE_CROP what the function is to be called there. No include guard: included where it is compiled, and nowhere else.
#include "jpeg/colour_kernels.hpp"
#include "jpeg/crop_scratch.hpp"
#include "jpeg/idct_kernels.hpp"

namespace stoker::jpeg {
namespace {

constexpr int kPastEnd = kBlockSize;  // where a block's buffer takes what is not a coefficient

// Where the coefficient of each place in zigzag order goes; places that a damaged block, or the symbol of a block's end, leads to go
// to kPastEnd.
constexpr auto kPlaces = [] {
  std::array<std::uint8_t, 64 + 16 + kEndOfBlock> places{};  // a run from the last place on, then the end
  places.fill(kPastEnd);
  for (int row = 0, column = 0, up = 1, k = 0; k < kBlockSize; ++k) {
    places[static_cast<std::size_t>(k)] = static_cast<std::uint8_t>(8 * row + column);
    if (up ? (row == 0 || column == 7) : (column == 0 || row == 7)) {
      (up ? column == 7 : row != 7) ? ++row : ++column;
      up = !up;
    } else {
      row += up ? -1 : 1;
      column += up ? 1 : -1;
    }
  }
  return places;
}();

// Reads one block; with kStored its coefficients are put into `block`, which is all zeros. Returns the last coefficient's place in
// zigzag order, or -1 for damage.
template <bool kStored>
inline int decode_block(Bits& kept_bits, const DcTable& dc, const AcTable& ac, int& predicted, std::int16_t* block) {
  Bits bits = kept_bits;  // in registers: nobody else sees this copy
  bits.refill();
  Symbol symbol = dc.look(bits.buffer);
  if (symbol.length() == 0) [[unlikely]] {
    symbol = dc.find(bits.buffer);
  }
  bits.skip(symbol.length());
  predicted += symbol.value();
  if (symbol.length() == 0 || predicted < -2048 || predicted > 2047) [[unlikely]] {
    return -1;
  }
  if constexpr (kStored) block[0] = static_cast<std::int16_t>(predicted);
  SymbolPair pair;
  std::uint64_t before = 0;  // the last look
  int k = 0;                 // the place reached
  int first = 0;             // the place that the last look's first symbol led to
  do {
    bits.refill();
    for (int i = 0; i < 4; ++i) {  // as many looks as a refill is good for
      before = bits.buffer;
      pair = ac.look(bits.buffer);
      int length = pair.length();
      if (length == 0) [[unlikely]] {
        bits.refill();
        const Symbol rare = ac.find(bits.buffer);
        length = rare.length();
        if (length == 0) return -1;
        pair = SymbolPair(rare);
        i = 4;
      }
      bits.skip(length);
      first = k + pair.first_advance();
      k = first + pair.second_advance();
      if constexpr (kStored) {
        block[kPlaces[static_cast<std::size_t>(k)]] = static_cast<std::int16_t>(pair.second_value());
        block[kPlaces[static_cast<std::size_t>(first)]] = static_cast<std::int16_t>(pair.first_value());  // the same place, of one symbol
      }
      if (k >= kBlockSize - 1) break;
    }
  } while (k < kBlockSize - 1);
  if (pair.first_advance() == kEndOfBlock) {
    first -= kEndOfBlock;
  } else if (first == kBlockSize - 1 && pair.second_advance()) {  // the block is full: the second symbol is the next block's
    const int length = ac.find(before).length();
    bits.buffer = before << length;
    bits.count += pair.length() - length;
  } else if (first < kBlockSize - 1 && pair.second_advance() != kEndOfBlock) {
    first = k;
  }
  kept_bits = bits;
  return first < kBlockSize ? first : -1;
}

// A plain memset of this size becomes a slow string instruction.
inline void clear(std::int16_t* block) {
  for (int row = 0; row < kBlockSide; ++row) std::memset(block + kBlockSide * row, 0, kBlockSide * sizeof *block);
}

void inverse_transform(int side, int last, const std::int16_t* block, const std::int16_t* quant, std::uint8_t* out, std::size_t stride) {
  if (side == 8) {
    if (last == 0) {
      fill_block(flat_level(block[0], quant[0]), out, stride);
    } else {
      idct8(block, quant, out, stride);
    }
  } else if (side == 4) {
    idct4(block, quant, out, stride);
  } else if (side == 2) {
    idct2(block, quant, out, stride);
  } else {
    idct1(block, quant, out, stride);
  }
}

class ScanDecoder {
 public:
  ScanDecoder(const BaselineHeader& header, const CropPlan& plan, CropScratch& scratch)
      : header_(header), plan_(plan), scratch_(scratch), segments_(scratch.segments) {}

  // Reads the restart segments that hold wanted MCUs, up to the last of these.
  void run(Bytes file) {
    const int total = header_.mcus_wide * header_.mcus_high;
    const int interval = header_.restart_interval ? header_.restart_interval : total;
    segments_.open(file, header_.scan_start);
    for (int number = 0, start = 0;; ++number) {
      const int end = interval < total - start ? start + interval : total;
      if (next_wanted(start) < end) {
        decode_segment(start, last_wanted(end - 1) + 1, end);
      }
      if (next_wanted(end) >= total) {
        return;
      }
      segments_.skip();
      segments_.pass_restart(number);
      start = end;
    }
  }

 private:
  // The first wanted MCU from `mcu` on; the number of MCUs where there is none.
  int next_wanted(int mcu) const {
    const int wide = header_.mcus_wide, column = mcu % wide;
    int row = mcu / wide;
    const Span rows = plan_.mcu_rows, columns = plan_.mcu_columns;
    if (row >= rows.first && column >= columns.last) ++row;
    if (row >= rows.last) return wide * header_.mcus_high;
    if (row < rows.first) return rows.first * wide + columns.first;
    return row * wide + (row * wide + columns.first > mcu ? columns.first : column);
  }

  // The last wanted one up to `mcu`, where there is one.
  int last_wanted(int mcu) const {
    const int wide = header_.mcus_wide, column = mcu % wide;
    int row = mcu / wide;
    const Span rows = plan_.mcu_rows, columns = plan_.mcu_columns;
    if (row >= rows.last) return (rows.last - 1) * wide + columns.last - 1;
    if (column < columns.first) return (row - 1) * wide + columns.last - 1;
    return row * wide + std::min(column, columns.last - 1);
  }

  // MCUs [start, stop) of a segment that ends with `end`.
  void decode_segment(int start, int stop, int end) {
    Bits bits = segments_.begin();
    int predicted[3] = {};
    int row = start / header_.mcus_wide, column = start % header_.mcus_wide;
    for (int mcu = start; mcu < stop; ++mcu) {
      const bool is_wanted = plan_.mcu_rows.holds(row) && plan_.mcu_columns.holds(column);
      if (!segments_.prepare(bits) ||
          !(is_wanted ? decode_mcu<true>(bits, predicted, row, column) : decode_mcu<false>(bits, predicted, row, column))) {
        throw Refused("entropy-coded data is damaged");
      }
      if (++column == header_.mcus_wide) {
        column = 0;
        ++row;
      }
    }
    if (stop == end) {
      segments_.finish(bits);
    }
    if (!segments_.prepare(bits)) {
      throw Refused("entropy-coded data ends too early");
    }
    if (end == header_.mcus_wide * header_.mcus_high && stop == end && !segments_.at_end_of_image()) {
      throw Refused("something follows the scan");
    }
  }

  template <bool kStored>
  bool decode_mcu(Bits& bits, int* predicted, int row, int column) {
    for (int i = 0; i < header_.num_components; ++i) {
      const BaselineComponent& component = header_.components[i];
      const Plane& plane = plan_.planes[i];
      const std::size_t side = static_cast<std::size_t>(plane.block_side);
      const DcTable& dc = scratch_.dc_tables[component.dc_table];
      const AcTable& ac = scratch_.ac_tables[component.ac_table];
      for (int v = 0; v < component.vertical; ++v) {
        for (int h = 0; h < component.horizontal; ++h) {
          const int last = decode_block<kStored>(bits, dc, ac, predicted[i], block_.data());
          if (last < 0) return false;
          if constexpr (kStored) {
            const std::size_t block_row = static_cast<std::size_t>((row - plan_.mcu_rows.first) * component.vertical + v);
            const std::size_t block_column = static_cast<std::size_t>((column - plan_.mcu_columns.first) * component.horizontal + h);
            inverse_transform(plane.block_side, last, block_.data(), header_.quants[component.quant].data(),
                              plane.samples + block_row * side * plane.stride + block_column * side, plane.stride);
            clear(block_.data());
          }
        }
      }
    }
    return true;
  }

  const BaselineHeader& header_;
  const CropPlan& plan_;
  CropScratch& scratch_;
  SegmentReader& segments_;
  alignas(32) std::array<std::int16_t, kBlockSize + 1> block_{};
};

void make_pixels(const BaselineHeader& header, const CropPlan& plan, CropScratch& scratch) {
  const std::size_t stride = 3 * static_cast<std::size_t>(plan.box.width);
  std::uint16_t* sums = scratch.sums.data() + 1;
  for (int y = 0; y < plan.box.height; ++y) {
    std::uint8_t* out = scratch.pixels.data() + stride * static_cast<std::size_t>(y);
    const int row = plan.box.top + y;
    const std::uint8_t* luma = plan.planes[0].at(row, plan.box.left);
    if (header.num_components == 1) {
      grey_to_rgb(luma, plan.box.width, out);
    } else {
      const std::uint8_t* cb = colour_row(plan, plan.planes[1], row, sums, scratch.colour[0].data());
      const std::uint8_t* cr = colour_row(plan, plan.planes[2], row, sums, scratch.colour[1].data());
      to_rgb(luma, cb, cr, plan.box.width, out);
    }
  }
}

}  // namespace

void STOKER_DECODE_CROP(Bytes file, const BaselineHeader& header, const CropPlan& plan, CropScratch& scratch) {
  ScanDecoder(header, plan, scratch).run(file);
  make_pixels(header, plan, scratch);
}

}  // namespace stoker::jpeg
