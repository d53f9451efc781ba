#include "jpeg/entropy_decode.hpp"

#include <optional>

namespace stoker::jpeg {
namespace {

constexpr int kMaxDcBits = 11;  // of 8-bit samples; anything beyond is damage
constexpr int kMaxAcBits = 10;

// Bits of one restart segment after another. Past a segment's end it yields zeros and remembers that it did.
class BitReader {
 public:
  explicit BitReader(Bytes data) : data_(data) {}

  std::uint32_t peek16() noexcept {
    if (count_ < 16) {
      fill();
    }
    return static_cast<std::uint32_t>(bits_ >> (count_ - 16)) & 0xFFFF;
  }

  void skip(int count) noexcept { count_ -= count; }

  std::uint32_t take(int count) noexcept {
    if (count_ < count) {
      fill();
    }
    count_ -= count;
    return static_cast<std::uint32_t>(bits_ >> count_) & ((1U << count) - 1);
  }

  void check() const {
    if (count_ < invented_) {
      throw Refused("entropy-coded data ends too early");
    }
  }

  // Goes past the next restart marker, which must be number `expected`, and nothing but less than a byte of padding before it.
  void restart(int expected) {
    check();
    if (count_ - invented_ >= 8 || position_ + 2 > data_.size() || data_[position_] != 0xFF || data_[position_ + 1] != 0xD0 + expected) {
      throw Refused("a restart marker is missing");
    }
    position_ += 2;
    count_ = invented_ = 0;
  }

  void finish() const {
    check();
    if (count_ - invented_ >= 8 || position_ != data_.size()) {
      throw Refused("entropy-coded data goes on after its end");
    }
  }

 private:
  void fill() noexcept {
    while (count_ <= 48) {
      std::uint8_t next = 0;
      if (position_ < data_.size() && data_[position_] != 0xFF) {
        next = data_[position_++];
      } else if (position_ + 1 < data_.size() && data_[position_ + 1] == 0) {
        next = 0xFF;
        position_ += 2;
      } else {
        invented_ += 8;
      }
      bits_ = bits_ << 8 | next;
      count_ += 8;
    }
  }

  Bytes data_;
  std::size_t position_ = 0;
  std::uint64_t bits_ = 0;
  int count_ = 0;     // bits that wait in bits_
  int invented_ = 0;  // of those, zeros that the data does not have
};

int extended(std::uint32_t bits, int count) noexcept {
  return count == 0 ? 0 : static_cast<int>(bits) - (bits < (1U << (count - 1)) ? (1 << count) - 1 : 0);
}

class ScanDecoder {
 public:
  ScanDecoder(Picture& picture, const Scan& scan, bool progressive)
      : picture_(picture), scan_(scan), progressive_(progressive), reader_(scan.data) {
    for (const ScanComponent& component : scan.components) {
      const bool reads_dc = scan.spectral_start == 0 && scan.approx_high == 0;
      dc_.push_back(reads_dc ? table(scan.dc_tables[component.dc_table]) : std::nullopt);
      ac_.push_back(scan.spectral_end > 0 ? table(scan.ac_tables[component.ac_table]) : std::nullopt);
    }
  }

  void run() {
    const bool alone = scan_.components.size() == 1;
    Component& first = picture_.components[scan_.components[0].index];
    const int wide = alone ? first.blocks_wide : picture_.mcus_wide;
    const int high = alone ? first.blocks_high : picture_.mcus_high;
    int left = scan_.restart_interval;
    int restarts = 0;
    for (int row = 0; row < high; ++row) {
      for (int column = 0; column < wide; ++column) {
        if (scan_.restart_interval && left == 0) {
          reader_.restart(restarts++ & 7);
          predicted_ = {};
          end_of_band_ = 0;
          left = scan_.restart_interval;
        }
        --left;
        if (alone) {
          decode(first.block(row, column), 0);
        } else {
          decode_mcu(row, column);
        }
        reader_.check();
      }
    }
    if (end_of_band_) {
      throw Refused("a band goes on after the scan's end");
    }
    reader_.finish();
  }

