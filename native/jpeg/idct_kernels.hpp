// Inverse DCTs, bit for bit those of libjpeg-turbo: Loeffler, Ligtenberg and Moschytz (ICASSP 1989) in 32-bit integers with constants
// of 13 bits, 2 bits more kept between the passes; at a reduced size the same flow graph with the outputs and inputs that vanish left
// out. Where coefficients are beyond what any picture gives, sums of inputs wrap at 16 bits and results saturate, as its vector code
// does it. Compiled once for each set of instructions; no include guard: included by crop_kernels.hpp, and nowhere else.
#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace stoker::jpeg {
namespace {

constexpr int kConstBits = 13;
constexpr int kPassBits = 2;
constexpr int kFirstShift = kConstBits - kPassBits;
constexpr int kSecondShift = kConstBits + kPassBits + 3;

std::int16_t wrapped(int value) { return static_cast<std::int16_t>(value); }
std::int16_t saturated(int value) { return static_cast<std::int16_t>(std::clamp(value, -32768, 32767)); }

// (value + half) >> shift, whatever overflows 32 bits lost.
int descaled(std::uint32_t value, int shift) { return static_cast<std::int32_t>(value + (1U << (shift - 1))) >> shift; }

std::uint8_t level(int value) { return static_cast<std::uint8_t>(std::clamp(value, -128, 127) + 128); }

// The sum of value × constant, modulo 2^32.
std::uint32_t product(int value, int constant) { return static_cast<std::uint32_t>(value) * static_cast<std::uint32_t>(constant); }

int dequantised(const std::int16_t* block, const std::int16_t* quant, int place) { return wrapped(block[place] * quant[place]); }

bool rows_are_zero(const std::int16_t* block, std::initializer_list<int> rows) {
  return std::all_of(rows.begin(), rows.end(), [&](int row) {
    return std::all_of(block + 8 * row, block + 8 * row + 8, [](std::int16_t value) { return value == 0; });
  });
}

// The level of a block that is its DC coefficient alone.
std::uint8_t flat_level(int dc, int quant) { return level((wrapped(wrapped(dc * quant) * 4) + 16) >> 5); }

void fill_block(std::uint8_t value, std::uint8_t* out, std::size_t stride) {
  for (int row = 0; row < 8; ++row) {
    std::memset(out + row * stride, value, 8);
  }
}

#if !defined(__AVX2__)

void transform8(const int (&in)[8], int shift, int (&out)[8]) {
  const std::uint32_t sum = static_cast<std::uint32_t>(wrapped(in[0] + in[4])) << kConstBits;
  const std::uint32_t difference = static_cast<std::uint32_t>(wrapped(in[0] - in[4])) << kConstBits;
  const std::uint32_t even2 = product(in[2], 4433) + product(in[6], 4433 - 15137);
  const std::uint32_t even3 = product(in[2], 4433 + 6270) + product(in[6], 4433);
  const int z3 = wrapped(in[7] + in[3]), z4 = wrapped(in[5] + in[1]);
  const std::uint32_t z3_turned = product(z3, 9633 - 16069) + product(z4, 9633);
  const std::uint32_t z4_turned = product(z3, 9633) + product(z4, 9633 - 3196);
  const std::uint32_t odd0 = product(in[7], 2446 - 7373) + product(in[1], -7373) + z3_turned;
  const std::uint32_t odd1 = product(in[5], 16819 - 20995) + product(in[3], -20995) + z4_turned;
  const std::uint32_t odd2 = product(in[5], -20995) + product(in[3], 25172 - 20995) + z3_turned;
  const std::uint32_t odd3 = product(in[7], -7373) + product(in[1], 12299 - 7373) + z4_turned;
  const std::uint32_t evens[4] = {sum + even3, difference + even2, difference - even2, sum - even3};
  const std::uint32_t odds[4] = {odd3, odd2, odd1, odd0};
  for (int i = 0; i < 4; ++i) {
    out[i] = saturated(descaled(evens[i] + odds[i], shift));
    out[7 - i] = saturated(descaled(evens[i] - odds[i], shift));
  }
}

void idct8(const std::int16_t* block, const std::int16_t* quant, std::uint8_t* out, std::size_t stride) {
  int kept[8][8];  // [row][column]
  const bool only_first_row = rows_are_zero(block, {1, 2, 3, 4, 5, 6, 7});
  for (int column = 0; column < 8; ++column) {
    int in[8], done[8];
    for (int row = 0; row < 8; ++row) in[row] = dequantised(block, quant, 8 * row + column);
    transform8(in, kFirstShift, done);
    for (int row = 0; row < 8; ++row) kept[row][column] = only_first_row ? wrapped(in[0] * 4) : done[row];
  }
  for (int row = 0; row < 8; ++row) {
    int done[8];
    transform8(kept[row], kSecondShift, done);
    for (int column = 0; column < 8; ++column) out[row * stride + column] = level(done[column]);
  }
}

#else

// Two 16-bit constants in every 32 bits, for the even and the odd numbers of interleaved pairs.
__m256i pair_of(int even, int odd) { return _mm256_set1_epi32((odd << 16) | (even & 0xFFFF)); }

// Rows of a block (or columns, in the second pass), two to a register: 0|1 holds four numbers of row 0 and four of row 1 in its low
// half, the other four of each in its high half.
struct Rows {
  __m256i r01, r23, r45, r67;
};

// One pass over eight columns; packed like its input.
inline Rows transform8(const Rows& in, int shift) {
  const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (shift - 1));
  const __m256i sums = _mm256_add_epi16(in.r01, in.r45), differences = _mm256_sub_epi16(in.r01, in.r45);
  const __m256i sum = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, sums), 16 - kConstBits), half);
  const __m256i difference = _mm256_add_epi32(_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, differences), 16 - kConstBits), half);
  const __m256i in26 = _mm256_unpacklo_epi16(in.r23, in.r67);
  const __m256i even2 = _mm256_madd_epi16(in26, pair_of(4433, 4433 - 15137));
  const __m256i even3 = _mm256_madd_epi16(in26, pair_of(4433 + 6270, 4433));
  const __m256i z34 = _mm256_unpackhi_epi16(_mm256_add_epi16(in.r23, in.r67), sums);
  const __m256i z3 = _mm256_madd_epi16(z34, pair_of(9633 - 16069, 9633));
  const __m256i z4 = _mm256_madd_epi16(z34, pair_of(9633, 9633 - 3196));
  const __m256i in71 = _mm256_unpackhi_epi16(in.r67, in.r01), in53 = _mm256_unpackhi_epi16(in.r45, in.r23);
  const __m256i odd0 = _mm256_add_epi32(_mm256_madd_epi16(in71, pair_of(2446 - 7373, -7373)), z3);
  const __m256i odd1 = _mm256_add_epi32(_mm256_madd_epi16(in53, pair_of(16819 - 20995, -20995)), z4);
  const __m256i odd2 = _mm256_add_epi32(_mm256_madd_epi16(in53, pair_of(-20995, 25172 - 20995)), z3);
  const __m256i odd3 = _mm256_add_epi32(_mm256_madd_epi16(in71, pair_of(-7373, 12299 - 7373)), z4);
  const __m256i even[4] = {_mm256_add_epi32(sum, even3), _mm256_add_epi32(difference, even2), _mm256_sub_epi32(difference, even2),
                           _mm256_sub_epi32(sum, even3)};
  const __m256i odd[4] = {odd3, odd2, odd1, odd0};
  __m256i out[8];
  for (int i = 0; i < 4; ++i) {
    out[i] = _mm256_srai_epi32(_mm256_add_epi32(even[i], odd[i]), shift);
    out[7 - i] = _mm256_srai_epi32(_mm256_sub_epi32(even[i], odd[i]), shift);
  }
  return {_mm256_packs_epi32(out[0], out[1]), _mm256_packs_epi32(out[2], out[3]), _mm256_packs_epi32(out[4], out[5]),
          _mm256_packs_epi32(out[6], out[7])};
}

