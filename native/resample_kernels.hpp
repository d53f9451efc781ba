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
  std::vector<int> first;             // source pixel of the first tap, for each target pixel
  std::vector<int> counts;            // of taps
  std::vector<std::int16_t> weights;  // [target size, 2 * pairs]
  int pairs = 1;

  const std::int16_t* of(int index) const { return &weights[2 * static_cast<std::size_t>(pairs) * index]; }
};

double triangle(double distance) { return std::max(0.0, 1.0 - std::abs(distance)); }

// The blend of one axis; from the last target pixel to the first where `mirrored`. `filter` and `exact` are memory to work in.
void make_filter(int source_size, int target_size, bool antialias, bool mirrored, Filter& filter, std::vector<double>& exact) {
  const double scale = static_cast<double>(source_size) / target_size;
  const double support = antialias ? std::max(scale, 1.0) : 1.0;
  const int max_taps = static_cast<int>(std::ceil(2 * support)) + 1;
  exact.assign(static_cast<std::size_t>(max_taps) * target_size, 0.0);
  filter.first.resize(target_size);
  filter.counts.resize(target_size);
  filter.pairs = 1;
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
    const int place = mirrored ? target_size - 1 - index : index;
    filter.first[place] = first;
    filter.counts[place] = last - first;
    filter.pairs = std::max(filter.pairs, (last - first + 1) / 2);
  }
  filter.weights.assign(2 * static_cast<std::size_t>(filter.pairs) * target_size, 0);
  for (int index = 0; index < target_size; ++index) {
    const double* from = &exact[static_cast<std::size_t>(max_taps) * (mirrored ? target_size - 1 - index : index)];
    const int count = filter.counts[index];
    std::int16_t* weights = &filter.weights[2 * static_cast<std::size_t>(filter.pairs) * index];
    const double unit = (1 << kWeightBits) / std::accumulate(from, from + count, 0.0);
    int sum = 0, heaviest = 0;
    for (int tap = 0; tap < count; ++tap) {
      weights[tap] = static_cast<std::int16_t>(from[tap] * unit + 0.5);
      sum += weights[tap];
      if (weights[tap] > weights[heaviest]) heaviest = tap;
    }
    weights[heaviest] += static_cast<std::int16_t>((1 << kWeightBits) - sum);  // flat areas keep their level
  }
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

#if defined(__AVX2__)

// The first values of a row, 16 at a time; their number. With kPairs of 0 there are as many pairs as there are rows for.
template <std::size_t kPairs>
std::size_t blend_rows_16(const std::vector<const std::uint8_t*>& rows, const std::int16_t* weights, std::size_t count, std::int16_t* kept) {
  const std::size_t pairs = kPairs ? kPairs : rows.size() / 2;
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m256i low = _mm256_set1_epi32(kBlendHalf), high = low;
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      const auto load = [&](const std::uint8_t* row) {
        return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i)));
      };
      const __m256i upper = load(rows[2 * pair]), lower = load(rows[2 * pair + 1]);
      const __m256i weight = _mm256_broadcastd_epi32(weight_pair(weights + 2 * pair));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(upper, lower), weight));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(upper, lower), weight));
    }
    const __m256i levels = _mm256_packs_epi32(_mm256_srai_epi32(low, kBlendShift), _mm256_srai_epi32(high, kBlendShift));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(kept + i), levels);
  }
  return i;
}

#endif

