// Spans of mapped files: mapping, copying many at once, and asking the kernel for them ahead of need.
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

// Maps a whole file, read-only and shared; holds no descriptor. Reentrant.
Mapping map_file(const char* path) noexcept;
void unmap_file(std::uint64_t address, std::size_t size) noexcept;

// Copies `count` spans behind each other to `target`. A page that is not in memory makes the calling thread wait, so the caller has
// let other threads run. Reentrant.
void copy_spans(const std::uint64_t* addresses, const std::int64_t* lengths, std::size_t count, std::byte* target) noexcept;

// Reads two neighbouring 64-bit numbers at each address, of any alignment: where a value of varying length begins and ends.
void load_bounds(const std::uint64_t* addresses, std::size_t count, std::int64_t* bounds) noexcept;

// Tells the kernel that spans of mapped files will be needed, and returns without waiting for them. Spans with at most `max_gap`
// bytes between them are asked for as one. Sorts `spans`. Returns how many requests it made.
std::size_t read_ahead(Span* spans, std::size_t count, std::int64_t max_gap) noexcept;

// How many of these addresses stand in pages that are in memory. An address that is not mapped counts as one that is.
std::size_t count_resident(const std::uint64_t* addresses, std::size_t count) noexcept;

}  // namespace stoker