 private:
  static std::optional<DecodingTable> table(const std::optional<HuffmanSpec>& spec) {
    if (!spec) {
      throw Refused("a scan names a Huffman table that there is not");
    }
    return DecodingTable(*spec);
  }

  void decode_mcu(int row, int column) {
    for (std::size_t slot = 0; slot < scan_.components.size(); ++slot) {
      Component& component = picture_.components[scan_.components[slot].index];
      for (int v = 0; v < component.vertical; ++v) {
        for (int h = 0; h < component.horizontal; ++h) {
          decode(component.block(row * component.vertical + v, column * component.horizontal + h), slot);
        }
      }
    }
  }

  void decode(Block& block, std::size_t slot) {
    if (!progressive_) {
      dc_first(block, slot);
      ac_sequential(block, *ac_[slot]);
    } else if (scan_.spectral_start == 0) {
      if (scan_.approx_high == 0) {
        dc_first(block, slot);
      } else if (reader_.take(1)) {
        block[0] = static_cast<std::int16_t>(block[0] | 1 << scan_.approx_low);
      }
    } else if (scan_.approx_high == 0) {
      ac_first(block, *ac_[slot]);
    } else {
      ac_refine(block, *ac_[slot]);
    }
  }

  int symbol(const DecodingTable& table) {
    const DecodingTable::Entry entry = table.find(reader_.peek16());
    if (entry.length == 0) {
      throw Refused("a code that is in no Huffman table");
    }
    reader_.skip(entry.length);
    return entry.symbol;
  }

  int value(int count, int most) {
    if (count > most) {
      throw Refused("a coefficient out of range");
    }
    return extended(reader_.take(count), count);
  }

  void dc_first(Block& block, std::size_t slot) {
    int& predicted = predicted_[slot];
    predicted += value(symbol(*dc_[slot]), kMaxDcBits);
    if (predicted < -(1 << kMaxDcBits) || predicted >= 1 << kMaxDcBits) {
      throw Refused("a coefficient out of range");
    }
    block[0] = static_cast<std::int16_t>(predicted * (1 << scan_.approx_low));
  }

  void ac_sequential(Block& block, const DecodingTable& table) {
    for (int k = 1; k < kBlockSize; ++k) {
      const int coded = symbol(table);
      const int size = coded & 15;
      if (size == 0) {
        if (coded != 0xF0) {
          if (coded != 0) {
            throw Refused("a code that means nothing in a sequential file");
          }
          return;
        }
        k += 15;
        continue;
      }
      k = past(k, coded >> 4, kBlockSize - 1);
      block[k] = static_cast<std::int16_t>(value(size, kMaxAcBits));
    }
  }

  static int past(int k, int run, int last) {
    if (k + run > last) {
      throw Refused("a run of zeros goes past its block");
    }
    return k + run;
  }

  void begin_band(int run) {
    end_of_band_ = (1 << run) - 1 + static_cast<int>(reader_.take(run));
  }

  void ac_first(Block& block, const DecodingTable& table) {
    if (end_of_band_) {
      --end_of_band_;
      return;
    }
    for (int k = scan_.spectral_start; k <= scan_.spectral_end; ++k) {
      const int coded = symbol(table);
      const int run = coded >> 4;
      const int size = coded & 15;
      if (size == 0 && run < 15) {
        begin_band(run);
        return;
      }
      if (size == 0) {
        k += 15;
        continue;
      }
      k = past(k, run, scan_.spectral_end);
      block[k] = static_cast<std::int16_t>(value(size, kMaxAcBits) * (1 << scan_.approx_low));
    }
  }

  // Reads a correction bit for a coefficient that is known already not to be zero.
  void correct(std::int16_t& coefficient) {
    const int step = 1 << scan_.approx_low;
    if (reader_.take(1) && ((coefficient < 0 ? -coefficient : coefficient) & step) == 0) {
      coefficient = static_cast<std::int16_t>(coefficient + (coefficient < 0 ? -step : step));
    }
  }

