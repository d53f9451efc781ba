// The orientation in a JPEG's EXIF segment (CIPA DC-008).
#pragma once

#include "jpeg/picture.hpp"

namespace stoker::jpeg {

// `contents` of an APP1 segment: 1 to 8; 1 where there is none or it cannot be read. Every byte is hostile.
int exif_orientation(Bytes contents) noexcept;

}  // namespace stoker::jpeg
