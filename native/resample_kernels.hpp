// The resize itself, compiled once for each set of instructions: the file that includes this says by STOKER_RESAMPLE_RGB what the
// function is to be called there. No include guard: it is meant to be included where it is compiled, and nowhere else.
#include "resample.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace stoker {
namespace {

constexpr int kWeightBits = 14;  // weights of one target pixel add up to 1 << 14, exactly
constexpr int kKeptBits = 6;     // of precision between the two passes
constexpr int kLastShift = kWeightBits + kKeptBits;  // from (weight × kept) back to a level

// How the pixels of one axis are blended. Every target pixel has the same number of taps, in pairs (processors multiply and add two
// 16-bit numbers at once; a varying number would cost a mispredicted branch per pixel): weights beyond a pixel's own taps are 0.
struct Filter {
  std::vector<int> first;              // source pixel of the first tap, for each target pixel
  std::vector<std::int16_t> weights;   // [target size, 2 * pairs]
  int pairs = 1;

  const std::int16_t* of(int index) const { return &weights[2 * static_cast<std::size_t>(pairs) * index]; }
};

double triangle(double distance) { return std::max(0.0, 1.0 - std::abs(distance)); }

Filter make_filter(int source_size, int target_size, bool antialias) {
  const double scale = static_cast<double>(source_size) / target_size;
  const double support = antialias ? std::max(scale, 1.0) : 1.0;
  const int max_taps = static_cast<int>(std::ceil(2 * support)) + 1;
  std::vector<double> exact(static_cast<std::size_t>(max_taps) * target_size, 0.0);
  std::vector<int> counts(target_size);
  Filter filter;
  filter.first.resize(target_size);
  for (int index = 0; index < target_size; ++index) {
    const double center = (index + 0.5) * scale;
    int first = std::clamp(static_cast<int>(center - support + 0.5), 0, source_size - 1);
    int last = std::clamp(static_cast<int>(center + support + 0.5), first + 1, source_size);
    last = std::min(last, first + max_taps);
    while (last - first > 1 && triangle((first + 0.5 - center) / support) <= 0) ++first;
    while (last - first > 1 && triangle((last - 0.5 - center) / support) <= 0) --last;
    double* weights = &exact[static_cast<std::size_t>(max_taps) * index];
    for (int tap = first; tap < last; ++tap) weights[tap - first] = triangle((tap + 0.5 - center) / support);
    if (last - first == 1) weights[0] = 1;
    filter.first[index] = first;
    counts[index] = last - first;
    filter.pairs = std::max(filter.pairs, (last - first + 1) / 2);
  }
  filter.weights.assign(2 * static_cast<std::size_t>(filter.pairs) * target_size, 0);
  for (int index = 0; index < target_size; ++index) {
    const double* from = &exact[static_cast<std::size_t>(max_taps) * index];
    std::int16_t* weights = &filter.weights[2 * static_cast<std::size_t>(filter.pairs) * index];
    const double unit = (1 << kWeightBits) / std::accumulate(from, from + counts[index], 0.0);
    int sum = 0, heaviest = 0;
    for (int tap = 0; tap < counts[index]; ++tap) {
      weights[tap] = static_cast<std::int16_t>(from[tap] * unit + 0.5);
      sum += weights[tap];
      if (weights[tap] > weights[heaviest]) heaviest = tap;
    }
    weights[heaviest] += static_cast<std::int16_t>((1 << kWeightBits) - sum);  // flat areas keep their level
  }
  return filter;
}

constexpr int kBlendShift = kWeightBits - kKeptBits;
constexpr std::int32_t kBlendHalf = 1 << (kBlendShift - 1);
constexpr std::int32_t kLastHalf = 1 << (kLastShift - 1);

// One row of the height that is wanted, in the width that there is: `count` levels with kKeptBits more bits. `rows` are the source
// rows of its taps. This is the reference, and what is left at a row's end.
void blend_rows_from(std::size_t begin, const std::vector<const std::uint8_t*>& rows, const std::int16_t* weights, std::size_t count,
                     std::int16_t* kept) {
  for (std::size_t i = begin; i < count; ++i) {
    std::int32_t sum = kBlendHalf;
    for (std::size_t tap = 0; tap < rows.size(); ++tap) sum += weights[tap] * rows[tap][i];
    kept[i] = static_cast<std::int16_t>(sum >> kBlendShift);
  }
}

// `blend_pixels` gives one target pixel: its three levels, in the low bytes of the result.

#if defined(__SSE2__)

__m128i weight_pair(const std::int16_t* weights) {
  std::int32_t pair;
  std::memcpy(&pair, weights, sizeof pair);
  return _mm_set1_epi32(pair);
}

__m128i load8(const void* bytes) { return _mm_loadl_epi64(static_cast<const __m128i*>(bytes)); }

void blend_rows(const std::vector<const std::uint8_t*>& rows, const std::int16_t* weights, std::size_t count, std::int16_t* kept) {
  const __m128i zero = _mm_setzero_si128();
  std::size_t i = 0;
#if defined(__AVX2__)
  for (; i + 16 <= count; i += 16) {
    __m256i low = _mm256_set1_epi32(kBlendHalf), high = low;
    for (std::size_t tap = 0; tap < rows.size(); tap += 2) {
      const __m256i upper = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[tap] + i)));
      const __m256i lower = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[tap + 1] + i)));
      const __m256i weight = _mm256_broadcastd_epi32(weight_pair(weights + tap));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(upper, lower), weight));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(upper, lower), weight));
    }
    const __m256i levels = _mm256_packs_epi32(_mm256_srai_epi32(low, kBlendShift), _mm256_srai_epi32(high, kBlendShift));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(kept + i), levels);
  }
