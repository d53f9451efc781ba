#include "jpeg/markers.hpp"

#include <algorithm>

namespace stoker::jpeg {
namespace {

// The contents of one segment.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}

  bool done() const { return position_ == bytes_.size(); }

  int byte() {
    if (position_ >= bytes_.size()) {
      throw Refused("a segment is shorter than what it holds");
    }
    return bytes_[position_++];
  }

  int word() {
    const int high = byte();
    return high << 8 | byte();
  }

 private:
  Bytes bytes_;
  std::size_t position_ = 0;
};

int ceil_div(int a, int b) { return (a + b - 1) / b; }

class Parser {
 public:
  explicit Parser(Bytes file) : file_(file) {}

  ParsedFile run() {
    if (file_.size() < 4 || file_[0] != 0xFF || file_[1] != kSOI) {
      throw Refused("no JPEG");
    }
    position_ = 2;
    while (true) {
      const int marker = next_marker();
      if (marker == kEOI) {
        break;
      }
      segment(marker);
    }
    if (parsed_.scans.empty()) {
      throw Refused("no scan");
    }
    return std::move(parsed_);
  }

 private:
  int next_marker() {
    if (position_ + 2 > file_.size() || file_[position_] != 0xFF) {
      throw Refused("a marker is missing: damaged, or cut off");
    }
    while (position_ < file_.size() && file_[position_] == 0xFF) {
      ++position_;
    }
    if (position_ >= file_.size()) {
      throw Refused("cut off");
    }
    return file_[position_++];
  }

  void segment(int marker) {
    const std::size_t start = position_;
    if (start + 2 > file_.size()) {
      throw Refused("cut off");
    }
    const std::size_t length = static_cast<std::size_t>(file_[start]) << 8 | file_[start + 1];
    if (length < 2 || start + length > file_.size()) {
      throw Refused("a segment is longer than the file");
    }
    Reader reader(file_.subspan(start + 2, length - 2));
    position_ = start + length;
    if (marker == kSOF0 || marker == kSOF1 || marker == kSOF2) {
      frame(reader, marker == kSOF2);
    } else if (marker == kDQT) {
      quant_tables(reader);
    } else if (marker == kDHT) {
      huffman_tables(reader);
    } else if (marker == kDRI) {
      restart_interval_ = reader.word();
    } else if (marker == kSOS) {
      scan(reader);
    } else if (marker == kAPP2 && length >= 6 && std::equal(file_.begin() + start + 2, file_.begin() + start + 6, "MPF")) {
      throw Refused("several pictures in one file, found by their places in it");
    } else if ((marker >= kAPP0 && marker <= kAPP15) || marker == kCOM) {
      parsed_.picture.metadata.push_back(file_.subspan(start - 2, length + 2));
    } else {
      throw Refused("a kind of JPEG that is left as it is");
    }
  }

  void frame(Reader& reader, bool progressive) {
    Picture& picture = parsed_.picture;
    if (!picture.components.empty()) {
      throw Refused("two frames");
    }
    if (reader.byte() != 8) {
      throw Refused("not of 8 bits");
    }
    picture.height = reader.word();
    picture.width = reader.word();
    const int count = reader.byte();
    if (picture.height == 0 || picture.width == 0 || (count != 1 && count != 3)) {
      throw Refused("no size, or not of 1 or 3 components");
    }
    for (int i = 0; i < count; ++i) {
      Component component;
      component.id = static_cast<std::uint8_t>(reader.byte());
      const int factors = reader.byte();
      component.horizontal = count == 1 ? 1 : factors >> 4;  // of one component the factors mean nothing
      component.vertical = count == 1 ? 1 : factors & 15;
      component.quant = reader.byte();
      if (component.horizontal < 1 || component.horizontal > 4 || component.vertical < 1 || component.vertical > 4 || component.quant > 3) {
        throw Refused("sampling factors or a quantisation table out of range");
      }
      picture.components.push_back(component);
    }
    parsed_.progressive = progressive;
    allocate(picture);
  }