void blend_rows(const std::vector<const std::uint8_t*>& rows, const std::int16_t* weights, std::size_t count, std::int16_t* kept) {
  const __m128i zero = _mm_setzero_si128();
  std::size_t i = 0;
#if defined(__AVX2__)
  const std::size_t pairs = rows.size() / 2;
  i = (pairs == 1 ? blend_rows_16<1> : pairs == 2 ? blend_rows_16<2> : blend_rows_16<0>)(rows, weights, count, kept);
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

// Blends a row of `kept` levels into pixels: one 32-bit word each, the channels in its low bytes.
template <int kPairs>
void blend_columns(const std::int16_t* __restrict kept, const Filter& filter, std::size_t begin, std::uint32_t* __restrict pixels) {
  const int pairs = filter.pairs;
  const std::int16_t* weights = filter.weights.data() + 2 * static_cast<std::size_t>(pairs) * begin;
  for (std::size_t index = begin; index < filter.first.size(); ++index, weights += 2 * pairs) {
    pixels[index] = blend_pixels<kPairs>(kept + 3 * static_cast<std::size_t>(filter.first[index]), weights, pairs);
  }
}

using BlendColumns = void (*)(const std::int16_t*, const Filter&, std::size_t, std::uint32_t*);

BlendColumns columns_blender(int pairs) {
  switch (pairs) {
    case 1: return blend_columns<1>;
    case 2: return blend_columns<2>;
    case 3: return blend_columns<3>;
    default: return blend_columns<0>;
  }
}

void store_interleaved(const std::uint32_t* pixels, std::size_t begin, std::size_t count, std::uint8_t* target) {
  for (std::size_t i = begin; i < count; ++i) {
    for (int channel = 0; channel < 3; ++channel) target[3 * i + channel] = static_cast<std::uint8_t>(pixels[i] >> (8 * channel));
  }
}

void store_planar(const std::uint32_t* pixels, std::size_t begin, std::size_t count, std::uint8_t* target, std::size_t plane) {
  for (int channel = 0; channel < 3; ++channel) {
    std::uint8_t* row = target + channel * plane;
    std::size_t i = begin;
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

// Memory to work in, kept from one image to the next.
struct Scratch {
  Filter down, across;
  std::vector<double> exact;
  std::vector<std::int16_t> kept;
  std::vector<const std::uint8_t*> rows;
  std::vector<std::uint32_t> pixels;
#if defined(__AVX2__)
  std::vector<std::int32_t> lanes;  // see eight_at_a_time
#endif
};

#if defined(__AVX2__)

// Pixels are blended two at a time, i and i + 4 of eight, so that packing leaves them in order. Their weights, pair by pair, each four
// times over for the channels.
void spread_weights(const Filter& filter, std::vector<std::int32_t>& lanes) {
  const std::size_t pairs = static_cast<std::size_t>(filter.pairs), eights = filter.first.size() / 8;
  lanes.resize(eights * 4 * pairs * 8);
  std::int32_t* out = lanes.data();
  for (std::size_t i = 0; i < eights * 4; ++i) {
    const std::size_t left = i / 4 * 8 + i % 4;
    for (std::size_t pair = 0; pair < pairs; ++pair, out += 8) {
      std::int32_t weights[2];
      std::memcpy(&weights[0], filter.of(static_cast<int>(left)) + 2 * pair, sizeof weights[0]);
      std::memcpy(&weights[1], filter.of(static_cast<int>(left + 4)) + 2 * pair, sizeof weights[1]);
      std::fill_n(out, 4, weights[0]);
      std::fill_n(out + 4, 4, weights[1]);
    }
  }
}

// Levels of the channels of pixels `left` and `right`, in 32 bits each. Reads eight values for a pair of taps: rows are padded.
template <int kPairs>
inline __m256i blend_two(const std::int16_t* left, const std::int16_t* right, const std::int32_t* weights, int pairs) {
  const __m256i by_channel = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1));
  __m256i sum = _mm256_set1_epi32(kLastHalf);
  for (int pair = 0; pair < (kPairs ? kPairs : pairs); ++pair) {
    const auto load = [&](const std::int16_t* pixel) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel + 6 * pair)); };
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(load(left)), load(right), 1);
    const __m256i weight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 8 * pair));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(both, by_channel), weight));
  }
  return _mm256_srai_epi32(sum, kLastShift);
}

inline void store_eight_planar(__m256i words, std::uint8_t* target, std::size_t plane) {
  const __m256i by_channel = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m256i channels = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words, by_channel), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  const __m128i red_green = _mm256_castsi256_si128(channels);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(target), red_green);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(target + plane), _mm_unpackhi_epi64(red_green, red_green));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(target + 2 * plane), _mm256_extracti128_si256(channels, 1));
}

