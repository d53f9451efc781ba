// Functions that take a whole batch of images.
#pragma once

#include <nanobind/nanobind.h>

namespace stoker::bind {

void add_crops(nanobind::module_& module);

}  // namespace stoker::bind
