// Upsampling of colour and YCbCr -> RGB, bit for bit those of libjpeg: triangle filters in integers whose roundings alternate, and a
// matrix of 16 fractional bits. Compiled once for each set of instructions; no include guard: included by crop_kernels.hpp, and
// nowhere else.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "jpeg/crop_plan.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace stoker::jpeg {
namespace {

// out[2i] lies a quarter of a sample before the middle of sums[i], out[2i + 1] a quarter behind it. Reads one neighbour on each side.
template <int kShift, int kEvenBias, int kOddBias>
void double_row(const std::uint16_t* __restrict sums, int count, std::uint8_t* __restrict out) {
  int i = 0;
#if defined(__AVX2__)
  const __m256i even_bias = _mm256_set1_epi16(kEvenBias), odd_bias = _mm256_set1_epi16(kOddBias);
  const auto load = [&](int at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + at)); };
  for (; i < count; i += 16) {  // up to 15 too many: rows are padded
    const __m256i here = load(i), thrice = _mm256_add_epi16(here, _mm256_slli_epi16(here, 1));
    const __m256i even = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(thrice, load(i - 1)), even_bias), kShift);
    const __m256i odd = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(thrice, load(i + 1)), odd_bias), kShift);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i), _mm256_or_si256(even, _mm256_slli_epi16(odd, 8)));
  }
#endif
  for (; i < count; ++i) {
    out[2 * i] = static_cast<std::uint8_t>((3 * sums[i] + sums[i - 1] + kEvenBias) >> kShift);
    out[2 * i + 1] = static_cast<std::uint8_t>((3 * sums[i] + sums[i + 1] + kOddBias) >> kShift);
  }
}

// Samples [first, last] of a row, and one more on each side, blended 3:1 with another row, which adds two bits, or as they are. Beyond
// the picture its last sample is repeated.
void sum_rows(const Plane& plane, int row, const int* other_row, int first, int last, std::uint16_t* __restrict sums) {
  const int from = std::max(first - 1, 0), to = std::min(last + 1, plane.width - 1);
  const std::uint8_t* __restrict near = plane.at(row, from);
  std::uint16_t* __restrict at = sums + (from - first);
  if (other_row) {
    const std::uint8_t* __restrict far = plane.at(*other_row, from);
    for (int i = 0; i <= to - from; ++i) at[i] = static_cast<std::uint16_t>(3 * near[i] + far[i]);
  } else {
    for (int i = 0; i <= to - from; ++i) at[i] = near[i];
  }
  if (from == first) sums[-1] = sums[0];
  if (to == last) sums[last - first + 1] = sums[last - first];
}

// Colour for the crop's pixels in row `y` of the picture: in `out`, or where the plane has it. `sums` and `out` are padded.
const std::uint8_t* colour_row(const CropPlan& plan, const Plane& plane, int y, std::uint16_t* sums, std::uint8_t* __restrict out) {
  const int left = plan.box.left, width = plan.box.width;
  const int row = plan.colour_ratio_down == 2 ? y >> 1 : y;
  const int other = std::clamp(y & 1 ? row + 1 : row - 1, 0, plane.height - 1);
  if (plan.colour_ratio_across == 1) {
    const std::uint8_t* __restrict near = plane.at(row, left);
    if (!plan.smooth_down) return near;
    const std::uint8_t* __restrict far = plane.at(other, left);
    const int bias = y & 1 ? 2 : 1;
    for (int x = 0; x < width; ++x) out[x] = static_cast<std::uint8_t>((3 * near[x] + far[x] + bias) >> 2);
    return out;
  }
  const int first = left >> 1, last = (left + width - 1) >> 1;
  if (!plan.smooth_across) {
    const std::uint8_t* from = plane.at(row, first);
    for (int i = 0; i <= last - first; ++i) out[2 * i] = out[2 * i + 1] = from[i];
  } else if (plan.smooth_down) {
    sum_rows(plane, row, &other, first, last, sums);
    double_row<4, 8, 7>(sums, last - first + 1, out);
  } else {
    sum_rows(plane, row, nullptr, first, last, sums);
    double_row<2, 1, 2>(sums, last - first + 1, out);
  }
  return out + (left & 1);
}

#if defined(__AVX2__)