#endif
  for (; i + 8 <= count; i += 8) {
    __m128i low = _mm_set1_epi32(kBlendHalf), high = low;
    for (std::size_t tap = 0; tap < rows.size(); tap += 2) {
      const __m128i both = _mm_unpacklo_epi8(load8(rows[tap] + i), load8(rows[tap + 1] + i));
      const __m128i weight = weight_pair(weights + tap);
      low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi8(both, zero), weight));
      high = _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi8(both, zero), weight));
    }
    const __m128i levels = _mm_packs_epi32(_mm_srai_epi32(low, kBlendShift), _mm_srai_epi32(high, kBlendShift));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(kept + i), levels);
  }
  blend_rows_from(i, rows, weights, count, kept);
}

// With kPairs of 0 their number is `pairs`. Reads four values for a source pixel: rows are padded.
template <int kPairs>
inline std::uint32_t blend_pixels(const std::int16_t* pixel, const std::int16_t* weights, int pairs) {
  __m128i sum = _mm_set1_epi32(kLastHalf);
  for (int pair = 0; pair < (kPairs ? kPairs : pairs); ++pair) {
    const __m128i both = _mm_unpacklo_epi16(load8(pixel + 6 * pair), load8(pixel + 6 * pair + 3));
    sum = _mm_add_epi32(sum, _mm_madd_epi16(both, weight_pair(weights + 2 * pair)));
  }
  const __m128i levels = _mm_srai_epi32(sum, kLastShift);
  const __m128i shorts = _mm_packs_epi32(levels, levels);
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(shorts, shorts)));
}

#else

void blend_rows(const std::vector<const std::uint8_t*>& rows, const std::int16_t* weights, std::size_t count, std::int16_t* kept) {
  blend_rows_from(0, rows, weights, count, kept);
}

template <int kPairs>
inline std::uint32_t blend_pixels(const std::int16_t* pixel, const std::int16_t* weights, int pairs) {
  std::uint32_t levels = 0;
  for (int channel = 0; channel < 3; ++channel) {
    std::int32_t sum = kLastHalf;
    for (int tap = 0; tap < 2 * (kPairs ? kPairs : pairs); ++tap) sum += weights[tap] * pixel[3 * tap + channel];
    levels |= static_cast<std::uint32_t>(std::clamp(sum >> kLastShift, 0, 255)) << (8 * channel);
  }
  return levels;
}