inline Rows transposed(const Rows& in) {
  const auto four_columns = [](__m256i r01, __m256i r23, __m256i& c0145, __m256i& c2367) {
    const __m256i r02 = _mm256_unpacklo_epi16(r01, r23), r13 = _mm256_unpackhi_epi16(r01, r23);
    c0145 = _mm256_unpacklo_epi16(r02, r13);
    c2367 = _mm256_unpackhi_epi16(r02, r13);
  };
  __m256i upper0145, upper2367, lower0145, lower2367;
  four_columns(in.r01, in.r23, upper0145, upper2367);
  four_columns(in.r45, in.r67, lower0145, lower2367);
  return {_mm256_permute2x128_si256(upper0145, lower0145, 0x20), _mm256_permute2x128_si256(upper2367, lower2367, 0x20),
          _mm256_permute2x128_si256(upper0145, lower0145, 0x31), _mm256_permute2x128_si256(upper2367, lower2367, 0x31)};
}

// Saturates columns to levels and stores them as eight rows.
inline void store_columns(const Rows& columns, std::uint8_t* out, std::size_t stride) {
  const __m256i by_row = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m256i center = _mm256_set1_epi8(-128);
  const __m256i left = _mm256_shuffle_epi8(_mm256_packs_epi16(columns.r01, columns.r23), by_row);
  const __m256i right = _mm256_shuffle_epi8(_mm256_packs_epi16(columns.r45, columns.r67), by_row);
  const __m256i r0145 = _mm256_xor_si256(_mm256_unpacklo_epi32(left, right), center);
  const __m256i r2367 = _mm256_xor_si256(_mm256_unpackhi_epi32(left, right), center);
  const auto two_rows = [&](__m128i rows, int first) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + first * stride), rows);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + (first + 1) * stride), _mm_unpackhi_epi64(rows, rows));
  };
  two_rows(_mm256_castsi256_si128(r0145), 0);
  two_rows(_mm256_castsi256_si128(r2367), 2);
  two_rows(_mm256_extracti128_si256(r0145, 1), 4);
  two_rows(_mm256_extracti128_si256(r2367, 1), 6);
}

