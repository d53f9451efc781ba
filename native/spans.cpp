#include "spans.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <tuple>
#include <vector>

namespace stoker {
namespace {

const std::byte* at(std::uint64_t address) { return reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(address)); }

// Rows ahead of the one that is copied, whose beginnings are fetched into the cache meanwhile; see gather.cpp.
constexpr std::size_t kAhead = 6;
constexpr std::int64_t kCacheLine = 64;
constexpr std::int64_t kMaxPrefetchedBytes = 2048;

void prefetch(std::uint64_t address, std::int64_t length) {
  for (std::int64_t offset = 0; offset < std::min(length, kMaxPrefetchedBytes); offset += kCacheLine) {
    __builtin_prefetch(at(address) + offset, 0, 0);
  }
}

constexpr std::size_t kMaxParts = 512;  // of one preadv; POSIX promises 16, every system at hand takes 1,024

// Fills `parts` from `offset` on; changes them. An errno, kFileEnds, or 0.
int read_parts(int fd, std::int64_t& offset, std::vector<iovec>& parts) noexcept {
  std::size_t first = 0;
  while (first < parts.size()) {
    const ssize_t got = ::preadv(fd, parts.data() + first, static_cast<int>(parts.size() - first), static_cast<off_t>(offset));
    if (got <= 0) {
      if (got < 0 && errno == EINTR) {
        continue;
      }
      return got < 0 ? errno : kFileEnds;
    }
    offset += got;
    auto left = static_cast<std::size_t>(got);
    for (; first < parts.size() && left >= parts[first].iov_len; ++first) {
      left -= parts[first].iov_len;
    }
    if (left) {
      parts[first].iov_base = static_cast<std::byte*>(parts[first].iov_base) + left;
      parts[first].iov_len -= left;
    }
  }
  return 0;
}

}  // namespace

template <typename T>
void widen_rows(const std::uint64_t* addresses, std::size_t count, std::size_t length, std::int64_t* target) noexcept {
  for (std::size_t row = 0; row < count; ++row, target += length) {
    const std::byte* source = at(addresses[row]);
    for (std::size_t position = 0; position < length; ++position) {
      T value;
      std::memcpy(&value, source + position * sizeof(T), sizeof(T));
      target[position] = static_cast<std::int64_t>(value);
    }
  }
}

template void widen_rows<std::uint8_t>(const std::uint64_t*, std::size_t, std::size_t, std::int64_t*) noexcept;
template void widen_rows<std::uint16_t>(const std::uint64_t*, std::size_t, std::size_t, std::int64_t*) noexcept;
template void widen_rows<std::uint32_t>(const std::uint64_t*, std::size_t, std::size_t, std::int64_t*) noexcept;
template void widen_rows<std::int32_t>(const std::uint64_t*, std::size_t, std::size_t, std::int64_t*) noexcept;

ReadResult read_spans(const char* const* paths, FileSpan* spans, std::size_t count, std::int64_t max_gap) {
  std::sort(spans, spans + count, [](const FileSpan& a, const FileSpan& b) { return std::tie(a.file, a.offset) < std::tie(b.file, b.offset); });
  std::unique_ptr<std::byte[]> gap;  // where bytes go that nobody asked for
  std::vector<iovec> parts;
  int fd = -1;
  ReadResult result{0, 0, 0};
  for (std::size_t position = 0; position < count && !result.error;) {
    const std::size_t file = spans[position].file;
    if (position == 0 || file != spans[position - 1].file) {
      if (fd >= 0) {
        ::close(fd);
      }
      fd = ::open(paths[file], O_RDONLY | O_CLOEXEC);
      if (fd < 0) {
        return {file, 0, errno};
      }
    }
    std::int64_t offset = spans[position].offset, end = offset;
    parts.clear();
    for (; position < count && spans[position].file == file && parts.size() + 2 <= kMaxParts; ++position) {
      const FileSpan& span = spans[position];
      const std::int64_t skipped = span.offset - end;
      if (skipped < 0 || skipped > max_gap) {
        break;  // the same bytes twice, or too far away
      }
      if (skipped) {
        if (!gap) {
          gap.reset(new std::byte[static_cast<std::size_t>(max_gap)]);
        }
        parts.push_back({gap.get(), static_cast<std::size_t>(skipped)});
      }
      if (!parts.empty() && static_cast<std::byte*>(parts.back().iov_base) + parts.back().iov_len == span.target) {
        parts.back().iov_len += static_cast<std::size_t>(span.length);  // neighbours in the file and in memory
      } else if (span.length) {
        parts.push_back({span.target, static_cast<std::size_t>(span.length)});
      }
      end = span.offset + span.length;
    }
    const int error = read_parts(fd, offset, parts);
    result = {file, offset, error};
  }
  if (fd >= 0) {
    ::close(fd);
  }
  return result;
}

