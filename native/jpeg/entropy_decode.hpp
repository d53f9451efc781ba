// Entropy decoding: from the bits of a scan to quantised coefficients (ITU-T T.81, annexes F.2 and G.2).
#pragma once

#include "jpeg/markers.hpp"

namespace stoker::jpeg {

// Fills the picture's blocks from all of its scans. Throws Refused for damaged data, and for a progressive file that ends before its
// coefficients are exact: a decoder would smooth its blocks, so its pixels are not those of its coefficients.
void decode_scans(ParsedFile& file);

}  // namespace stoker::jpeg
