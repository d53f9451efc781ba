#include "jpeg/tiles.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg/encode.hpp"
#include "jpeg/entropy_decode.hpp"
#include "jpeg/markers.hpp"

namespace stoker::jpeg {
namespace {

// The header of a tiled file, without what a decoder of pixels does not need.
struct Header {
  std::vector<std::uint8_t> bytes{};
  std::size_t size_offset = 0;  // of height and width in `bytes`
  std::size_t data_start = 0;   // of the tiles in the file
  int height = 0, width = 0;
  int mcu_height = kBlockSide, mcu_width = kBlockSide;
  int tile_mcus = 0;
  int num_components = 0;
};

int word_at(Bytes file, std::size_t offset) { return file[offset] << 8 | file[offset + 1]; }

void read_frame(Header& header, Bytes contents) {
  header.num_components = contents.size() >= 6 ? contents[5] : 0;
  if ((header.num_components != 1 && header.num_components != 3) || contents.size() < 6 + 3U * header.num_components || contents[0] != 8) {
    throw Refused("a frame that is not tiled");
  }
  header.height = word_at(contents, 1);
  header.width = word_at(contents, 3);
  if (header.num_components == 3) {
    int horizontal = 1;
    int vertical = 1;
    for (int i = 0; i < 3; ++i) {
      horizontal = std::max(horizontal, contents[7 + 3 * i] >> 4);
      vertical = std::max(vertical, contents[7 + 3 * i] & 15);
    }
    if (horizontal > 4 || vertical > 4) {
      throw Refused("sampling factors out of range");
    }
    header.mcu_width *= horizontal;
    header.mcu_height *= vertical;
  }
}

Header read_header(Bytes file) {
  if (file.size() < 4 || file[0] != 0xFF || file[1] != kSOI) {
    throw Refused("no JPEG");
  }
  Header header;
  header.bytes.assign(file.begin(), file.begin() + 2);
  for (std::size_t offset = 2; offset + 4 <= file.size() && file[offset] == 0xFF;) {
    const int marker = file[offset + 1];
    const std::size_t length = static_cast<std::size_t>(word_at(file, offset + 2));
    if (length < 2 || offset + 2 + length > file.size()) {
      break;
    }
    const Bytes contents = file.subspan(offset + 4, length - 2);
    if (marker == kSOF0 || marker == kSOF1) {
      header.size_offset = header.bytes.size() + 5;
      read_frame(header, contents);
    } else if (marker == kDRI && length == 4) {
      header.tile_mcus = word_at(contents, 0);
    }
    const bool is_decoration = (marker > kAPP0 && marker <= kAPP15 && marker != kAPP14) || marker == kCOM;  // APP0 and APP14 tell colours
    if (!is_decoration) {
      header.bytes.insert(header.bytes.end(), file.begin() + offset, file.begin() + offset + 2 + length);
    }
    offset += 2 + length;
    if (marker == kSOS) {
      if (!header.height || !header.width || contents.empty() || contents[0] != header.num_components) {
        break;
      }
      header.data_start = offset;
      return header;
    }
  }
  throw Refused("a header that is damaged, or not of a tiled file");
}

// Walks the tiles of a file from the first one on.
class Tiles {
 public:
  Tiles(Bytes file, std::size_t start) : file_(file), start_(start) { find_end(); }

  Bytes next() {
    const Bytes tile = file_.subspan(start_, end_ - start_);
    if (is_last_) {
      is_past_ = true;
    } else {
      start_ = end_ + 2;
      find_end();
    }
    return tile;
  }

  bool is_past() const { return is_past_; }

 private:
  void find_end() {
    for (std::size_t from = start_;;) {
      const void* found = from < file_.size() ? std::memchr(file_.data() + from, 0xFF, file_.size() - from) : nullptr;
      if (!found) {
        throw Refused("cut off");
      }
      end_ = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - file_.data());
      if (end_ + 1 >= file_.size()) {
        throw Refused("cut off");
      }
      const int after = file_[end_ + 1];
      if (after == 0) {
        from = end_ + 2;
        continue;
      }
      is_last_ = after < kRST0 || after > kRST7;
      return;
    }
  }

  Bytes file_;
  std::size_t start_;
  std::size_t end_ = 0;
  bool is_last_ = false;
  bool is_past_ = false;
};

struct Range {
  int first, last;  // of tiles or MCU rows, `last` excluded
};

Range covering(int start, int length, int margin, int unit, int total) {
  const int first = std::max(0, start - margin) / unit;
  const int last = std::min((total + unit - 1) / unit, (start + length + margin + unit - 1) / unit);
  return {first, last};
}

}  // namespace

std::vector<std::uint8_t> retile(Bytes file, int wanted) {
  ParsedFile parsed = parse(file);
  decode_scans(parsed);
  return encode(parsed.picture, tile_width(parsed.picture.mcus_wide, wanted));
}

Extract extract(Bytes file, Rectangle rectangle) {
  Header header = read_header(file);
  const int mcus_wide = (header.width + header.mcu_width - 1) / header.mcu_width;
  if (!header.tile_mcus || mcus_wide % header.tile_mcus) {
    throw Refused("not tiled");
  }
  if (rectangle.top < 0 || rectangle.left < 0 || rectangle.height < 1 || rectangle.width < 1 ||
      rectangle.top > header.height - rectangle.height || rectangle.left > header.width - rectangle.width) {
    throw Refused("a rectangle outside of the picture");
  }
  const int tile_pixels = header.tile_mcus * header.mcu_width;
  // Upsampling reads one sample of colour beyond a pixel: as many pixels as a sample covers, where it covers several. Decoded at a
  // quarter of its size, the least that is upsampled so, a picture has samples that cover four times as many.
  const auto margin = [](int mcu_side) { return mcu_side > kBlockSide ? 4 * (mcu_side / kBlockSide) : 0; };
  const Range rows = covering(rectangle.top, rectangle.height, margin(header.mcu_height), header.mcu_height, header.height);
  const Range columns = covering(rectangle.left, rectangle.width, margin(header.mcu_width), tile_pixels, header.width);
  const int tiles_wide = mcus_wide / header.tile_mcus;

  Extract result{std::move(header.bytes), rows.first * header.mcu_height, columns.first * tile_pixels};
  const int height = std::min(rows.last * header.mcu_height, header.height) - result.top;
  const int width = std::min(columns.last * tile_pixels, header.width) - result.left;
  std::vector<std::uint8_t>& out = result.file;
  for (const auto& [offset, value] : {std::pair{0, height}, std::pair{2, width}}) {
    out[header.size_offset + offset] = static_cast<std::uint8_t>(value >> 8);
    out[header.size_offset + offset + 1] = static_cast<std::uint8_t>(value);
  }
  Tiles tiles(file, header.data_start);
  int written = 0;
  for (int row = 0; row < rows.last; ++row) {
    for (int column = 0; column < tiles_wide; ++column) {
      if (tiles.is_past()) {
        throw Refused("a tile is missing");
      }
      const Bytes tile = tiles.next();
      if (row < rows.first || column < columns.first || column >= columns.last) {
        continue;
      }
      if (written) {
        out.push_back(0xFF);
        out.push_back(static_cast<std::uint8_t>(kRST0 + ((written - 1) & 7)));
      }
      out.insert(out.end(), tile.begin(), tile.end());
      ++written;
      if (row + 1 == rows.last && column + 1 == columns.last) {
        break;
      }
    }
  }
  out.push_back(0xFF);
  out.push_back(kEOI);
  return result;
}

}  // namespace stoker::jpeg