Mapping map_file(const char* path) noexcept {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return {nullptr, 0, errno};
  }
  struct stat status {};
  Mapping mapping{nullptr, 0, 0};
  if (::fstat(fd, &status) != 0) {
    mapping.error = errno;
  } else if (status.st_size > 0) {
    const auto size = static_cast<std::size_t>(status.st_size);
    void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
      mapping.error = errno;
    } else {
      mapping = {static_cast<const std::byte*>(memory), size, 0};
    }
  }
  ::close(fd);
  return mapping;
}

void unmap_file(std::uint64_t address, std::size_t size) noexcept {
  if (address && size) {
    ::munmap(const_cast<std::byte*>(at(address)), size);
  }
}

void copy_spans(const std::uint64_t* addresses, const std::int64_t* lengths, std::size_t count, std::byte* target) noexcept {
  for (std::size_t position = 0; position < std::min(count, kAhead); ++position) {
    prefetch(addresses[position], lengths[position]);
  }
  for (std::size_t position = 0; position < count; ++position) {
    if (position + kAhead < count) {
      prefetch(addresses[position + kAhead], lengths[position + kAhead]);
    }
    const auto length = static_cast<std::size_t>(lengths[position]);
    if (length) {
      std::memcpy(target, at(addresses[position]), length);
      target += length;
    }
  }
}

void load_bounds(const std::uint64_t* addresses, std::size_t count, std::int64_t* bounds) noexcept {
  for (std::size_t position = 0; position < count; ++position) {
    std::memcpy(bounds + 2 * position, at(addresses[position]), 2 * sizeof(std::int64_t));
  }
}

std::size_t read_ahead(Span* spans, std::size_t count, std::int64_t max_gap) noexcept {
  static const std::uint64_t page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::sort(spans, spans + count, [](const Span& a, const Span& b) { return a.address < b.address; });
  std::size_t requests = 0;
  for (std::size_t position = 0; position < count;) {
    const std::uint64_t start = spans[position].address / page * page;
    std::uint64_t end = spans[position].address + static_cast<std::uint64_t>(spans[position].length);
    for (++position; position < count && spans[position].address <= end + static_cast<std::uint64_t>(max_gap); ++position) {
      end = std::max(end, spans[position].address + static_cast<std::uint64_t>(spans[position].length));
    }
    if (end > start) {
      ::madvise(const_cast<std::byte*>(at(start)), static_cast<std::size_t>(end - start), MADV_WILLNEED);
      ++requests;
    }
  }
  return requests;
}

std::size_t count_resident(const std::uint64_t* addresses, std::size_t count) noexcept {
  static const std::uint64_t page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::size_t resident = 0;
  for (std::size_t position = 0; position < count; ++position) {
#if defined(__APPLE__)
    char state = 1;
#else
    unsigned char state = 1;
#endif
    void* start = const_cast<std::byte*>(at(addresses[position] / page * page));
    resident += ::mincore(start, page, &state) != 0 || (state & 1);
  }
  return resident;
}

}  // namespace stoker
