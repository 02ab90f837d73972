// The kernels of the walk with VBMI and VNNI. Lanes hold four row bytes of 16 rows a vector: one
// vpermb looks up the low halves of all of them in the four tables that lie together, one the high
// halves. Sums are 16-bit lanes, the high bytes also summed apart, as in avx512_wide.cpp.
#if defined(__x86_64__)

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

constexpr size_t kCellBytes = 128;  // 256 sums of at most 255 fit in 16 bits
constexpr size_t kWideBytes = 256;

inline V load(const uint8_t* p) { return _mm512_loadu_si512(p); }

// The 16 rows' sums from those of their bytes: rows with even numbers are `all` less `odd` << 8.
inline void put_rows(__m128i all, __m128i odd, bool add, int32_t* out) {
    const __m128i even = _mm_sub_epi16(all, _mm_slli_epi16(odd, 8));
    const __m256i sums =
        _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
    const V before = add ? _mm512_loadu_si512(out) : _mm512_setzero_si512();
    _mm512_storeu_si512(out, _mm512_add_epi32(before, _mm512_cvtepu16_epi32(sums)));
}

inline __m128i sum_of_lanes(V v) {
    const __m256i half =
        _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// One group's row bytes `from` to `to`, `from` a multiple of four.
inline void cells_group(const uint8_t* codes, size_t from, size_t to, const uint8_t* tables,
                        int32_t* sums) {
    const V nibble = _mm512_set1_epi8(15);
    const V table = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi8(0x10), _mm_setzero_si128())),
        _mm256_set_m128i(_mm_set1_epi8(0x30), _mm_set1_epi8(0x20)), 1);
    V all = _mm512_setzero_si512(), odd = all;
    const auto add = [&](size_t j, V x) NESTBIT_INLINE {
        const uint8_t* here = tables + low_table(j);
        const V low = _mm512_ternarylogic_epi32(x, nibble, table, 0xea);  // x & nibble | table
        const V high = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 4), nibble, table, 0xea);
        const V a = _mm512_permutexvar_epi8(low, load(here));
        const V b = _mm512_permutexvar_epi8(high, load(here + 64));
        all = _mm512_add_epi16(all, _mm512_add_epi16(a, b));
        odd = _mm512_add_epi16(odd, _mm512_add_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8)));
    };
    size_t j = from;
    for (; j + 4 <= to; j += 4) add(j, load(codes + kLanes * j));
    // The tables past the width are zero.
    if (j < to) add(j, load_tail(codes + kLanes * j, first_bytes(kLanes * (to - j))));
    put_rows(sum_of_lanes(all), sum_of_lanes(odd), from > 0, sums);
}

void cells_lanes(const uint8_t* codes, size_t groups, size_t width, const uint8_t* tables,
                 int32_t* sums) {
    for (size_t g = 0; g < groups; ++g, codes += kLanes * width, sums += kLanes) {
        for (size_t j = 0; j < width; j += kCellBytes) {
            cells_group(codes, j, j + kCellBytes < width ? j + kCellBytes : width, tables, sums);
        }
    }
}

// G groups side by side in a vector, whose other lanes are zero.
template <int G>
inline V columns(const uint8_t* codes, size_t group) {
    const auto at = [&](int g) NESTBIT_INLINE {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + static_cast<size_t>(g) * group));
    };
    V x = _mm512_zextsi128_si512(at(0));
    if constexpr (G > 1) x = _mm512_inserti32x4(x, at(1), 1);
    if constexpr (G > 2) x = _mm512_inserti32x4(x, at(2), 2);
    if constexpr (G > 3) x = _mm512_inserti32x4(x, at(3), 3);
    return x;
}

template <int G>
void wide_groups(const uint8_t* codes, size_t width, const uint8_t* tables, int32_t* sums) {
    for (size_t from = 0; from < width; from += kWideBytes) {
        const size_t to = from + kWideBytes < width ? from + kWideBytes : width;
        V all = _mm512_setzero_si512(), odd = all;
        for (size_t j = from; j < to; ++j) {
            const V x = columns<G>(codes + kLanes * j, kLanes * width);
            const uint8_t* table = tables + 256 * j;
            const __mmask64 second = _mm512_movepi8_mask(_mm512_slli_epi16(x, 1));
            const __mmask64 upper = _mm512_movepi8_mask(x);
            V found = _mm512_permutexvar_epi8(x, load(table));
            found = _mm512_mask_permutexvar_epi8(found, second, x, load(table + 64));
            found = _mm512_mask_permutexvar_epi8(found, upper, x, load(table + 128));
            found = _mm512_mask_permutexvar_epi8(found, _kand_mask64(second, upper), x, load(table + 192));
            all = _mm512_add_epi16(all, found);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16(found, 8));
        }
        put_rows(_mm512_castsi512_si128(all), _mm512_castsi512_si128(odd), from > 0, sums);
        if constexpr (G > 1) {
            put_rows(_mm512_extracti32x4_epi32(all, 1), _mm512_extracti32x4_epi32(odd, 1), from > 0, sums + 16);
        }
        if constexpr (G > 2) {
            put_rows(_mm512_extracti32x4_epi32(all, 2), _mm512_extracti32x4_epi32(odd, 2), from > 0, sums + 32);
        }
        if constexpr (G > 3) {
            put_rows(_mm512_extracti32x4_epi32(all, 3), _mm512_extracti32x4_epi32(odd, 3), from > 0, sums + 48);
        }
    }
}

void wide_lanes(const uint8_t* codes, size_t groups, size_t width, const uint8_t* tables,
                int32_t* sums) {
    for (; groups >= 4; groups -= 4, codes += 4 * kLanes * width, sums += 4 * kLanes) {
        wide_groups<4>(codes, width, tables, sums);
    }
    switch (groups) {
        case 3: return wide_groups<3>(codes, width, tables, sums);
        case 2: return wide_groups<2>(codes, width, tables, sums);
        case 1: return wide_groups<1>(codes, width, tables, sums);
        default: return;
    }
}

template <bool is_signed>
inline V widened(__m256i bytes) {
    return is_signed ? _mm512_cvtepi8_epi16(bytes) : _mm512_cvtepu8_epi16(bytes);
}

template <bool is_signed>
int32_t dot(const uint8_t* row, const int16_t* weights, size_t dim) {
    V sum[4];
    for (auto& s : sum) s = _mm512_setzero_si512();
    const auto bytes = [&](size_t d) NESTBIT_INLINE {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + d));
    };
    size_t d = 0;
    for (; d + 128 <= dim; d += 128) {
        NESTBIT_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            sum[i] = _mm512_dpwssd_epi32(sum[i], widened<is_signed>(bytes(d + 32 * i)),
                                         _mm512_loadu_si512(weights + d + 32 * i));
        }
    }
    for (; d < dim; d += 32) {
        const auto left = static_cast<__mmask32>(first_bytes(dim - d));
        const __m256i last = _mm256_maskz_loadu_epi8(left, row + d);
        sum[0] = _mm512_dpwssd_epi32(sum[0], widened<is_signed>(last), _mm512_loadu_si512(weights + d));
    }
    return _mm512_reduce_add_epi32(
        _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3])));
}

}  // namespace
}  // namespace nestbit::avx512

NESTBIT_TARGET_END

namespace nestbit {

const WalkKernels kAvx512Walk = {
    .lanes = {avx512::cells_lanes, avx512::wide_lanes},
    .picked = {avx512::picked_cells, kScalarWalk.picked[1]},
    .dot = {avx512::dot<true>, avx512::dot<false>},
    .merge = avx512::merge,
    .products = avx512::products,
};

}  // namespace nestbit

#endif