inline void store_eight_interleaved(__m256i words, std::uint8_t* target) {
  const __m256i dense = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words, dense), _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm256_castsi256_si128(bytes));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(target + 16), _mm256_extracti128_si256(bytes, 1));
}

// A row of target pixels, as far as it is whole eights; the number of these. `plane` is 0 for interleaved ones.
template <int kPairs>
std::size_t eight_at_a_time(const std::int16_t* kept, const Filter& filter, const std::int32_t* lanes, std::uint8_t* target,
                            std::size_t plane) {
  const int pairs = kPairs ? kPairs : filter.pairs;
  const std::size_t whole = filter.first.size() / 8 * 8;
  for (std::size_t x = 0; x < whole; x += 8) {
    __m256i two[4];
    for (std::size_t i = 0; i < 4; ++i, lanes += 8 * pairs) {
      const std::int16_t* left = kept + 3 * static_cast<std::size_t>(filter.first[x + i]);
      const std::int16_t* right = kept + 3 * static_cast<std::size_t>(filter.first[x + i + 4]);
      two[i] = blend_two<kPairs>(left, right, lanes, pairs);
    }
    const __m256i words = _mm256_packus_epi16(_mm256_packs_epi32(two[0], two[1]), _mm256_packs_epi32(two[2], two[3]));
    if (plane) {
      store_eight_planar(words, target + x, plane);
    } else {
      store_eight_interleaved(words, target + 3 * x);
    }
  }
  return whole;
}

std::size_t blend_eights(const std::int16_t* kept, const Filter& filter, const std::int32_t* lanes, std::uint8_t* target, std::size_t plane) {
  switch (filter.pairs) {
    case 1: return eight_at_a_time<1>(kept, filter, lanes, target, plane);
    case 2: return eight_at_a_time<2>(kept, filter, lanes, target, plane);
    case 3: return eight_at_a_time<3>(kept, filter, lanes, target, plane);
    default: return eight_at_a_time<0>(kept, filter, lanes, target, plane);
  }
}

#endif

}  // namespace

void STOKER_RESAMPLE_RGB(const Resample& job) {
  thread_local Scratch scratch;
  Filter &down = scratch.down, &across = scratch.across;
  make_filter(job.source_height, job.target_height, job.antialias, job.flip_vertically, down, scratch.exact);
  make_filter(job.source_width, job.target_width, job.antialias, job.flip_horizontally, across, scratch.exact);
#if defined(__AVX2__)
  spread_weights(across, scratch.lanes);
#endif
  const BlendColumns blend = columns_blender(across.pairs);
  const std::size_t count = 3 * static_cast<std::size_t>(job.source_width);
  const std::size_t width = static_cast<std::size_t>(job.target_width), plane = width * static_cast<std::size_t>(job.target_height);
  scratch.kept.resize(count + 6 * static_cast<std::size_t>(across.pairs) + 8);
  scratch.rows.resize(2 * static_cast<std::size_t>(down.pairs));
  scratch.pixels.resize(width);
  std::int16_t* kept = scratch.kept.data();
  std::uint32_t* pixels = scratch.pixels.data();
  for (int y = 0; y < job.target_height; ++y) {
    for (std::size_t tap = 0; tap < scratch.rows.size(); ++tap) {  // beyond the last row weights are 0
      const int row = std::min(down.first[y] + static_cast<int>(tap), job.source_height - 1);
      scratch.rows[tap] = job.source + static_cast<std::size_t>(row) * job.source_stride;
    }
    blend_rows(scratch.rows, down.of(y), count, kept);
    std::uint8_t* target = job.target + (job.planar ? 1 : 3) * width * static_cast<std::size_t>(y);
    std::size_t done = 0;
#if defined(__AVX2__)
    done = blend_eights(kept, across, scratch.lanes.data(), target, job.planar ? plane : 0);
#endif
    blend(kept, across, done, pixels);
    if (job.planar) {
      store_planar(pixels, done, width, target, plane);
    } else {
      store_interleaved(pixels, done, width, target);
    }
  }
}

}  // namespace stoker
