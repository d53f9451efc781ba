#include "jpeg/segments.hpp"

#include <algorithm>

#include "jpeg/markers.hpp"

namespace stoker::jpeg {

Bits SegmentReader::begin() {
  end_ = window_.data();
  fill();
  return {window_.data(), 0, 0};
}

bool SegmentReader::prepare_more(Bits& bits) {
  if (is_complete_) {
    return (bits.next - end_) * 8 <= bits.count;
  }
  const std::size_t kept = static_cast<std::size_t>(end_ - bits.next);
  std::memmove(window_.data(), bits.next, kept);
  bits.next = window_.data();
  end_ = window_.data() + kept;
  fill();
  return true;
}

void SegmentReader::fill() {
  std::uint8_t* const limit = window_.data() + kWindowBytes;
  is_complete_ = false;
  while (end_ < limit && !is_complete_) {
    const std::size_t length = std::min(file_.size() - place_, static_cast<std::size_t>(limit - end_));
    const std::uint8_t* from = file_.data() + place_;
    const void* found = length ? std::memchr(from, 0xFF, length) : nullptr;
    const std::size_t plain = found ? static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - from) : length;
    std::memcpy(end_, from, plain);
    end_ += plain;
    place_ += plain;
    if (place_ + 1 >= file_.size()) {
      throw Refused("cut off");
    }
    if (found && file_[place_ + 1] == 0) {
      *end_++ = 0xFF;
      place_ += 2;
    } else if (found) {
      is_complete_ = true;
    }
  }
  plenty_ = is_complete_ ? end_ : end_ - kMcuBytes;
}

void SegmentReader::finish(Bits& bits) {
  if (!is_complete_) {
    prepare_more(bits);
  }
  const std::ptrdiff_t left = (end_ - bits.next) * 8 + bits.count;
  if (!is_complete_ || left < 0 || left >= 8) {
    throw Refused("entropy-coded data ends too early, or goes on after its end");
  }
}

void SegmentReader::skip() {
  while (true) {
    const std::uint8_t* from = file_.data() + place_;
    const void* found = place_ < file_.size() ? std::memchr(from, 0xFF, file_.size() - place_) : nullptr;
    if (found) {
      place_ += static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - from);
    }
    if (!found || place_ + 1 >= file_.size()) {
      throw Refused("cut off");
    }
    if (file_[place_ + 1] != 0) {
      return;
    }
    place_ += 2;
  }
}

void SegmentReader::pass_restart(int number) {
  if (place_ + 1 >= file_.size() || file_[place_] != 0xFF || file_[place_ + 1] != kRST0 + (number & 7)) {
    throw Refused("a restart marker is missing");
  }
  place_ += 2;
}

bool SegmentReader::at_end_of_image() const noexcept {
  return place_ + 1 < file_.size() && file_[place_] == 0xFF && file_[place_ + 1] == kEOI;
}

}  // namespace stoker::jpeg