  void ac_refine(Block& block, const DecodingTable& table) {
    int k = scan_.spectral_start;
    if (end_of_band_ == 0) {
      for (; k <= scan_.spectral_end; ++k) {
        const int coded = symbol(table);
        int run = coded >> 4;
        const int size = coded & 15;
        int fresh = 0;
        if (size > 1) {
          throw Refused("a code that means nothing in a refinement");
        }
        if (size == 1) {
          fresh = reader_.take(1) ? 1 << scan_.approx_low : -(1 << scan_.approx_low);
        } else if (run < 15) {
          begin_band(run);
          ++end_of_band_;  // this block's rest is part of it
          break;
        }
        for (; k <= scan_.spectral_end; ++k) {
          if (block[k]) {
            correct(block[k]);
          } else if (run-- == 0) {
            break;
          }
        }
        if (fresh) {
          if (k > scan_.spectral_end) {
            throw Refused("a run of zeros goes past its band");
          }
          block[k] = static_cast<std::int16_t>(fresh);
        }
      }
    }
    if (end_of_band_) {
      for (; k <= scan_.spectral_end; ++k) {
        if (block[k]) {
          correct(block[k]);
        }
      }
      --end_of_band_;
    }
  }

  Picture& picture_;
  const Scan& scan_;
  bool progressive_;
  BitReader reader_;
  std::vector<std::optional<DecodingTable>> dc_{};
  std::vector<std::optional<DecodingTable>> ac_{};
  std::array<int, 4> predicted_{};
  int end_of_band_ = 0;  // blocks whose band is known to be zero from here on
};

// How exact each coefficient is known: the bit position reached, or -1 before its first scan. Checks each scan against it.
class Coverage {
 public:
  explicit Coverage(std::size_t num_components) : reached_(num_components) {
    for (auto& component : reached_) {
      component.fill(-1);
    }
  }

  void add(const Scan& scan, bool progressive) {
    if (scan.spectral_start > scan.spectral_end || scan.spectral_end >= kBlockSize || scan.approx_low > 13) {
      throw Refused("a scan out of range");
    }
    if (!progressive && (scan.spectral_start != 0 || scan.spectral_end != kBlockSize - 1 || scan.approx_high || scan.approx_low)) {
      throw Refused("a progressive scan in a sequential file");
    }
    if (progressive && ((scan.spectral_start == 0) != (scan.spectral_end == 0) || (scan.spectral_start > 0 && scan.components.size() > 1))) {
      throw Refused("a progressive scan of the wrong shape");
    }
    for (const ScanComponent& component : scan.components) {
      for (int k = scan.spectral_start; k <= scan.spectral_end; ++k) {
        int& reached = reached_[component.index][k];
        const bool first = scan.approx_high == 0;
        if (first ? reached != -1 : (reached != scan.approx_high || scan.approx_low != scan.approx_high - 1)) {
          throw Refused("scans that do not follow from each other");
        }
        reached = scan.approx_low;
      }
    }
  }

  void finish() const {
    for (const auto& component : reached_) {
      for (const int reached : component) {
        if (reached != 0) {
          throw Refused("coefficients that no scan completes");
        }
      }
    }
  }

 private:
  std::vector<std::array<int, kBlockSize>> reached_;
};

}  // namespace

void decode_scans(ParsedFile& file) {
  Coverage coverage(file.picture.components.size());
  for (const Scan& scan : file.scans) {
    coverage.add(scan, file.progressive);
  }
  coverage.finish();
  for (const Scan& scan : file.scans) {
    int per_mcu = 0;
    for (const ScanComponent& component : scan.components) {
      const Component& known = file.picture.components[component.index];
      per_mcu += known.horizontal * known.vertical;
    }
    if (scan.components.size() > 1 && per_mcu > 10) {
      throw Refused("more than ten blocks in an MCU");
    }
    ScanDecoder(file.picture, scan, file.progressive).run();
  }
}

}  // namespace stoker::jpeg
