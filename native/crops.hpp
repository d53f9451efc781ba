// Crop, resize, flip and write, for all images of a batch in one call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stoker {

struct CropBox {
  std::int32_t top, left, height, width;
};

enum Flip : std::uint8_t { kFlipHorizontally = 1, kFlipVertically = 2 };

// Where the images of a batch go, and how.
struct CropTarget {
  std::uint8_t* data;      // of the first image
  std::size_t stride;      // bytes from one image to the next
  int height, width;       // at least 1
  bool antialias;
  bool planar;  // an image is [3, height, width], else [height, width, 3]

  std::uint8_t* image(std::size_t index) const noexcept { return data + stride * index; }
};

enum CropStatus : std::uint8_t { kCropDone = 0, kCropLeft = 1 };

struct EncodedCrop {
  const std::uint8_t* data;
  std::size_t size;
  CropBox box;
  std::uint8_t flips;
};

// Decodes a rectangle of a JPEG into image `index` of the target. kCropLeft, and nothing promised about the target: the file is of a
// kind that is not taken, or damaged, or the box not within it. Reads nothing outside of the file. Reentrant.
CropStatus decode_crop(const EncodedCrop& crop, const CropTarget& target, std::size_t index);

struct RawCrop {
  const std::uint8_t* data;  // interleaved RGB
  int height, width;
  CropBox box;
  std::uint8_t flips;
};

// The same for pixels in memory. Returns false, and writes nothing, where the box is not within the image.
bool resample_crop(const RawCrop& crop, const CropTarget& target, std::size_t index);

// To be called after a batch: gives back memory that unusually large images needed.
void release_large_scratch() noexcept;

}  // namespace stoker
