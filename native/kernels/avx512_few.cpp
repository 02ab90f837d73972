// One or a few queries: rows straight from memory, the sums of several rows reduced together.
// Meant to be bound by memory, so rows are read in the order they lie.
#if defined(__x86_64__)

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

// How many rows lie between a row being scored and the one fetched into the cache meanwhile.
inline size_t rows_ahead(const RowBlock& rows) { return 8 + 4096 / rows.width; }

// An address past the last row is harmless.
inline void prefetch_row(const RowBlock& rows, size_t r) {
    const uintptr_t row =
        reinterpret_cast<uintptr_t>(rows.data) + r * static_cast<uintptr_t>(rows.stride);
    for (size_t b = 0; b < rows.width; b += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(row + b), _MM_HINT_T0);
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

template <bool is_signed>
void bytes_rows(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    const size_t whole = rows.width / 64 * 64;
    const __mmask64 tail = first_bytes(rows.width - whole);
    // vpdpbusd wants unsigned rows: r + 128 instead of r, taken back as 128 * sum(weights).
    const V flip = _mm512_set1_epi8(is_signed ? -128 : 0);
    const size_t ahead = rows_ahead(rows);
    for (size_t r = 0; r < rows.count; r += 4) {
        const uint8_t* p[4];
        row_pointers<4>(rows, r, p);
        for (size_t i = 0; i < 4; ++i) prefetch_row(rows, r + ahead + i);
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
// N: vectors of 64 bytes a row has, all whole, or 0 for any width.
template <size_t N>
void bits_rows(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    const size_t whole = N ? 64 * N : rows.width / 64 * 64;
    const __mmask64 tail = N ? 0 : first_bytes(rows.width - whole);
    const size_t plane = N ? 64 * N : plane_bytes(rows.width);
    const size_t ahead = rows_ahead(rows);
    for (size_t r = 0; r < rows.count; r += 8) {
        const uint8_t* p[8];
        row_pointers<8>(rows, r, p);
        for (size_t q = 0; q < queries.count; ++q) {
            const uint8_t* weights = queries.planes + q * 8 * plane;
            V sum[8];
            NESTBIT_UNROLL
            for (int i = 0; i < 8; ++i) sum[i] = _mm512_setzero_si512();
            for (size_t bit = 0; bit < 8; ++bit, weights += plane) {
                // Spread over the planes, so that the fetches do not queue up.
                if (q == 0) prefetch_row(rows, r + ahead + bit);
                const V mask = _mm512_set1_epi8(static_cast<char>(1 << bit));
                NESTBIT_UNROLL
                for (int i = 0; i < 8; ++i) sum[i] = _mm512_add_epi32(sum[i], sum[i]);
                for (size_t b = 0; b < whole; b += 64) {
                    const V w = _mm512_load_si512(weights + b);
                    NESTBIT_UNROLL
                    for (int i = 0; i < 8; ++i) {
                        const V x = _mm512_and_si512(_mm512_loadu_si512(p[i] + b), mask);
                        sum[i] = _mm512_dpbusd_epi32(sum[i], x, w);
                    }
                }
                if (tail) {
                    const V w = _mm512_load_si512(weights + whole);
                    NESTBIT_UNROLL
                    for (int i = 0; i < 8; ++i) {
                        const V x = _mm512_and_si512(load_tail(p[i] + whole, tail), mask);
                        sum[i] = _mm512_dpbusd_epi32(sum[i], x, w);
                    }
                }
            }
            for (size_t i = 0; i < 8; i += 4) {
                const __m128i dots = _mm_srai_epi32(sum_lanes_epi32(sum + i), 7);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(out + q * ld + r + i), dots);
            }
        }
    }
}

}  // namespace

void hamming_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    const size_t whole = rows.width / 64 * 64;
    const __mmask64 tail = first_bytes(rows.width - whole);
    const size_t ahead = rows_ahead(rows);
    for (size_t r = 0; r < rows.count; r += 8) {
        const uint8_t* p[8];
        row_pointers<8>(rows, r, p);
        for (size_t i = 0; i < 8; ++i) prefetch_row(rows, r + ahead + i);
        for (size_t q = 0; q < queries.count; ++q) {
            const uint8_t* query = queries.data + q * queries.stride;
            V sum[8];
            for (auto& s : sum) s = _mm512_setzero_si512();
            for (size_t b = 0; b < whole; b += 64) {
                const V bits = _mm512_load_si512(query + b);
                for (int i = 0; i < 8; ++i) {
                    const V x = _mm512_xor_si512(_mm512_loadu_si512(p[i] + b), bits);
                    sum[i] = _mm512_add_epi64(sum[i], _mm512_popcnt_epi64(x));
                }
            }
            if (tail) {
                const V bits = _mm512_load_si512(query + whole);
                for (int i = 0; i < 8; ++i) {
                    const V x = _mm512_xor_si512(load_tail(p[i] + whole, tail), bits);
                    sum[i] = _mm512_add_epi64(sum[i], _mm512_popcnt_epi64(x));
                }
            }
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + q * ld + r), sum_lanes_epi64(sum));
        }
    }
}

void bits_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    switch (rows.width) {
        case 64: return bits_rows<1>(rows, queries, out, ld);
        case 128: return bits_rows<2>(rows, queries, out, ld);
        default: return bits_rows<0>(rows, queries, out, ld);
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
