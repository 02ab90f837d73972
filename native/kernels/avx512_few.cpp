// One or a few queries: rows straight from memory, the sums of several rows reduced together.
//
// These kernels are bound by memory, so how they walk through it matters more than their
// instructions: short rows one after the other, since the hardware's prefetcher stays with a
// page only then, and the coming rows asked for a little before. Long rows four at a time are
// faster than a plain read.
#if defined(__x86_64__)

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

// Fetches row `r` into the L2 cache; an address past the last row is harmless.
inline void prefetch_row(const RowBlock& rows, size_t r) {
    const uintptr_t row =
        reinterpret_cast<uintptr_t>(rows.data) + r * static_cast<uintptr_t>(rows.stride);
    for (size_t b = 0; b < rows.width; b += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(row + b), _MM_HINT_T1);
    }
}

// Lane sums of eight vectors of u64, as eight int32.
inline __m256i sum_lanes_epi64(const V* v) {
    V pair[4], quad[2];
    for (int i = 0; i < 4; ++i) {
        pair[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]),
                                   _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]));
    }
    for (int i = 0; i < 2; ++i) {
        quad[i] = _mm512_add_epi64(_mm512_shuffle_i64x2(pair[2 * i], pair[2 * i + 1], 0x88),
                                   _mm512_shuffle_i64x2(pair[2 * i], pair[2 * i + 1], 0xdd));
    }
    const V sum = _mm512_add_epi64(_mm512_shuffle_i64x2(quad[0], quad[1], 0x88),
                                   _mm512_shuffle_i64x2(quad[0], quad[1], 0xdd));
    return _mm512_cvtepi64_epi32(sum);  // lanes: 0 1 2 3 4 5 6 7 in row order
}

// Lane sums of four vectors of int32.
inline __m128i sum_lanes_epi32(const V* v) {
    V pair[2];
    for (int i = 0; i < 2; ++i) {
        pair[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                   _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    }
    const V quad = _mm512_add_epi32(_mm512_unpacklo_epi64(pair[0], pair[1]),
                                    _mm512_unpackhi_epi64(pair[0], pair[1]));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(quad), _mm512_extracti64x4_epi64(quad, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// N: vectors of 64 bytes a row has, all whole, or 0 for any width.
template <size_t N>
void hamming_rows(const RowBlock& rows, const uint8_t* query, int32_t* out) {
    const size_t whole = N ? 64 * N : rows.width / 64 * 64;
    const __mmask64 tail = N ? 0 : first_bytes(rows.width - whole);
    const size_t ahead = 2048 / rows.width;
    for (size_t r = 0; r < rows.count; r += 8) {
        const uint8_t* p[8];
        row_pointers<8>(rows, r, p);
        V sum[8];
        NESTBIT_UNROLL
        for (size_t i = 0; i < 8; ++i) {
            prefetch_row(rows, r + ahead + i);
            sum[i] = _mm512_setzero_si512();
            for (size_t b = 0; b < whole; b += 64) {
                const V bits = _mm512_load_si512(query + b);
                const V x = _mm512_xor_si512(_mm512_loadu_si512(p[i] + b), bits);
                sum[i] = _mm512_add_epi64(sum[i], _mm512_popcnt_epi64(x));
            }
            if (tail) {
                const V bits = _mm512_load_si512(query + whole);
                const V x = _mm512_xor_si512(load_tail(p[i] + whole, tail), bits);
                sum[i] = _mm512_add_epi64(sum[i], _mm512_popcnt_epi64(x));
            }
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + r), sum_lanes_epi64(sum));
    }
}

template <bool is_signed>
void bytes_rows(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    const size_t whole = rows.width / 64 * 64;
    const __mmask64 tail = first_bytes(rows.width - whole);
    // vpdpbusd wants unsigned rows: r + 128 instead of r, taken back as 128 * sum(weights).
    const V flip = _mm512_set1_epi8(is_signed ? -128 : 0);
    for (size_t r = 0; r < rows.count; r += 4) {
        const uint8_t* p[4];
        row_pointers<4>(rows, r, p);
        for (size_t q = 0; q < queries.count; ++q) {
            const uint8_t* query = queries.data + q * queries.stride;
            V sum[4];
            for (auto& s : sum) s = _mm512_setzero_si512();
            for (size_t b = 0; b < whole; b += 64) {
                const V w = _mm512_load_si512(query + b);
                for (int i = 0; i < 4; ++i) {
                    V x = _mm512_loadu_si512(p[i] + b);
                    if (is_signed) x = _mm512_xor_si512(x, flip);
                    sum[i] = _mm512_dpbusd_epi32(sum[i], x, w);
                }
            }
            if (tail) {
                const V w = _mm512_load_si512(query + whole);
                for (int i = 0; i < 4; ++i) {
                    V x = load_tail(p[i] + whole, tail);
                    if (is_signed) x = _mm512_xor_si512(x, flip);
                    sum[i] = _mm512_dpbusd_epi32(sum[i], x, w);
                }
            }
            const int32_t excess = is_signed ? 128 * queries.sums[q] : 0;
            const __m128i dots = _mm_sub_epi32(sum_lanes_epi32(sum), _mm_set1_epi32(excess));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + q * ld + r), dots);
        }
    }
}

