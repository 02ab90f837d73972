// The kernels of the walk with AVX2: vpshufb looks up 16 rows' cells of one row byte in each 128-bit
// lane. Found bytes are summed as in avx2_cells.cpp. Wide cells are looked up one by one: as many
// shuffles as a table of 256 bytes takes pay only where more rows share them.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "avx2_cells.h"
#include "target.h"

NESTBIT_TARGET_BEGIN("avx2,fma,f16c,popcnt")

namespace nestbit::avx2 {
namespace {

using V = __m256i;

constexpr size_t kColumnsAtOnce = 256;  // of two cells each, half of them to a lane

inline V load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const V*>(p)); }
inline __m128i load_half(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// Adds eight rows' sums, each in two 16-bit lanes, to out, or begins there.
inline void put(V sums, bool add, int32_t* out) {
    V* to = reinterpret_cast<V*>(out);
    const V a = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums));
    const V b = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1));
    const V before = add ? _mm256_loadu_si256(to) : _mm256_setzero_si256();
    _mm256_storeu_si256(to, _mm256_add_epi32(before, _mm256_add_epi32(a, b)));
}

// Row bytes `from`, even, to `to` of 16 rows in lanes, two at a time.
inline void cells_group(const uint8_t* codes, size_t from, size_t to, const uint8_t* tables,
                        int32_t* out) {
    const V nibble = _mm256_set1_epi8(15);
    V all = _mm256_setzero_si256(), odd = all;
    const auto add = [&](size_t j, V x) NESTBIT_INLINE {
        const uint8_t* here = tables + low_table(j);
        const V a = _mm256_shuffle_epi8(load(here), _mm256_and_si256(x, nibble));
        const V b = _mm256_shuffle_epi8(load(here + 64),
                                        _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
        all = _mm256_add_epi16(all, _mm256_add_epi16(a, b));
        odd = _mm256_add_epi16(
            odd, _mm256_add_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)));
    };
    size_t j = from;
    for (; j + 2 <= to; j += 2) add(j, load(codes + kLanes * j));
    // The tables past the width are zero.
    if (j < to) add(j, _mm256_zextsi128_si256(load_half(codes + kLanes * j)));
    const V even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
    put(_mm256_unpacklo_epi16(even, odd), from > 0, out);
    put(_mm256_unpackhi_epi16(even, odd), from > 0, out + 8);
}

void cells_lanes(const uint8_t* codes, size_t groups, size_t width, const uint8_t* tables,
                 int32_t* sums) {
    for (size_t g = 0; g < groups; ++g, codes += kLanes * width, sums += kLanes) {
        for (size_t j = 0; j < width; j += kColumnsAtOnce) {
            const size_t end = width - j < kColumnsAtOnce ? width : j + kColumnsAtOnce;
            cells_group(codes, j, end, tables, sums);
        }
    }
}

template <bool is_signed>
inline V products(__m128i bytes, const int16_t* weights) {
    const V wide = is_signed ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
    return _mm256_madd_epi16(wide, _mm256_loadu_si256(reinterpret_cast<const V*>(weights)));
}

template <bool is_signed>
int32_t dot(const uint8_t* row, const int16_t* weights, size_t dim) {
    V sum[4];
    for (auto& s : sum) s = _mm256_setzero_si256();
    size_t d = 0;
    for (; d + 64 <= dim; d += 64) {
        NESTBIT_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            const size_t at = d + 16 * i;
            sum[i] = _mm256_add_epi32(sum[i], products<is_signed>(load_half(row + at), weights + at));
        }
    }
    for (; d + 16 <= dim; d += 16) {
        sum[0] = _mm256_add_epi32(sum[0], products<is_signed>(load_half(row + d), weights + d));
    }
    if (d < dim) {
        uint8_t last[16] = {};
        std::memcpy(last, row + d, dim - d);
        sum[1] = _mm256_add_epi32(sum[1], products<is_signed>(load_half(last), weights + d));
    }
    const V total = _mm256_add_epi32(_mm256_add_epi32(sum[0], sum[1]), _mm256_add_epi32(sum[2], sum[3]));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

}  // namespace
}  // namespace nestbit::avx2

NESTBIT_TARGET_END

namespace nestbit {

const WalkKernels kAvx2Walk = {
    .lanes = {avx2::cells_lanes, kScalarWalk.lanes[1]},
    .picked = {avx2::picked_cells, kScalarWalk.picked[1]},
    .dot = {avx2::dot<true>, avx2::dot<false>},
    .merge = nullptr,
    .products = nullptr,
};

}  // namespace nestbit

#endif