#endif

// Blends a row of `kept` levels into pixels: one 32-bit word each, the channels in its low bytes; from the last to the first where
// `backwards`.
template <int kPairs>
void blend_columns(const std::int16_t* __restrict kept, const Filter& filter, bool backwards, std::uint32_t* __restrict pixels) {
  const std::int16_t* weights = filter.weights.data();
  const int* firsts = filter.first.data();
  const int count = static_cast<int>(filter.first.size()), pairs = filter.pairs;
  for (int index = 0; index < count; ++index, weights += 2 * pairs) {
    pixels[backwards ? count - 1 - index : index] =
        blend_pixels<kPairs>(kept + 3 * static_cast<std::size_t>(firsts[index]), weights, pairs);
  }
}

using BlendColumns = void (*)(const std::int16_t*, const Filter&, bool, std::uint32_t*);

BlendColumns columns_blender(int pairs) {
  switch (pairs) {
    case 1: return blend_columns<1>;
    case 2: return blend_columns<2>;
    case 3: return blend_columns<3>;
    default: return blend_columns<0>;
  }
}

void store_interleaved(const std::uint32_t* pixels, std::size_t count, std::uint8_t* target) {
  for (std::size_t i = 0; i < count; ++i) {
    for (int channel = 0; channel < 3; ++channel) target[3 * i + channel] = static_cast<std::uint8_t>(pixels[i] >> (8 * channel));
  }
}

void store_planar(const std::uint32_t* pixels, std::size_t count, std::uint8_t* target, std::size_t plane) {
  for (int channel = 0; channel < 3; ++channel) {
    std::uint8_t* row = target + channel * plane;
    std::size_t i = 0;
#if defined(__SSE2__)
    const __m128i byte = _mm_set1_epi32(255);
    const auto four = [&](std::size_t at) {
      const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + at));
      return _mm_and_si128(_mm_srli_epi32(words, 8 * channel), byte);
    };
    for (; i + 16 <= count; i += 16) {
      const __m128i left = _mm_packs_epi32(four(i), four(i + 4)), right = _mm_packs_epi32(four(i + 8), four(i + 12));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(row + i), _mm_packus_epi16(left, right));
    }
#endif
    for (; i < count; ++i) row[i] = static_cast<std::uint8_t>(pixels[i] >> (8 * channel));
  }
}

}  // namespace

void STOKER_RESAMPLE_RGB(const Resample& job) {
  const Filter down = make_filter(job.source_height, job.target_height, job.antialias);
  const Filter across = make_filter(job.source_width, job.target_width, job.antialias);
  const BlendColumns blend = columns_blender(across.pairs);
  const std::size_t count = 3 * static_cast<std::size_t>(job.source_width);
  std::vector<std::int16_t> kept(count + 6 * static_cast<std::size_t>(across.pairs) + 8);
  std::vector<const std::uint8_t*> rows(2 * static_cast<std::size_t>(down.pairs));
  const std::size_t width = job.target_width, plane = width * job.target_height;
  std::vector<std::uint32_t> pixels(width);
  for (int y = 0; y < job.target_height; ++y) {
    for (std::size_t tap = 0; tap < rows.size(); ++tap) {  // beyond the last row weights are 0
      const int row = std::min(down.first[y] + static_cast<int>(tap), job.source_height - 1);
      rows[tap] = job.source + static_cast<std::size_t>(row) * job.source_stride;
    }
    blend_rows(rows, down.of(y), count, kept.data());
    const std::size_t row = job.flip_vertically ? job.target_height - 1 - y : y;
    blend(kept.data(), across, job.flip_horizontally, pixels.data());
    if (job.planar) {
      store_planar(pixels.data(), width, job.target + row * width, plane);
    } else {
      store_interleaved(pixels.data(), width, job.target + 3 * row * width);
    }
  }
}

}  // namespace stoker
