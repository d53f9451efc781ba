#include "jpeg/crop_plan.hpp"

#include <algorithm>

namespace stoker::jpeg {
namespace {

int ceil_div(int a, int b) { return (a + b - 1) / b; }

// libjpeg halves a component by its inverse DCT less often where it is subsampled: then it need not be upsampled.
int block_side_of(const BaselineHeader& header, const BaselineComponent& component, int least) {
  int side = least;
  while (side < kBlockSide && header.horizontal_max * least % (component.horizontal * side * 2) == 0 &&
         header.vertical_max * least % (component.vertical * side * 2) == 0) {
    side *= 2;
  }
  return side;
}

// The MCUs that hold pixels [start, start + length) and the samples of colour that these are made of.
Span covering(int start, int length, int ratio, bool is_smooth, int mcu_pixels, int num_mcus) {
  const int margin = is_smooth ? ratio : 0;  // the next sample of colour, on either side
  const int first = std::max(0, start - margin) / mcu_pixels;
  return {first, std::min(num_mcus, ceil_div(start + length + margin, mcu_pixels))};
}

void plan_plane(const BaselineHeader& header, const CropPlan& plan, int i, Plane& plane) {
  const BaselineComponent& component = header.components[i];
  const int mcu_rows = component.vertical * plane.block_side;
  const int mcu_columns = component.horizontal * plane.block_side;
  plane.height = ceil_div(header.height * mcu_rows, header.vertical_max * kBlockSide);
  plane.width = ceil_div(header.width * mcu_columns, header.horizontal_max * kBlockSide);
  plane.first_row = plan.mcu_rows.first * mcu_rows;
  plane.first_column = plan.mcu_columns.first * mcu_columns;
  plane.rows = static_cast<std::size_t>(plan.mcu_rows.size()) * mcu_rows;
  plane.stride = static_cast<std::size_t>(plan.mcu_columns.size()) * mcu_columns;
}

}  // namespace

CropPlan plan_crop(const BaselineHeader& header, Rectangle box, int reduction) {
  if (box.top < 0 || box.left < 0 || box.height < 1 || box.width < 1 || box.top > header.height - box.height ||
      box.left > header.width - box.width) {
    throw Refused("a rectangle outside of the picture");
  }
  CropPlan plan;
  plan.box = {box.top / reduction, box.left / reduction, std::max(1, box.height / reduction), std::max(1, box.width / reduction)};
  const int side = kBlockSide / reduction;
  for (int i = 0; i < header.num_components; ++i) {
    plan.planes[i].block_side = block_side_of(header, header.components[i], side);
  }
  if (header.num_components == 3) {
    const int colour_side = plan.planes[1].block_side;
    plan.colour_ratio_down = header.vertical_max * side / colour_side;
    plan.colour_ratio_across = header.horizontal_max * side / colour_side;
    // As libjpeg: two columns of colour, or blocks of one sample, are repeated.
    const int colour_width = ceil_div(header.width * colour_side, header.horizontal_max * kBlockSide);
    const bool is_wide = plan.colour_ratio_across == 1 || colour_width > 2;
    plan.smooth_down = plan.colour_ratio_down == 2 && side > 1 && is_wide;
    plan.smooth_across = plan.colour_ratio_across == 2 && side > 1 && is_wide;
  }
  plan.mcu_rows = covering(plan.box.top, plan.box.height, plan.colour_ratio_down, plan.smooth_down, side * header.vertical_max,
                           header.mcus_high);
  plan.mcu_columns = covering(plan.box.left, plan.box.width, plan.colour_ratio_across, plan.smooth_across,
                              side * header.horizontal_max, header.mcus_wide);
  for (int i = 0; i < header.num_components; ++i) {
    plan_plane(header, plan, i, plan.planes[i]);
  }
  return plan;
}

}  // namespace stoker::jpeg
