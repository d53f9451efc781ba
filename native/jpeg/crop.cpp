// What precedes decoding, and the code of it for any processor.
#define STOKER_DECODE_CROP decode_crop_baseline
#include "jpeg/crop_kernels.hpp"

#include <memory>

#include "jpeg/crop.hpp"
#include "jpeg/markers.hpp"
#include "processor.hpp"

namespace stoker::jpeg {

#if defined(STOKER_HAS_AVX2_UNIT)
void decode_crop_avx2(Bytes file, const BaselineHeader& header, const CropPlan& plan, CropScratch& scratch);
#endif

namespace {

constexpr std::size_t kPadding = 128;
constexpr std::size_t kMaxCropPixels = std::size_t{1} << 26;
constexpr std::size_t kKeptBytes = std::size_t{1} << 25;

thread_local std::unique_ptr<CropScratch> scratch_of_thread;

void decode(Bytes file, const BaselineHeader& header, const CropPlan& plan, CropScratch& scratch) {
#if defined(STOKER_HAS_AVX2_UNIT)
  if (has_avx2()) {
    return decode_crop_avx2(file, header, plan, scratch);
  }
#endif
  decode_crop_baseline(file, header, plan, scratch);
}

void build_tables(const BaselineHeader& header, CropScratch& scratch) {
  for (int i = 0; i < header.num_components; ++i) {
    const BaselineComponent& component = header.components[i];
    scratch.dc_tables[component.dc_table].build(header.dc_tables[component.dc_table]);
    scratch.ac_tables[component.ac_table].build(header.ac_tables[component.ac_table]);
  }
}

template <typename T>
void grow(std::vector<T>& vector, std::size_t size) {
  if (vector.size() < size) {
    vector.resize(size);
  }
}

void allocate(Bytes file, const BaselineHeader& header, CropPlan& plan, CropScratch& scratch) {
  std::size_t size = 0, num_blocks = 0;
  for (int i = 0; i < header.num_components; ++i) {
    const Plane& plane = plan.planes[i];
    size += plane.stride * plane.rows;
    num_blocks += plane.stride * plane.rows / static_cast<std::size_t>(plane.block_side * plane.block_side);
  }
  const std::size_t width = static_cast<std::size_t>(plan.box.width), num_pixels = width * static_cast<std::size_t>(plan.box.height);
  if (num_pixels > kMaxCropPixels || num_blocks / 8 > file.size()) {  // before anything is allocated for them
    throw Refused("a crop that is too large, or more blocks than the file has bits for");
  }
  grow(scratch.samples, size + kPadding);
  grow(scratch.pixels, 3 * num_pixels + kPadding);
  grow(scratch.sums, width / 2 + kPadding);
  grow(scratch.colour[0], width + kPadding);
  grow(scratch.colour[1], width + kPadding);
  std::uint8_t* samples = scratch.samples.data();
  for (int i = 0; i < header.num_components; ++i) {
    plan.planes[i].samples = samples;
    samples += plan.planes[i].stride * plan.planes[i].rows;
  }
}

int reduction_of(Rectangle box, int least_height, int least_width) {
  for (const int reduction : {8, 4, 2}) {
    if (box.height / reduction >= least_height && box.width / reduction >= least_width) {
      return reduction;
    }
  }
  return 1;
}

}  // namespace

Pixels decode_crop(Bytes file, Rectangle box, int least_height, int least_width) {
  // What stands behind the last wanted MCU is not looked at: at least the file must not have been cut off there.
  if (file.size() < 4 || file[file.size() - 2] != 0xFF || file[file.size() - 1] != kEOI) {
    throw Refused("cut off");
  }
  const BaselineHeader header = read_baseline_header(file);
  if (header.orientation != 1) {
    throw Refused("a picture that is to be turned");
  }
  if (!scratch_of_thread) {
    scratch_of_thread = std::make_unique<CropScratch>();
  }
  CropScratch& scratch = *scratch_of_thread;
  CropPlan plan = plan_crop(header, box, reduction_of(box, least_height, least_width));
  build_tables(header, scratch);
  allocate(file, header, plan, scratch);
  decode(file, header, plan, scratch);
  return {scratch.pixels.data(), plan.box.height, plan.box.width};
}

void release_large_scratch() noexcept {
  if (scratch_of_thread && scratch_of_thread->samples.capacity() + scratch_of_thread->pixels.capacity() > kKeptBytes) {
    scratch_of_thread.reset();
  }
}

}  // namespace stoker::jpeg
