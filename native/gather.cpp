#include "gather.hpp"

#include <cstring>

namespace stoker {
namespace {

constexpr std::size_t kCacheLine = 64;

// Rows fetched ahead. Shuffled rows miss every cache and the TLB, so the time goes into waiting for memory; asking for the next
// rows while one is copied halves it. Measured on rows of 400 bytes: 2, 4 and 8 are alike, 16 is slower (the core has no more
// line fill buffers).
constexpr std::size_t kAhead = 6;

// Of one row. The hardware prefetcher sees a longer row coming by itself.
constexpr std::size_t kMaxPrefetchedBytes = 2048;

void prefetch(const std::byte* row, std::size_t row_bytes) noexcept {
  const std::size_t bytes = row_bytes < kMaxPrefetchedBytes ? row_bytes : kMaxPrefetchedBytes;
  for (std::size_t offset = 0; offset < bytes; offset += kCacheLine) {
    __builtin_prefetch(row + offset, 0, 0);
  }
  __builtin_prefetch(row + bytes - 1, 0, 0);  // a row that begins inside a line ends in one more
}

}  // namespace

std::size_t gather_rows(const std::byte* table, std::size_t num_rows, std::size_t row_bytes, const std::int64_t* indices,
                        std::size_t count, std::byte* target) noexcept {
  for (std::size_t position = 0; position < count; ++position) {
    if (static_cast<std::uint64_t>(indices[position]) >= num_rows) {
      return position;
    }
  }
  if (row_bytes == 0) {
    return count;
  }
  const auto row = [&](std::size_t position) { return table + static_cast<std::size_t>(indices[position]) * row_bytes; };
  for (std::size_t position = 0; position < count && position < kAhead; ++position) {
    prefetch(row(position), row_bytes);
  }
  for (std::size_t position = 0; position < count; ++position) {
    if (position + kAhead < count) {
      prefetch(row(position + kAhead), row_bytes);
    }
    std::memcpy(target + position * row_bytes, row(position), row_bytes);
  }
  return count;
}

}  // namespace stoker
