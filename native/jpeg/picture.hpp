// A JPEG as its quantised coefficients: what entropy decoders fill and entropy encoders read. Nothing here is lossy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

namespace stoker::jpeg {

constexpr int kBlockSize = 64;
constexpr int kBlockSide = 8;

using Bytes = std::span<const std::uint8_t>;
using Block = std::array<std::int16_t, kBlockSize>;  // in zigzag order, as it stands in the file
using QuantTable = std::array<std::uint16_t, kBlockSize>;

// A file that is damaged, or of a kind that is left as it is. Its text is for people.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Component {
  std::uint8_t id = 0;
  int horizontal = 1;  // sampling factors
  int vertical = 1;
  int quant = 0;
  int blocks_wide = 0;  // that show something; what a scan of this component alone holds
  int blocks_high = 0;
  int stride = 0;  // blocks per row in memory, whole MCUs
  int rows = 0;
  std::vector<Block> blocks{};

  Block& block(int row, int column) { return blocks[static_cast<std::size_t>(row) * stride + column]; }
  const Block& block(int row, int column) const { return blocks[static_cast<std::size_t>(row) * stride + column]; }
};

struct Picture {
  int width = 0;
  int height = 0;
  int mcus_wide = 0;
  int mcus_high = 0;
  std::vector<Component> components{};
  std::array<std::optional<QuantTable>, 4> quants{};
  std::vector<Bytes> metadata{};  // APPn and COM segments with their markers, views of the file
};

}  // namespace stoker::jpeg
