#include "crops.hpp"

#include <cstring>
#include <new>

#include "jpeg/crop.hpp"
#include "resample.hpp"

namespace stoker {
namespace {

struct Source {
  const std::uint8_t* data;
  std::size_t stride;
  int height, width;
};

// Pixels that need no resampling: none is blended with its neighbours.
void copy(const Source& source, const CropTarget& target, std::uint8_t* image) {
  const std::size_t width = static_cast<std::size_t>(source.width), plane = width * static_cast<std::size_t>(source.height);
  for (std::size_t y = 0; y < static_cast<std::size_t>(source.height); ++y) {
    const std::uint8_t* from = source.data + y * source.stride;
    if (!target.planar) {
      std::memcpy(image + 3 * y * width, from, 3 * width);
      continue;
    }
    std::uint8_t* red = image + y * width;
    for (std::size_t x = 0; x < width; ++x) {
      red[x] = from[3 * x];
      red[plane + x] = from[3 * x + 1];
      red[2 * plane + x] = from[3 * x + 2];
    }
  }
}

void write(const Source& source, std::uint8_t flips, const CropTarget& target, std::uint8_t* image) {
  if (source.height == target.height && source.width == target.width && !flips) {
    return copy(source, target, image);
  }
  resample_rgb({source.data, source.stride, source.height, source.width, image, target.height, target.width, target.antialias,
                (flips & kFlipHorizontally) != 0, (flips & kFlipVertically) != 0, target.planar});
}

}  // namespace

CropStatus decode_crop(const EncodedCrop& crop, const CropTarget& target, std::size_t index) {
  try {
    const jpeg::Pixels pixels = jpeg::decode_crop({crop.data, crop.size}, {crop.box.top, crop.box.left, crop.box.height, crop.box.width},
                                                  target.height, target.width);
    write({pixels.data, 3 * static_cast<std::size_t>(pixels.width), pixels.height, pixels.width}, crop.flips, target, target.image(index));
    return kCropDone;
  } catch (const jpeg::Refused&) {
    return kCropLeft;
  } catch (const std::bad_alloc&) {
    return kCropLeft;
  }
}

bool resample_crop(const RawCrop& crop, const CropTarget& target, std::size_t index) {
  const CropBox& box = crop.box;
  if (box.top < 0 || box.left < 0 || box.height < 1 || box.width < 1 || box.top > crop.height - box.height ||
      box.left > crop.width - box.width) {
    return false;
  }
  const std::size_t stride = 3 * static_cast<std::size_t>(crop.width);
  const std::uint8_t* first = crop.data + stride * static_cast<std::size_t>(box.top) + 3 * static_cast<std::size_t>(box.left);
  write({first, stride, box.height, box.width}, crop.flips, target, target.image(index));
  return true;
}

void release_large_scratch() noexcept { jpeg::release_large_scratch(); }

}  // namespace stoker
