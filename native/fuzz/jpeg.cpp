// Changes JPEGs at random, and tiles, cuts and decodes what comes of it, for a stated time: `make fuzz`. Built with the address and
// undefined-behaviour sanitizers, which end it at the first wrong step. What is accepted must be accepted again, unchanged, and a crop
// is the same with tiles and without.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "jpeg/baseline_header.hpp"
#include "jpeg/crop.hpp"
#include "jpeg/tiles.hpp"

namespace {

using File = std::vector<std::uint8_t>;

File read(const char* path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// A few bytes changed, a piece removed, or a piece of another file put in.
File changed(const File& file, const File& other, std::mt19937_64& random) {
  File result = file;
  const auto below = [&](std::size_t limit) { return limit ? static_cast<std::size_t>(random() % limit) : 0; };
  for (std::size_t left = 1 + below(4); left && !result.empty(); --left) {
    const std::size_t reach = below(2) ? result.size() : std::min<std::size_t>(result.size(), 700);  // headers are where it is decided
    const auto place = result.begin() + static_cast<std::ptrdiff_t>(below(reach));
    const std::size_t length = below(1 + std::min<std::size_t>(40, static_cast<std::size_t>(result.end() - place)));
    switch (below(4)) {
      case 0:
        result.erase(place, place + static_cast<std::ptrdiff_t>(length));
        break;
      case 1:
        if (other.size() > length) {
          const auto from = other.begin() + static_cast<std::ptrdiff_t>(below(other.size() - length));
          result.insert(place, from, from + static_cast<std::ptrdiff_t>(length));
        }
        break;
      case 2:
        *place = static_cast<std::uint8_t>(1U << below(8)) ^ *place;
        break;
      default:
        *place = static_cast<std::uint8_t>(below(3) ? random() : 0xFF);
    }
  }
  return result;
}

using Random = std::mt19937_64;

// A rectangle that is within the picture, if there is one and nine times in ten.
stoker::jpeg::Rectangle random_box(const File& file, Random& random) {
  const auto side = [&] { return static_cast<int>(random() % 300) - 5; };
  if (random() % 10 == 0) {
    return {side(), side(), side(), side()};
  }
  try {
    const stoker::jpeg::BaselineHeader header = stoker::jpeg::read_baseline_header(file);
    const int top = static_cast<int>(random() % header.height), left = static_cast<int>(random() % header.width);
    return {top, left, 1 + static_cast<int>(random() % (header.height - top)), 1 + static_cast<int>(random() % (header.width - left))};
  } catch (const stoker::jpeg::Refused&) {
    return {side(), side(), side(), side()};
  }
}

struct Crop {
  stoker::jpeg::Rectangle box;
  int least_height, least_width;
};

// The crop's pixels; none where it is refused.
File decoded(const File& file, const Crop& crop) {
  try {
    const stoker::jpeg::Pixels pixels = stoker::jpeg::decode_crop(file, crop.box, crop.least_height, crop.least_width);
    return {pixels.data, pixels.data + 3 * static_cast<std::size_t>(pixels.height) * static_cast<std::size_t>(pixels.width)};
  } catch (const stoker::jpeg::Refused&) {
    return {};
  }
}

void check_crops(const File& file, const File& tiled, Random& random) {
  for (int i = 0; i < 4; ++i) {
    const int reduction = 1 << i;
    Crop crop{random_box(tiled, random), 1, 1};
    crop.least_height = std::max(1, crop.box.height / reduction);
    crop.least_width = std::max(1, crop.box.width / reduction);
    const File plain_pixels = decoded(file, crop), tiled_pixels = decoded(tiled, crop);
    if (!plain_pixels.empty() && plain_pixels != tiled_pixels) {
      std::puts("a crop of a tiled file is not that of the file");
      std::abort();
    }
  }
}

bool try_one(const File& file, Random& random) {
  const auto side = [&] { return static_cast<int>(random() % 300) - 5; };
  try {
    stoker::jpeg::extract(file, {side(), side(), side(), side()});
  } catch (const stoker::jpeg::Refused&) {
  }
  for (int reduction = 1; reduction <= 8; reduction *= 2) {
    const stoker::jpeg::Rectangle box = random_box(file, random);
    decoded(file, {box, std::max(1, box.height / reduction), std::max(1, box.width / reduction)});
  }
  File tiled;
  try {
    tiled = stoker::jpeg::retile(file, 1 + static_cast<int>(random() % 6));
  } catch (const stoker::jpeg::Refused&) {
    return false;
  }
  // From here on a Refused is a mistake of ours, and ends the program.
  if (stoker::jpeg::retile(stoker::jpeg::retile(tiled, 3), 3) != stoker::jpeg::retile(tiled, 3)) {
    std::puts("a tiled file changes when it is tiled again");
    std::abort();
  }
  stoker::jpeg::extract(tiled, {0, 0, 1, 1});
  check_crops(file, tiled, random);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::puts("usage: fuzz-jpeg SECONDS SEED FILE...");
    return 2;
  }
  std::vector<File> corpus;
  for (int i = 3; i < count; ++i) {
    corpus.push_back(read(arguments[i]));
  }
  std::mt19937_64 random(std::strtoull(arguments[2], nullptr, 10));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(arguments[1]));
  std::uint64_t tried = 0;
  std::uint64_t accepted = 0;
  for (; std::chrono::steady_clock::now() < end; ++tried) {
    const File& file = corpus[random() % corpus.size()];
    accepted += try_one(changed(file, corpus[random() % corpus.size()], random), random);
  }
  std::printf("%llu files tried, %llu of them tiled, nothing wrong\n", static_cast<unsigned long long>(tried), static_cast<unsigned long long>(accepted));
  return 0;
}