inline void idct8(const std::int16_t* block, const std::int16_t* quant, std::uint8_t* out, std::size_t stride) {
  const auto two_rows = [](const std::int16_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); };
  const __m256i c01 = two_rows(block), c23 = two_rows(block + 16), c45 = two_rows(block + 32), c67 = two_rows(block + 48);
  const auto scaled = [&](__m256i coefficients, int row) {
    return _mm256_permute4x64_epi64(_mm256_mullo_epi16(coefficients, two_rows(quant + 8 * row)), 0xD8);
  };
  const __m256i below = _mm256_or_si256(_mm256_or_si256(c23, c45), _mm256_or_si256(c67, _mm256_permute2x128_si256(c01, c01, 0x81)));
  Rows kept;
  if (_mm256_testz_si256(below, below)) {  // every row becomes the first one
    const __m256i first = _mm256_slli_epi16(scaled(c01, 0), kPassBits);
    const __m256i twice = _mm256_unpacklo_epi64(first, first);
    kept = {twice, twice, twice, twice};
  } else {
    kept = transform8({scaled(c01, 0), scaled(c23, 2), scaled(c45, 4), scaled(c67, 6)}, kFirstShift);
  }
  store_columns(transform8(transposed(kept), kSecondShift), out, stride);
}

#endif

// Four outputs of the inputs 0, 1, 2, 3, 5, 6, 7.
void transform4(const int (&in)[8], int shift, int (&out)[4]) {
  const std::uint32_t first = static_cast<std::uint32_t>(in[0]) << (kConstBits + 1);
  const std::uint32_t even = product(in[2], 15137) + product(in[6], -6270);
  const std::uint32_t inner = product(in[7], -1730) + product(in[5], 11893) + product(in[3], -17799) + product(in[1], 8697);
  const std::uint32_t outer = product(in[7], -4176) + product(in[5], -4926) + product(in[3], 7373) + product(in[1], 20995);
  out[0] = saturated(descaled(first + even + outer, shift));
  out[1] = saturated(descaled(first - even + inner, shift));
  out[2] = saturated(descaled(first - even - inner, shift));
  out[3] = saturated(descaled(first + even - outer, shift));
}

void idct4(const std::int16_t* block, const std::int16_t* quant, std::uint8_t* out, std::size_t stride) {
  int kept[4][8];
  const bool only_first_row = rows_are_zero(block, {1, 2, 3, 5, 6, 7});
  for (int column = 0; column < 8; ++column) {
    int in[8], done[4];
    for (int row = 0; row < 8; ++row) in[row] = dequantised(block, quant, 8 * row + column);
    transform4(in, kFirstShift + 1, done);
    for (int row = 0; row < 4; ++row) kept[row][column] = only_first_row ? wrapped(in[0] * 4) : done[row];
  }
  for (int row = 0; row < 4; ++row) {
    int done[4];
    transform4(kept[row], kSecondShift + 1, done);
    for (int column = 0; column < 4; ++column) out[row * stride + column] = level(done[column]);
  }
}

// Two outputs of the inputs 0, 1, 3, 5, 7.
void transform2(const int (&in)[8], int shift, int (&out)[2]) {
  const std::uint32_t first = static_cast<std::uint32_t>(in[0]) << (kConstBits + 2);
  const std::uint32_t odd = product(in[7], -5906) + product(in[5], 6967) + product(in[3], -10426) + product(in[1], 29692);
  out[0] = saturated(descaled(first + odd, shift));
  out[1] = saturated(descaled(first - odd, shift));
}

void idct2(const std::int16_t* block, const std::int16_t* quant, std::uint8_t* out, std::size_t stride) {
  int kept[2][8] = {};
  for (const int column : {0, 1, 3, 5, 7}) {
    int in[8] = {}, done[2];
    for (const int row : {0, 1, 3, 5, 7}) in[row] = dequantised(block, quant, 8 * row + column);
    transform2(in, kFirstShift + 2, done);
    kept[0][column] = done[0];
    kept[1][column] = done[1];
  }
  for (int row = 0; row < 2; ++row) {
    int done[2];
    transform2(kept[row], kSecondShift + 2, done);
    out[row * stride] = level(done[0]);
    out[row * stride + 1] = level(done[1]);
  }
}

void idct1(const std::int16_t* block, const std::int16_t* quant, std::uint8_t* out, std::size_t) {
  const int value = ((block[0] * quant[0] + 4) >> 3) & 1023;  // wraps at four times the range
  out[0] = level(value < 512 ? value : value - 1024);
}

}  // namespace
}  // namespace stoker::jpeg
