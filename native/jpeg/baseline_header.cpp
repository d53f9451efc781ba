#include "jpeg/baseline_header.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg/exif.hpp"
#include "jpeg/markers.hpp"

namespace stoker::jpeg {

const std::array<std::uint8_t, kBlockSize> kNaturalOrder = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

namespace {

int word_at(Bytes bytes, std::size_t offset) { return bytes[offset] << 8 | bytes[offset + 1]; }

void need(Bytes contents, std::size_t size) {
  if (contents.size() < size) {
    throw Refused("a segment is shorter than what it holds");
  }
}

void read_frame(BaselineHeader& header, Bytes contents) {
  need(contents, 6);
  header.height = word_at(contents, 1);
  header.width = word_at(contents, 3);
  const int count = contents[5];
  if (header.num_components || contents[0] != 8 || (count != 1 && count != 3) || contents.size() != 6 + 3U * count) {
    throw Refused("two frames, or one that is not of 8 bits and 1 or 3 components");
  }
  if (!header.height || !header.width || static_cast<std::int64_t>(header.height) * header.width > kMaxPixels) {
    throw Refused("no size, or too many pixels");
  }
  header.num_components = count;
  for (int i = 0; i < count; ++i) {
    BaselineComponent& component = header.components[i];
    component.id = contents[6 + 3 * i];
    component.horizontal = contents[7 + 3 * i] >> 4;
    component.vertical = contents[7 + 3 * i] & 15;
    component.quant = contents[8 + 3 * i];
    const int most = count == 1 ? 4 : i == 0 ? 2 : 1;  // of one component the factors mean nothing
    if (component.horizontal < 1 || component.horizontal > most || component.vertical < 1 || component.vertical > most ||
        component.quant > 3) {
      throw Refused("sampling factors that are not taken, or a quantisation table out of range");
    }
    if (count == 1) {
      component.horizontal = component.vertical = 1;
    }
  }
  const auto& [first, second, third] = header.components;
  if (count == 3 && (first.id == second.id || first.id == third.id || second.id == third.id ||
                     (first.id == 'R' && second.id == 'G' && third.id == 'B'))) {
    throw Refused("components that are not YCbCr");
  }
  header.horizontal_max = first.horizontal;
  header.vertical_max = first.vertical;
  const int mcu_width = kBlockSide * first.horizontal;
  const int mcu_height = kBlockSide * first.vertical;
  header.mcus_wide = (header.width + mcu_width - 1) / mcu_width;
  header.mcus_high = (header.height + mcu_height - 1) / mcu_height;
}

void read_quant_tables(BaselineHeader& header, Bytes contents) {
  while (!contents.empty()) {
    const int number = contents[0] & 15;
    const std::size_t bytes_each = 1 + (contents[0] >> 4);
    const std::size_t size = 1 + kBlockSize * bytes_each;
    need(contents, size);
    if (number > 3 || bytes_each > 2) {
      throw Refused("a quantisation table out of range");
    }
    for (int k = 0; k < kBlockSize; ++k) {
      const int value = bytes_each == 2 ? word_at(contents, 1 + 2 * k) : contents[1 + k];
      header.quants[number][kNaturalOrder[k]] = static_cast<std::int16_t>(value);  // factors are multiplied modulo 2^16
    }
    header.has_quant[number] = true;
    contents = contents.subspan(size);
  }
}

void read_huffman_tables(BaselineHeader& header, Bytes contents) {
  while (!contents.empty()) {
    need(contents, 17);
    const int number = contents[0] & 15;
    int total = 0;
    for (int length = 1; length <= 16; ++length) {
      total += contents[length];
    }
    need(contents, 17 + static_cast<std::size_t>(total));
    if (number > 3 || contents[0] >> 4 > 1 || total > 256) {
      throw Refused("a Huffman table out of range");
    }
    (contents[0] >> 4 ? header.ac_tables : header.dc_tables)[number] = {contents.data() + 1, contents.data() + 17, total};
    contents = contents.subspan(17 + static_cast<std::size_t>(total));
  }
}

void read_scan(BaselineHeader& header, Bytes contents) {
  const int count = header.num_components;
  need(contents, 4 + 2U * count);
  if (!count || contents[0] != count || contents.size() != 4 + 2U * count) {
    throw Refused("a scan without a frame, or one of several");
  }
  for (int i = 0; i < count; ++i) {
    BaselineComponent& component = header.components[i];
    component.dc_table = contents[2 + 2 * i] >> 4;
    component.ac_table = contents[2 + 2 * i] & 15;
    if (contents[1 + 2 * i] != component.id || component.dc_table > 3 || component.ac_table > 3 || !header.has_quant[component.quant] ||
        !header.dc_tables[component.dc_table].counts || !header.ac_tables[component.ac_table].counts) {
      throw Refused("a scan names a component or table that there is not");
    }
  }
  if (contents[1 + 2 * count] != 0 || contents[2 + 2 * count] != kBlockSize - 1 || contents[3 + 2 * count] != 0) {
    throw Refused("a progressive scan in a sequential file");
  }
}

// Adobe's segment says what the components are: 1 is YCbCr.
bool tells_other_colours(Bytes contents) {
  return contents.size() >= 12 && std::memcmp(contents.data(), "Adobe", 5) == 0 && contents[11] != 1;
}

// Returns whether it was the scan's header.
bool read_segment(BaselineHeader& header, int marker, Bytes contents, bool& other_colours) {
  if (marker == kSOF0 || marker == kSOF1) {
    read_frame(header, contents);
  } else if (marker == kDQT) {
    read_quant_tables(header, contents);
  } else if (marker == kDHT) {
    read_huffman_tables(header, contents);
  } else if (marker == kDRI && contents.size() == 2) {
    header.restart_interval = word_at(contents, 0);
  } else if (marker == kSOS) {
    read_scan(header, contents);
    return true;
  } else if (marker == kAPP0 + 1 && header.orientation == 1) {
    header.orientation = exif_orientation(contents);
  } else if (marker == kAPP14) {
    other_colours = other_colours || tells_other_colours(contents);
  } else if ((marker < kAPP0 || marker > kAPP15) && marker != kCOM) {
    throw Refused("a kind of JPEG that is not taken");
  }
  return false;
}

}  // namespace

BaselineHeader read_baseline_header(Bytes file) {
  if (file.size() < 4 || file[0] != 0xFF || file[1] != kSOI) {
    throw Refused("no JPEG");
  }
  BaselineHeader header;
  bool other_colours = false;
  for (std::size_t offset = 2; offset + 4 <= file.size() && file[offset] == 0xFF;) {
    const int marker = file[offset + 1];
    if (marker == 0xFF) {  // padding
      ++offset;
      continue;
    }
    const std::size_t length = static_cast<std::size_t>(word_at(file, offset + 2));
    if (length < 2 || offset + 2 + length > file.size()) {
      break;
    }
    const Bytes contents = file.subspan(offset + 4, length - 2);
    offset += 2 + length;
    if (read_segment(header, marker, contents, other_colours)) {
      if (other_colours && header.num_components == 3) {
        throw Refused("components that are not YCbCr");
      }
      header.scan_start = offset;
      return header;
    }
  }
  throw Refused("a header that is damaged");
}

}  // namespace stoker::jpeg
