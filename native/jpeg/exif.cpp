#include "jpeg/exif.hpp"

#include <cstring>

namespace stoker::jpeg {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;
constexpr std::size_t kEntryBytes = 12;

// Numbers of a TIFF structure, in its own order of bytes. The caller checks places against its size.
struct Tiff {
  Bytes bytes;
  bool is_little_endian;

  std::uint32_t number(std::size_t place, std::size_t size) const noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes[place + (is_little_endian ? size - 1 - i : i)];
    }
    return value;
  }
};

}  // namespace

int exif_orientation(Bytes contents) noexcept {
  if (contents.size() < 14 || std::memcmp(contents.data(), "Exif\0\0", 6) != 0) {
    return 1;
  }
  const Bytes bytes = contents.subspan(6);
  const bool is_little_endian = std::memcmp(bytes.data(), "II", 2) == 0;
  if (!is_little_endian && std::memcmp(bytes.data(), "MM", 2) != 0) {
    return 1;
  }
  const Tiff tiff{bytes, is_little_endian};
  const std::size_t directory = tiff.number(4, 4);
  if (directory + 2 > bytes.size()) {
    return 1;
  }
  const std::size_t count = tiff.number(directory, 2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry = directory + 2 + kEntryBytes * i;
    if (entry + kEntryBytes > bytes.size()) {
      return 1;
    }
    if (tiff.number(entry, 2) == kOrientationTag) {
      const int value = static_cast<int>(tiff.number(entry + 8, 2));
      return tiff.number(entry + 2, 2) == kShort && value >= 1 && value <= 8 ? value : 1;
    }
  }
  return 1;
}

}  // namespace stoker::jpeg
