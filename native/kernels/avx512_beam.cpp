// A beam of keys in registers, best first: each new key moves those that are worse by one place, and
// no branch depends on where it belongs. And products of rows with queries, for a walk's queries.
#if defined(__x86_64__)

#include <bit>

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

// The bits of lanes whose key has not been marked as expanded, of up to eight vectors.
template <size_t N>
inline uint64_t unmarked(const V* held) {
    uint64_t found = 0;
    NESTBIT_UNROLL
    for (size_t v = 0; v < N; ++v) {
        found |= static_cast<uint64_t>(_mm512_testn_epi64_mask(held[v], _mm512_set1_epi64(1))) << 8 * v;
    }
    return found;
}

template <size_t N>
size_t merge_vectors(uint64_t* keys, const uint64_t* from, size_t count) {
    V held[N];
    NESTBIT_UNROLL
    for (size_t v = 0; v < N; ++v) held[v] = _mm512_loadu_si512(keys + 8 * v);
    for (size_t i = 0; i < count; ++i) {
        const V key = _mm512_set1_epi64(static_cast<int64_t>(from[i]));
        // From the last vector on, as each takes the last key of the one before it.
        NESTBIT_UNROLL
        for (size_t i = 0; i < N; ++i) {
            const size_t v = N - 1 - i;
            const V before = v ? held[v - 1] : _mm512_set1_epi64(-1);
            const V shifted = _mm512_alignr_epi64(held[v], before, 7);
            held[v] = _mm512_max_epu64(held[v], _mm512_min_epu64(shifted, key));
        }
    }
    NESTBIT_UNROLL
    for (size_t v = 0; v < N; ++v) _mm512_storeu_si512(keys + 8 * v, held[v]);
    constexpr size_t kLow = N < 8 ? N : 8;
    const uint64_t low = unmarked<kLow>(held);
    if (N <= kLow || low) return static_cast<size_t>(std::countr_zero(low));
    return 64 + static_cast<size_t>(std::countr_zero(unmarked<N - kLow>(held + kLow)));
}

// Lane sums of eight vectors, in order.
inline __m256 sums_of_8(const __m512* v) {
    __m256 half[8];
    NESTBIT_UNROLL
    for (size_t i = 0; i < 8; ++i) {
        half[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
    }
    const auto pairs = [&](size_t i) NESTBIT_INLINE { return _mm256_hadd_ps(half[i], half[i + 1]); };
    const __m256 low = _mm256_hadd_ps(pairs(0), pairs(2)), high = _mm256_hadd_ps(pairs(4), pairs(6));
    return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

// R rows with Q queries, 8 products: those of a query lie together.
template <size_t R, size_t Q>
inline void products_of_8(const float* const* rows, const float* const* queries, size_t dim, float* to) {
    static_assert(R * Q == 8);
    __m512 sum[8];
    NESTBIT_UNROLL
    for (size_t i = 0; i < 8; ++i) sum[i] = _mm512_setzero_ps();
    const auto add = [&](size_t d, __mmask16 some) NESTBIT_INLINE {
        __m512 row[R];
        NESTBIT_UNROLL
        for (size_t r = 0; r < R; ++r) row[r] = _mm512_maskz_loadu_ps(some, rows[r] + d);
        NESTBIT_UNROLL
        for (size_t q = 0; q < Q; ++q) {
            const __m512 query = _mm512_maskz_loadu_ps(some, queries[q] + d);
            NESTBIT_UNROLL
            for (size_t r = 0; r < R; ++r) sum[R * q + r] = _mm512_fmadd_ps(row[r], query, sum[R * q + r]);
        }
    };
    size_t d = 0;
    for (; d + 16 <= dim; d += 16) add(d, 0xffff);
    if (d < dim) add(d, first_lanes(dim - d));
    _mm256_storeu_ps(to, sums_of_8(sum));
}

}  // namespace

size_t merge(uint64_t* keys, size_t room, const uint64_t* from, size_t count) {
    switch ((room + 31) / 32) {
        case 1: return merge_vectors<4>(keys, from, count);
        case 2: return merge_vectors<8>(keys, from, count);
        case 3: return merge_vectors<12>(keys, from, count);
        default: return merge_vectors<16>(keys, from, count);
    }
}

void products(const float* rows, size_t dim, size_t count, const float* queries, size_t stride, size_t m,
              float* out, size_t ld) {
    size_t q = 0;
    for (; q + 4 <= m; q += 4) {
        const float* some[4];
        for (size_t i = 0; i < 4; ++i) some[i] = queries + (q + i) * stride;
        for (size_t r = 0; r < count; r += 2) {
            const bool both = r + 1 < count;
            const float* pair[2] = {rows + r * dim, rows + (both ? r + 1 : r) * dim};
            float found[8];
            products_of_8<2, 4>(pair, some, dim, found);
            for (size_t i = 0; i < 4; ++i) {
                out[(q + i) * ld + r] = found[2 * i];
                if (both) out[(q + i) * ld + r + 1] = found[2 * i + 1];
            }
        }
    }
    for (; q < m; ++q) {
        const float* const query = queries + q * stride;
        for (size_t r = 0; r < count; r += 8) {
            const float* some[8];
            for (size_t i = 0; i < 8; ++i) some[i] = rows + (r + i < count ? r + i : count - 1) * dim;
            float found[8];
            products_of_8<8, 1>(some, &query, dim, found);
            std::memcpy(out + q * ld + r, found, sizeof(float) * (count - r < 8 ? count - r : 8));
        }
    }
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
