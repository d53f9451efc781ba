// The seam between Python and the native core. Tensors come in as addresses: reading one costs 50 ns, converting a tensor
// argument a microsecond. The one caller of each function, in Python, owns the checks.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "gather.hpp"
#include "resample.hpp"

namespace nb = nanobind;

namespace {

constexpr std::size_t kLongBytes = 1 << 20;  // a copy of this size is worth letting other threads run

using Indices = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void gather_rows(std::uintptr_t table, std::size_t num_rows, std::size_t row_bytes, const Indices& indices, std::uintptr_t target) {
  const std::size_t count = indices.size();
  const auto gather = [&] {
    return stoker::gather_rows(reinterpret_cast<const std::byte*>(table), num_rows, row_bytes, indices.data(), count,
                               reinterpret_cast<std::byte*>(target));
  };
  std::size_t bad = 0;
  if (count * row_bytes >= kLongBytes) {
    nb::gil_scoped_release release;
    bad = gather();
  } else {
    bad = gather();
  }
  if (bad < count) {
    const std::string text = "index " + std::to_string(indices.data()[bad]) + " is out of range for " + std::to_string(num_rows) + " rows";
    throw nb::index_error(text.c_str());
  }
}

void resample_rgb(std::uintptr_t source, std::size_t source_stride, int source_height, int source_width, std::uintptr_t target,
                  int target_height, int target_width, bool antialias, bool flip_horizontally, bool flip_vertically, bool planar) {
  nb::gil_scoped_release release;
  stoker::resample_rgb({reinterpret_cast<const std::uint8_t*>(source), source_stride, source_height, source_width,
                        reinterpret_cast<std::uint8_t*>(target), target_height, target_width, antialias, flip_horizontally,
                        flip_vertically, planar});
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "Stoker's native core.";
  module.def("gather_rows", &gather_rows, nb::arg("table"), nb::arg("num_rows"), nb::arg("row_bytes"), nb::arg("indices"),
             nb::arg("target"), "Copies rows of a table; `table` and `target` are addresses of contiguous memory. Raises IndexError.");
  module.def("resample_rgb", &resample_rgb, nb::arg("source"), nb::arg("source_stride"), nb::arg("source_height"),
             nb::arg("source_width"), nb::arg("target"), nb::arg("target_height"), nb::arg("target_width"), nb::arg("antialias"),
             nb::arg("flip_horizontally"), nb::arg("flip_vertically"), nb::arg("planar"),
             "Resizes 8-bit RGB pixels; `source` and `target` are addresses.");
}
