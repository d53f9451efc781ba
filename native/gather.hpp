// Gathering rows of a table in memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stoker {

// Copies rows `indices[0 .. count)` of a table of `num_rows` rows of `row_bytes` each to `target`, in that order.
//
// Returns the position in `indices` of the first index outside [0, num_rows), or `count` where there is none; in the former
// case nothing is copied. `target` must hold count * row_bytes bytes and must not overlap the table. Reentrant.
std::size_t gather_rows(const std::byte* table, std::size_t num_rows, std::size_t row_bytes, const std::int64_t* indices,
                        std::size_t count, std::byte* target) noexcept;

}  // namespace stoker
