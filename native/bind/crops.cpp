#include "bind/crops.hpp"

#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>
#include <string>

#include "crops.hpp"
#include "draw.hpp"
#include "jpeg/baseline_header.hpp"

namespace nb = nanobind;

namespace stoker::bind {
namespace {

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const std::int32_t, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Sizes = nb::ndarray<const std::int32_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;

template <typename T, typename... Shape>
nb::object to_array(std::unique_ptr<T[]> values, Shape... shape) {
  T* data = values.release();
  nb::capsule owner(data, [](void* pointer) noexcept { delete[] static_cast<T*>(pointer); });
  return nb::cast(nb::ndarray<nb::numpy, T>(data, {static_cast<std::size_t>(shape)...}, owner));
}

void check_rows(std::size_t expected, std::initializer_list<std::size_t> rows) {
  for (const std::size_t count : rows) {
    if (count != expected) {
      const std::string text = "arrays of a batch must have one row for each image: got " + std::to_string(expected) + " and " + std::to_string(count);
      throw nb::value_error(text.c_str());
    }
  }
}

CropTarget checked_target(std::uintptr_t target, std::size_t stride, int height, int width, bool antialias, bool planar) {
  if (height < 1 || width < 1 || stride / 3 / static_cast<std::size_t>(height) < static_cast<std::size_t>(width)) {
    throw nb::value_error("a target has at least one pixel, and its stride is at least an image's bytes");
  }
  return {reinterpret_cast<std::uint8_t*>(target), stride, height, width, antialias, planar};
}

CropBox box_at(const Boxes& boxes, std::size_t i) {
  const std::int32_t* box = boxes.data() + 4 * i;
  return {box[0], box[1], box[2], box[3]};
}

const std::uint8_t* pointer_at(const Column<std::uint64_t>& addresses, std::size_t i) {
  return reinterpret_cast<const std::uint8_t*>(static_cast<std::uintptr_t>(addresses.data()[i]));
}

nb::object decode_crops(const Column<std::uint64_t>& addresses, const Column<std::int64_t>& sizes, const Boxes& boxes,
                        const Column<std::uint8_t>& flips, std::uintptr_t target, std::size_t target_stride, int target_height,
                        int target_width, bool antialias, bool planar) {
  const std::size_t count = addresses.size();
  check_rows(count, {sizes.size(), boxes.shape(0), flips.size()});
  const CropTarget where = checked_target(target, target_stride, target_height, target_width, antialias, planar);
  auto statuses = std::make_unique<std::uint8_t[]>(count);
  {
    nb::gil_scoped_release release;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t size = static_cast<std::size_t>(std::max<std::int64_t>(sizes.data()[i], 0));
      statuses[i] = decode_crop({pointer_at(addresses, i), size, box_at(boxes, i), flips.data()[i]}, where, i);
    }
    release_large_scratch();
  }
  return to_array(std::move(statuses), count);
}

void resample_crops(const Column<std::uint64_t>& addresses, const Column<std::int32_t>& heights, const Column<std::int32_t>& widths,
                    const Boxes& boxes, const Column<std::uint8_t>& flips, std::uintptr_t target, std::size_t target_stride,
                    int target_height, int target_width, bool antialias, bool planar) {
  const std::size_t count = addresses.size();
  check_rows(count, {heights.size(), widths.size(), boxes.shape(0), flips.size()});
  const CropTarget where = checked_target(target, target_stride, target_height, target_width, antialias, planar);
  std::size_t bad = count;
  {
    nb::gil_scoped_release release;
    for (std::size_t i = 0; i < count && bad == count; ++i) {
      const RawCrop crop{pointer_at(addresses, i), heights.data()[i], widths.data()[i], box_at(boxes, i), flips.data()[i]};
      if (!resample_crop(crop, where, i)) {
        bad = i;
      }
    }
  }
  if (bad < count) {
    const std::string text = "box " + std::to_string(bad) + " is not within its image";
    throw nb::value_error(text.c_str());
  }
}

nb::object jpeg_sizes(const Column<std::uint64_t>& addresses, const Column<std::int64_t>& sizes) {
  const std::size_t count = addresses.size();
  check_rows(count, {sizes.size()});
  auto found = std::make_unique<std::int32_t[]>(3 * count);
  {
    nb::gil_scoped_release release;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t size = static_cast<std::size_t>(std::max<std::int64_t>(sizes.data()[i], 0));
      std::int32_t* row = found.get() + 3 * i;
      try {
        const jpeg::BaselineHeader header = jpeg::read_baseline_header({pointer_at(addresses, i), size});
        row[0] = header.height;
        row[1] = header.width;
        row[2] = header.orientation;
      } catch (const jpeg::Refused&) {
        row[0] = row[1] = 0;
        row[2] = 1;
      }
    }
  }
  return to_array(std::move(found), count, 3);
}

nb::object draw_resized_crops(const Column<std::uint64_t>& keys, const Sizes& sizes, double scale_low, double scale_high,
                              double log_ratio_low, double log_ratio_high, double ratio_low, double ratio_high) {
  const std::size_t count = keys.size();
  check_rows(count, {sizes.shape(0)});
  const ResizedCropRange range{scale_low, scale_high, log_ratio_low, log_ratio_high, ratio_low, ratio_high};
  auto boxes = std::make_unique<std::int32_t[]>(4 * count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t height = sizes.data()[2 * i], width = sizes.data()[2 * i + 1];
    if (height < 1 || width < 1) {
      const std::string text = "image " + std::to_string(i) + " has no pixels";
      throw nb::value_error(text.c_str());
    }
    const CropBox box = draw_resized_crop(keys.data()[i], height, width, range);
    std::int32_t* row = boxes.get() + 4 * i;
    row[0] = box.top;
    row[1] = box.left;
    row[2] = box.height;
    row[3] = box.width;
  }
  return to_array(std::move(boxes), count, 4);
}

}  // namespace

void add_crops(nb::module_& module) {
  module.def("decode_crops", &decode_crops, nb::arg("addresses"), nb::arg("sizes"), nb::arg("boxes"), nb::arg("flips"),
             nb::arg("target"), nb::arg("target_stride"), nb::arg("target_height"), nb::arg("target_width"), nb::arg("antialias"),
             nb::arg("planar"), "Decodes, resizes and flips a rectangle of each JPEG; 0 where it is done, 1 where it is left to the caller.");
  module.def("resample_crops", &resample_crops, nb::arg("addresses"), nb::arg("heights"), nb::arg("widths"), nb::arg("boxes"),
             nb::arg("flips"), nb::arg("target"), nb::arg("target_stride"), nb::arg("target_height"), nb::arg("target_width"),
             nb::arg("antialias"), nb::arg("planar"), "Resizes and flips a rectangle of each RGB image in memory. Raises ValueError.");
  module.def("jpeg_sizes", &jpeg_sizes, nb::arg("addresses"), nb::arg("sizes"),
             "(height, width, EXIF orientation) of each JPEG; height 0 where decode_crops does not take it.");
  module.def("draw_resized_crops", &draw_resized_crops, nb::arg("keys"), nb::arg("sizes"), nb::arg("scale_low"), nb::arg("scale_high"),
             nb::arg("log_ratio_low"), nb::arg("log_ratio_high"), nb::arg("ratio_low"), nb::arg("ratio_high"),
             "(top, left, height, width) of a random rectangle of each image, as RandomResizedCrop draws it.");
}

}  // namespace stoker::bind
