// AVX2 rescoring: four sums hide the latency of the multiply-add, the next rows are prefetched.
#if defined(__x86_64__)

#include "avx2_float.h"

#include <immintrin.h>

#include <cstring>

#include "target.h"

NESTBIT_TARGET_BEGIN("avx2,fma,f16c,popcnt")

namespace nestbit::avx2 {
namespace {

constexpr size_t kAhead = 4;  // rows prefetched ahead of the one being summed

// Eight values from `p` on as floats.
template <Element e>
inline __m256 load8(const uint8_t* p) {
    if constexpr (e == Element::i8 || e == Element::u8) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
        return _mm256_cvtepi32_ps(e == Element::i8 ? _mm256_cvtepi8_epi32(bytes)
                                                   : _mm256_cvtepu8_epi32(bytes));
    } else if constexpr (e == Element::f32) {
        return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
    } else {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        if constexpr (e == Element::f16) return _mm256_cvtph_ps(halves);
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
}

inline float total(const __m256* sum) {
    const __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

template <Element e>
inline float dot(const uint8_t* row, const float* weights, size_t values) {
    constexpr size_t size = element_bytes(e);
    __m256 sum[4] = {};
    size_t d = 0;
    for (; d + 32 <= values; d += 32) {
        for (size_t i = 0; i < 4; ++i) {
            const size_t at = d + 8 * i;
            sum[i] = _mm256_fmadd_ps(load8<e>(row + at * size), _mm256_loadu_ps(weights + at), sum[i]);
        }
    }
    for (; d + 8 <= values; d += 8) {
        sum[0] = _mm256_fmadd_ps(load8<e>(row + d * size), _mm256_loadu_ps(weights + d), sum[0]);
    }
    if (d < values) {
        alignas(32) uint8_t rest[32] = {};
        std::memcpy(rest, row + d * size, (values - d) * size);
        sum[1] = _mm256_fmadd_ps(load8<e>(rest), _mm256_loadu_ps(weights + d), sum[1]);
    }
    return total(sum);
}

template <>
inline float dot<Element::bits>(const uint8_t* row, const float* weights, size_t width) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256 sum[4] = {};
    for (size_t b = 0; b < width; ++b) {
        const __m256i here = _mm256_and_si256(_mm256_set1_epi32(row[b]), bits);
        const __m256 taken = _mm256_castsi256_ps(_mm256_cmpeq_epi32(here, bits));
        const __m256 w = _mm256_and_ps(taken, _mm256_loadu_ps(weights + 8 * b));
        sum[b % 4] = _mm256_add_ps(sum[b % 4], w);
    }
    return total(sum);
}

template <Element e>
inline void rescore(const Candidates& rows, const float* weights, float* out) {
    const size_t bytes = rows.values * element_bytes(e);
    for (size_t c = 0; c < rows.count; ++c) {
        if (c + kAhead < rows.count) {
            const uint8_t* next = rows.data + rows.ids[c + kAhead] * rows.stride;
            for (size_t b = 0; b < bytes; b += 64) {
                _mm_prefetch(reinterpret_cast<const char*>(next + b), _MM_HINT_T0);
            }
        }
        out[c] = dot<e>(rows.data + rows.ids[c] * rows.stride, weights, rows.values);
    }
}

}  // namespace

void rescore_bits(const Candidates& rows, const float* weights, float* out) {
    rescore<Element::bits>(rows, weights, out);
}
void rescore_i8(const Candidates& rows, const float* weights, float* out) {
    rescore<Element::i8>(rows, weights, out);
}
void rescore_u8(const Candidates& rows, const float* weights, float* out) {
    rescore<Element::u8>(rows, weights, out);
}
void rescore_f16(const Candidates& rows, const float* weights, float* out) {
    rescore<Element::f16>(rows, weights, out);
}
void rescore_bf16(const Candidates& rows, const float* weights, float* out) {
    rescore<Element::bf16>(rows, weights, out);
}
void rescore_f32(const Candidates& rows, const float* weights, float* out) {
    rescore<Element::f32>(rows, weights, out);
}

}  // namespace nestbit::avx2

NESTBIT_TARGET_END

#endif