// Plane i of the weights meets bit i of the row bytes, worth 2^i; doubling the sum between the
// planes makes every plane count 2^7. Per 64 bytes 16 uops, where expanding bits takes 24.
//
// Rows of at most N vectors: weights and masks stay in registers. The low and the high four
// planes have a sum each, as one chain of additions would be the bottleneck.
template <size_t N>
void bits_short(const RowBlock& rows, const uint8_t* weights, int32_t* out) {
    V w[8][N], mask[8];
    NESTBIT_UNROLL
    for (size_t bit = 0; bit < 8; ++bit) {
        mask[bit] = _mm512_set1_epi8(static_cast<char>(1 << bit));
        NESTBIT_UNROLL
        for (size_t v = 0; v < N; ++v) w[bit][v] = _mm512_load_si512(weights + 64 * (N * bit + v));
    }
    const __mmask64 last = first_bytes(rows.width - 64 * (N - 1));
    for (size_t r = 0; r < rows.count; r += 4) {
        const uint8_t* p[4];
        row_pointers<4>(rows, r, p);
        V sum[4];
        NESTBIT_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            prefetch_row(rows, r + 2 + i);
            V x[N];
            NESTBIT_UNROLL
            for (size_t v = 0; v + 1 < N; ++v) x[v] = _mm512_loadu_si512(p[i] + 64 * v);
            x[N - 1] = load_tail(p[i] + 64 * (N - 1), last);
            V low = _mm512_setzero_si512(), high = low;
            NESTBIT_UNROLL
            for (size_t bit = 0; bit < 4; ++bit) {
                low = _mm512_add_epi32(low, low);
                high = _mm512_add_epi32(high, high);
                NESTBIT_UNROLL
                for (size_t v = 0; v < N; ++v) {
                    const V a = _mm512_and_si512(x[v], mask[bit]);
                    const V b = _mm512_and_si512(x[v], mask[bit + 4]);
                    low = _mm512_dpbusd_epi32(low, a, w[bit][v]);
                    high = _mm512_dpbusd_epi32(high, b, w[bit + 4][v]);
                }
            }
            sum[i] = _mm512_add_epi32(_mm512_slli_epi32(low, 4), high);
        }
        const __m128i dots = _mm_srai_epi32(sum_lanes_epi32(sum), 7);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + r), dots);
    }
}

// Rows of any width, eight at a time, plane after plane.
void bits_long(const RowBlock& rows, const uint8_t* weights, int32_t* out) {
    const size_t whole = rows.width / 64 * 64;
    const __mmask64 tail = first_bytes(rows.width - whole);
    const size_t plane = plane_bytes(rows.width);
    for (size_t r = 0; r < rows.count; r += 8) {
        const uint8_t* p[8];
        row_pointers<8>(rows, r, p);
        V sum[8];
        NESTBIT_UNROLL
        for (int i = 0; i < 8; ++i) sum[i] = _mm512_setzero_si512();
        for (size_t bit = 0; bit < 8; ++bit) {
            const uint8_t* w = weights + bit * plane;
            const V mask = _mm512_set1_epi8(static_cast<char>(1 << bit));
            prefetch_row(rows, r + 8 + bit);
            NESTBIT_UNROLL
            for (int i = 0; i < 8; ++i) sum[i] = _mm512_add_epi32(sum[i], sum[i]);
            for (size_t b = 0; b < whole; b += 64) {
                const V here = _mm512_load_si512(w + b);
                NESTBIT_UNROLL
                for (int i = 0; i < 8; ++i) {
                    const V x = _mm512_and_si512(_mm512_loadu_si512(p[i] + b), mask);
                    sum[i] = _mm512_dpbusd_epi32(sum[i], x, here);
                }
            }
            if (tail) {
                const V here = _mm512_load_si512(w + whole);
                NESTBIT_UNROLL
                for (int i = 0; i < 8; ++i) {
                    const V x = _mm512_and_si512(load_tail(p[i] + whole, tail), mask);
                    sum[i] = _mm512_dpbusd_epi32(sum[i], x, here);
                }
            }
        }
        for (size_t i = 0; i < 8; i += 4) {
            const __m128i dots = _mm_srai_epi32(sum_lanes_epi32(sum + i), 7);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + r + i), dots);
        }
    }
}

}  // namespace

void hamming_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    for (size_t q = 0; q < queries.count; ++q) {
        const uint8_t* query = queries.data + q * queries.stride;
        switch (rows.width) {
            case 64: hamming_rows<1>(rows, query, out + q * ld); break;
            case 128: hamming_rows<2>(rows, query, out + q * ld); break;
            default: hamming_rows<0>(rows, query, out + q * ld);
        }
    }
}

void bits_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    for (size_t q = 0; q < queries.count; ++q) {
        const uint8_t* weights = queries.planes + q * 8 * plane_bytes(rows.width);
        if (rows.width <= 64) {
            bits_short<1>(rows, weights, out + q * ld);
        } else if (rows.width <= 128) {
            bits_short<2>(rows, weights, out + q * ld);
        } else {
            bits_long(rows, weights, out + q * ld);
        }
    }
}

void bytes_few(const RowBlock& rows, const QueryTile& queries, bool is_signed, int32_t* out,
               size_t ld) {
    if (is_signed) {
        bytes_rows<true>(rows, queries, out, ld);
    } else {
        bytes_rows<false>(rows, queries, out, ld);
    }
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
