// The seam between Python and the native core. Tensors come in as addresses: reading one costs 50 ns, converting a tensor
// argument a microsecond. The one caller of each function, in Python, owns the checks.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cerrno>
#include <string>
#include <vector>

#include "bind/crops.hpp"
#include "gather.hpp"
#include "jpeg/tiles.hpp"
#include "resample.hpp"
#include "spans.hpp"

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

stoker::jpeg::Bytes bytes_of(const nb::bytes& data) { return {static_cast<const std::uint8_t*>(data.data()), data.size()}; }

nb::bytes to_bytes(const std::vector<std::uint8_t>& data) { return nb::bytes(data.data(), data.size()); }

nb::object retile_jpeg(const nb::bytes& data, int tile_mcus) {
  std::vector<std::uint8_t> tiled;
  try {
    nb::gil_scoped_release release;
    tiled = stoker::jpeg::retile(bytes_of(data), tile_mcus);
  } catch (const stoker::jpeg::Refused&) {
    return nb::none();
  }
  return to_bytes(tiled);
}

nb::object extract_tiles(const nb::bytes& data, int top, int left, int height, int width) {
  stoker::jpeg::Extract extract;
  try {
    nb::gil_scoped_release release;
    extract = stoker::jpeg::extract(bytes_of(data), {top, left, height, width});
  } catch (const stoker::jpeg::Refused&) {
    return nb::none();
  }
  return nb::make_tuple(to_bytes(extract.file), extract.top, extract.left);
}

using Addresses = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::tuple map_file(const nb::bytes& path) {
  stoker::Mapping mapping{};
  {
    nb::gil_scoped_release release;
    mapping = stoker::map_file(path.c_str());
  }
  if (mapping.error) {
    errno = mapping.error;
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, path.c_str());
    throw nb::python_error();
  }
  return nb::make_tuple(reinterpret_cast<std::uintptr_t>(mapping.data), mapping.size);
}

void require_pairs(const Addresses& addresses, const Indices& lengths) {
  if (addresses.size() != lengths.size()) {
    throw nb::value_error("addresses and lengths must be of one length");
  }
}

void copy_spans(const Addresses& addresses, const Indices& lengths, std::uintptr_t target) {
  require_pairs(addresses, lengths);
  nb::gil_scoped_release release;
  stoker::copy_spans(addresses.data(), lengths.data(), addresses.size(), reinterpret_cast<std::byte*>(target));
}

void widen_rows(const Addresses& addresses, std::size_t length, const std::string& dtype, std::uintptr_t target) {
  auto* out = reinterpret_cast<std::int64_t*>(target);
  const auto run = [&](auto kernel) {
    nb::gil_scoped_release release;
    kernel(addresses.data(), addresses.size(), length, out);
  };
  if (dtype == "uint8") {
    run(stoker::widen_rows<std::uint8_t>);
  } else if (dtype == "uint16") {
    run(stoker::widen_rows<std::uint16_t>);
  } else if (dtype == "uint32") {
    run(stoker::widen_rows<std::uint32_t>);
  } else if (dtype == "int32") {
    run(stoker::widen_rows<std::int32_t>);
  } else {
    throw nb::value_error("rows of uint8, uint16, uint32 or int32 can be widened");
  }
}

nb::tuple read_spans(const std::vector<nb::bytes>& paths, const Indices& files, const Indices& offsets, const Indices& lengths,
                     std::uintptr_t target, std::int64_t max_gap) {
  if (files.size() != offsets.size() || files.size() != lengths.size()) {
    throw nb::value_error("files, offsets and lengths are not of one length");
  }
  std::vector<const char*> names;
  for (const nb::bytes& path : paths) {
    names.push_back(path.c_str());
  }
  std::vector<stoker::FileSpan> spans;
  spans.reserve(files.size());
  auto* place = reinterpret_cast<std::byte*>(target);
  for (std::size_t position = 0; position < files.size(); ++position) {
    const std::int64_t file = files.data()[position], offset = offsets.data()[position], length = lengths.data()[position];
    if (file < 0 || static_cast<std::size_t>(file) >= names.size() || offset < 0 || length < 0) {
      throw nb::value_error("a span of no file, or with a place or length below 0");
    }
    spans.push_back({static_cast<std::size_t>(file), offset, length, place});
    place += length;
  }
  stoker::ReadResult result;
  {
    nb::gil_scoped_release release;
    result = stoker::read_spans(names.data(), spans.data(), spans.size(), max_gap);
  }
  return nb::make_tuple(result.error, result.file, result.offset);
}

