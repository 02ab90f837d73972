// AVX-512 rescoring: the candidates' rows are gathered from anywhere, so the next rows are
// prefetched while one is summed; four sums hide the latency of the multiply-add.
#if defined(__x86_64__)

#include "avx512.h"



NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

constexpr size_t kAhead = 4;  // rows prefetched ahead of the one being summed

// Sixteen values from `d` on as floats; lanes outside `mask` are zero and not read.
template <Element e>
inline __m512 load16(const uint8_t* row, size_t d, __mmask16 mask) {
    if constexpr (e == Element::i8) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, row + d)));
    } else if constexpr (e == Element::u8) {
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, row + d)));
    } else if constexpr (e == Element::f16) {
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * d));
    } else if constexpr (e == Element::bf16) {
        const __m256i high = _mm256_maskz_loadu_epi16(mask, row + 2 * d);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    } else {
        return _mm512_maskz_loadu_ps(mask, row + 4 * d);
    }
}

inline float total(const __m512* sum) {
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

template <Element e>
inline float dot(const uint8_t* row, const float* weights, size_t values) {
    __m512 sum[4];
    for (auto& s : sum) s = _mm512_setzero_ps();
    size_t d = 0;
    for (; d + 64 <= values; d += 64) {
        for (size_t i = 0; i < 4; ++i) {
            const size_t at = d + 16 * i;
            sum[i] = _mm512_fmadd_ps(load16<e>(row, at, 0xffff), _mm512_loadu_ps(weights + at), sum[i]);
        }
    }
    for (; d < values; d += 16) {
        const __m512 x = load16<e>(row, d, first_lanes(values - d));
        sum[0] = _mm512_fmadd_ps(x, _mm512_loadu_ps(weights + d), sum[0]);
    }
    return total(sum);
}

template <>
inline float dot<Element::bits>(const uint8_t* row, const float* weights, size_t width) {
    __m512 sum[4];
    for (auto& s : sum) s = _mm512_setzero_ps();
    size_t b = 0;
    for (; b + 8 <= width; b += 8) {
        for (size_t i = 0; i < 4; ++i) {
            const size_t at = b + 2 * i;
            const __mmask16 bits = static_cast<__mmask16>(row[at] | row[at + 1] << 8);
            sum[i] = _mm512_mask_add_ps(sum[i], bits, sum[i], _mm512_loadu_ps(weights + 8 * at));
        }
    }
    for (; b < width; ++b) {
        sum[0] = _mm512_mask_add_ps(sum[0], row[b], sum[0], _mm512_loadu_ps(weights + 8 * b));
    }
    return total(sum);
}

template <Element e>
inline void rescore(const Candidates& rows, const float* weights, float* out) {
    const size_t bytes = rows.values * element_bytes(e);
    for (size_t c = 0; c < rows.count; ++c) {
        if (c + kAhead < rows.count) {
            const uint8_t* next = rows.data + rows.ids[c + kAhead] * rows.stride;
            for (size_t b = 0; b < bytes; b += 64) _mm_prefetch(reinterpret_cast<const char*>(next + b), _MM_HINT_T0);
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

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
