// A rectangle of a baseline JPEG's pixels, bit for bit as libjpeg-turbo decodes them, from no more of the file than is needed.
#pragma once

#include "jpeg/tiles.hpp"

namespace stoker::jpeg {

struct Pixels {
  const std::uint8_t* data;  // interleaved RGB, rows without gaps; valid until this thread decodes its next crop
  int height, width;
};

// The pixels of `box`, reduced by the most of 8, 4, 2 and 1 that leaves at least `least_height` × `least_width` of them. Where restart
// markers cut the file into tiles only the covering ones are decoded. Throws Refused for files of other kinds, for damage, for an EXIF
// orientation that turns the picture, and for crops of more than 2^26 pixels. Reads nothing outside of `file`. Reentrant.
Pixels decode_crop(Bytes file, Rectangle box, int least_height, int least_width);

// Gives back what this thread keeps for its next crop where that is much.
void release_large_scratch() noexcept;

}  // namespace stoker::jpeg