void load_bounds(const Addresses& addresses, std::uintptr_t target) {
  nb::gil_scoped_release release;
  stoker::load_bounds(addresses.data(), addresses.size(), reinterpret_cast<std::int64_t*>(target));
}

std::size_t read_ahead(const Addresses& addresses, const Indices& lengths, std::int64_t max_gap) {
  require_pairs(addresses, lengths);
  nb::gil_scoped_release release;
  std::vector<stoker::Span> spans;
  spans.reserve(addresses.size());
  for (std::size_t position = 0; position < addresses.size(); ++position) {
    spans.push_back({addresses.data()[position], lengths.data()[position]});
  }
  return stoker::read_ahead(spans.data(), spans.size(), max_gap);
}

std::size_t count_resident(const Addresses& addresses) { return stoker::count_resident(addresses.data(), addresses.size()); }

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "Stoker's native core.";
  module.def("gather_rows", &gather_rows, nb::arg("table"), nb::arg("num_rows"), nb::arg("row_bytes"), nb::arg("indices"),
             nb::arg("target"), "Copies rows of a table; `table` and `target` are addresses of contiguous memory. Raises IndexError.");
  module.def("resample_rgb", &resample_rgb, nb::arg("source"), nb::arg("source_stride"), nb::arg("source_height"),
             nb::arg("source_width"), nb::arg("target"), nb::arg("target_height"), nb::arg("target_width"), nb::arg("antialias"),
             nb::arg("flip_horizontally"), nb::arg("flip_vertically"), nb::arg("planar"),
             "Resizes 8-bit RGB pixels; `source` and `target` are addresses.");
  module.def("retile_jpeg", &retile_jpeg, nb::arg("data"), nb::arg("tile_mcus"),
             "The same JPEG with a restart marker after about `tile_mcus` MCUs; None for what has to stay as it is.");
  module.def("extract_tiles", &extract_tiles, nb::arg("data"), nb::arg("top"), nb::arg("left"), nb::arg("height"), nb::arg("width"),
             "(a JPEG of the tiles that cover the rectangle, its top, its left); None where `data` is not tiled, or damaged.");
  module.def("map_file", &map_file, nb::arg("path"), "(address, bytes) of a file, mapped read-only; its path as os.fsencode gives it. Raises OSError.");
  module.def("unmap_file", &stoker::unmap_file, nb::arg("address"), nb::arg("size"), "Ends a mapping.");
  module.def("copy_spans", &copy_spans, nb::arg("addresses"), nb::arg("lengths"), nb::arg("target"),
             "Copies spans of memory behind each other. Releases the GIL.");
  module.def("widen_rows", &widen_rows, nb::arg("addresses"), nb::arg("length"), nb::arg("dtype"), nb::arg("target"),
             "Copies rows of whole numbers as 64-bit ones. Releases the GIL.");
  module.def("read_spans", &read_spans, nb::arg("paths"), nb::arg("files"), nb::arg("offsets"), nb::arg("lengths"), nb::arg("target"),
             nb::arg("max_gap"), "Reads spans of files behind each other, near ones by one preadv. Releases the GIL.");
  module.def("load_bounds", &load_bounds, nb::arg("addresses"), nb::arg("target"),
             "Reads two neighbouring 64-bit numbers at each address. Releases the GIL.");
  module.def("count_resident", &count_resident, nb::arg("addresses"), "How many of these addresses stand in pages that are in memory.");
  module.def("read_ahead", &read_ahead, nb::arg("addresses"), nb::arg("lengths"), nb::arg("max_gap"),
             "Tells the kernel that spans of mapped files will be needed. Releases the GIL.");
  stoker::bind::add_crops(module);
}