  void allocate(Picture& picture) {
    int h_max = 1;
    int v_max = 1;
    int per_mcu = 0;
    for (const Component& component : picture.components) {
      h_max = std::max(h_max, component.horizontal);
      v_max = std::max(v_max, component.vertical);
      per_mcu += component.horizontal * component.vertical;
    }
    picture.mcus_wide = ceil_div(picture.width, kBlockSide * h_max);
    picture.mcus_high = ceil_div(picture.height, kBlockSide * v_max);
    const std::uint64_t num_blocks = static_cast<std::uint64_t>(picture.mcus_wide) * picture.mcus_high * per_mcu;
    if (per_mcu > 10 || num_blocks > 8 * static_cast<std::uint64_t>(file_.size())) {
      throw Refused("more blocks than the file has bits for");  // before anything is allocated for them
    }
    for (Component& component : picture.components) {
      component.blocks_wide = ceil_div(ceil_div(picture.width * component.horizontal, h_max), kBlockSide);
      component.blocks_high = ceil_div(ceil_div(picture.height * component.vertical, v_max), kBlockSide);
      component.stride = picture.mcus_wide * component.horizontal;
      component.rows = picture.mcus_high * component.vertical;
      component.blocks.assign(static_cast<std::size_t>(component.stride) * component.rows, Block{});
    }
  }

  void quant_tables(Reader& reader) {
    while (!reader.done()) {
      const int head = reader.byte();
      if ((head & 15) > 3 || head >> 4 > 1) {
        throw Refused("a quantisation table out of range");
      }
      QuantTable table;
      for (std::uint16_t& value : table) {
        value = static_cast<std::uint16_t>(head >> 4 ? reader.word() : reader.byte());
      }
      std::optional<QuantTable>& known = parsed_.picture.quants[head & 15];
      if (known && *known != table && !parsed_.scans.empty()) {
        throw Refused("a quantisation table changes between scans");
      }
      known = table;
    }
  }

  void huffman_tables(Reader& reader) {
    while (!reader.done()) {
      const int head = reader.byte();
      if ((head & 15) > 3 || head >> 4 > 1) {
        throw Refused("a Huffman table out of range");
      }
      HuffmanSpec spec;
      int total = 0;
      for (int length = 1; length <= 16; ++length) {
        spec.counts[length] = static_cast<std::uint8_t>(reader.byte());
        total += spec.counts[length];
      }
      if (total > 256) {
        throw Refused("a Huffman table of more than 256 codes");
      }
      for (int i = 0; i < total; ++i) {
        spec.symbols.push_back(static_cast<std::uint8_t>(reader.byte()));
      }
      (head >> 4 ? ac_tables_ : dc_tables_)[head & 15] = std::move(spec);
    }
  }

  void scan(Reader& reader) {
    const std::vector<Component>& components = parsed_.picture.components;
    Scan scan;
    const int count = reader.byte();
    if (components.empty() || count < 1 || count > static_cast<int>(components.size())) {
      throw Refused("a scan without a frame, or of the wrong number of components");
    }
    for (int i = 0; i < count; ++i) {
      const int id = reader.byte();
      const int tables = reader.byte();
      const auto found = std::find_if(components.begin(), components.end(), [&](const Component& c) { return c.id == id; });
      const int index = static_cast<int>(found - components.begin());
      if (found == components.end() || tables >> 4 > 3 || (tables & 15) > 3 ||
          (!scan.components.empty() && scan.components.back().index >= index)) {
        throw Refused("a scan names a component or table that there is not");
      }
      scan.components.push_back({index, tables >> 4, tables & 15});
    }
    scan.spectral_start = reader.byte();
    scan.spectral_end = reader.byte();
    const int approx = reader.byte();
    scan.approx_high = approx >> 4;
    scan.approx_low = approx & 15;
    scan.restart_interval = restart_interval_;
    scan.dc_tables = dc_tables_;
    scan.ac_tables = ac_tables_;
    const std::size_t start = position_;
    position_ = end_of_scan(start);
    scan.data = file_.subspan(start, position_ - start);
    parsed_.scans.push_back(std::move(scan));
    if (parsed_.scans.size() > 256) {
      throw Refused("too many scans");
    }
  }

  std::size_t end_of_scan(std::size_t position) const {
    while (position + 1 < file_.size()) {
      const std::uint8_t next = file_[position + 1];
      if (file_[position] != 0xFF) {
        ++position;
      } else if (next == 0 || (next >= kRST0 && next <= kRST7)) {
        position += 2;
      } else {
        return position;
      }
    }
    throw Refused("cut off");
  }

  Bytes file_;
  std::size_t position_ = 0;
  int restart_interval_ = 0;
  std::array<std::optional<HuffmanSpec>, 4> dc_tables_{};
  std::array<std::optional<HuffmanSpec>, 4> ac_tables_{};
  ParsedFile parsed_{};
};

}  // namespace

ParsedFile parse(Bytes file) { return Parser(file).run(); }

}  // namespace stoker::jpeg
