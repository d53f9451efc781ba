// Spans of files: mapping, copying or reading many at once, and asking the kernel for them ahead of need.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stoker {

struct Span {
  std::uint64_t address;
  std::int64_t length;
};

struct Mapping {
  const std::byte* data;  // null where the file is empty, or `error` is set
  std::size_t size;
  int error;  // errno, or 0
};

struct FileSpan {
  std::size_t file;
  std::int64_t offset, length;  // both in bytes, neither below 0
  std::byte* target;
};

struct ReadResult {
  std::size_t file;     // which one failed
  std::int64_t offset;  // where
  int error;            // errno; kFileEnds; 0 where all was read
};
constexpr int kFileEnds = -1;

// Maps a whole file, read-only and shared; holds no descriptor. Reentrant.
Mapping map_file(const char* path) noexcept;
void unmap_file(std::uint64_t address, std::size_t size) noexcept;

// Copies `count` spans behind each other to `target`. A page that is not in memory makes the calling thread wait, so the caller has
// let other threads run. Reentrant.
void copy_spans(const std::uint64_t* addresses, const std::int64_t* lengths, std::size_t count, std::byte* target) noexcept;

// Copies `length` numbers of type T from each address, of any alignment, to `target`, one row behind the other, as 64-bit ones. Reentrant.
template <typename T>
void widen_rows(const std::uint64_t* addresses, std::size_t count, std::size_t length, std::int64_t* target) noexcept;

// Reads `count` spans of files to their targets, those of a file that are at most `max_gap` bytes apart by one preadv(2). Sorts `spans`.
// Holds one descriptor at a time. A file that ends too early is an error here, where a mapping would end the process. Reentrant.
ReadResult read_spans(const char* const* paths, FileSpan* spans, std::size_t count, std::int64_t max_gap);

// Reads two neighbouring 64-bit numbers at each address, of any alignment: where a value of varying length begins and ends.
void load_bounds(const std::uint64_t* addresses, std::size_t count, std::int64_t* bounds) noexcept;

// Tells the kernel that spans of mapped files will be needed, and returns without waiting for them. Spans with at most `max_gap`
// bytes between them are asked for as one. Sorts `spans`. Returns how many requests it made.
std::size_t read_ahead(Span* spans, std::size_t count, std::int64_t max_gap) noexcept;

// How many of these addresses stand in pages that are in memory. An address that is not mapped counts as one that is.
std::size_t count_resident(const std::uint64_t* addresses, std::size_t count) noexcept;

}  // namespace stoker