__m256i load32(const std::uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

// 16 levels each of red, green and blue in either half -> 48 bytes of pixels from each half, in three parts.
inline void store_pixels(__m256i red, __m256i green, __m256i blue, std::uint8_t* out) {
  const auto twice = [](auto... bytes) { return _mm256_broadcastsi128_si256(_mm_setr_epi8(bytes...)); };
  const auto merged = [](__m256i a, __m256i b, __m256i c) { return _mm256_or_si256(_mm256_or_si256(a, b), c); };
  const __m256i parts[3] = {
      merged(_mm256_shuffle_epi8(red, twice(0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5)),
             _mm256_shuffle_epi8(green, twice(-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1)),
             _mm256_shuffle_epi8(blue, twice(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1))),
      merged(_mm256_shuffle_epi8(red, twice(-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1)),
             _mm256_shuffle_epi8(green, twice(5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10)),
             _mm256_shuffle_epi8(blue, twice(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1))),
      merged(_mm256_shuffle_epi8(red, twice(-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1)),
             _mm256_shuffle_epi8(green, twice(-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1)),
             _mm256_shuffle_epi8(blue, twice(10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15)))};
  for (int i = 0; i < 3; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * i), _mm256_castsi256_si128(parts[i]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 48 + 16 * i), _mm256_extracti128_si256(parts[i], 1));
  }
}

struct Rgb16 {
  __m256i red, green, blue;
};

// 16 pixels, not yet saturated. Constants above one half, which 16 bits have no room for, are split: 1.402 = 1 + 0.402.
inline Rgb16 to_rgb16(__m128i y_bytes, __m128i cb_bytes, __m128i cr_bytes) {
  const __m256i center = _mm256_set1_epi16(128), one = _mm256_set1_epi16(1), half = _mm256_set1_epi32(1 << 15);
  const __m256i y = _mm256_cvtepu8_epi16(y_bytes);
  const __m256i cb = _mm256_sub_epi16(_mm256_cvtepu8_epi16(cb_bytes), center);
  const __m256i cr = _mm256_sub_epi16(_mm256_cvtepu8_epi16(cr_bytes), center);
  const auto scaled = [&](__m256i twice, int constant) {  // half of twice × constant / 65536, rounded
    return _mm256_srai_epi16(_mm256_add_epi16(_mm256_mulhi_epi16(twice, _mm256_set1_epi16(static_cast<short>(constant))), one), 1);
  };
  const __m256i twice_cb = _mm256_add_epi16(cb, cb), twice_cr = _mm256_add_epi16(cr, cr);
  const __m256i red = _mm256_add_epi16(_mm256_add_epi16(y, cr), scaled(twice_cr, 26345));
  const __m256i blue = _mm256_add_epi16(_mm256_add_epi16(y, twice_cb), scaled(twice_cb, -14942));
  const __m256i constants = _mm256_set1_epi32((18734 << 16) | (-22554 & 0xFFFF));
  const auto green_part = [&](__m256i pairs) {
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs, constants), half), 16);
  };
  const __m256i mixed = _mm256_packs_epi32(green_part(_mm256_unpacklo_epi16(cb, cr)), green_part(_mm256_unpackhi_epi16(cb, cr)));
  return {red, _mm256_sub_epi16(_mm256_add_epi16(y, mixed), cr), blue};
}

// Rounds up to 32 pixels: everything is padded.
void to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count, std::uint8_t* out) {
  for (int x = 0; x < count; x += 32, out += 96) {
    const auto low = [](__m256i bytes) { return _mm256_castsi256_si128(bytes); };
    const auto high = [](__m256i bytes) { return _mm256_extracti128_si256(bytes, 1); };
    const __m256i y32 = load32(y + x), cb32 = load32(cb + x), cr32 = load32(cr + x);
    const Rgb16 left = to_rgb16(low(y32), low(cb32), low(cr32)), right = to_rgb16(high(y32), high(cb32), high(cr32));
    const auto bytes = [](__m256i a, __m256i b) { return _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xD8); };
    store_pixels(bytes(left.red, right.red), bytes(left.green, right.green), bytes(left.blue, right.blue), out);
  }
}

#else

void to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count, std::uint8_t* out) {
  constexpr int kHalf = 1 << 15;
  const auto level = [](int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); };
  for (int x = 0; x < count; ++x, out += 3) {
    const int blue = cb[x] - 128, red = cr[x] - 128;
    out[0] = level(y[x] + ((91881 * red + kHalf) >> 16));
    out[1] = level(y[x] + ((-22554 * blue - 46802 * red + kHalf) >> 16));
    out[2] = level(y[x] + ((116130 * blue + kHalf) >> 16));
  }
}

#endif

void grey_to_rgb(const std::uint8_t* y, int count, std::uint8_t* out) {
  for (int x = 0; x < count; ++x) {
    out[3 * x] = out[3 * x + 1] = out[3 * x + 2] = y[x];
  }
}

}  // namespace
}  // namespace stoker::jpeg
