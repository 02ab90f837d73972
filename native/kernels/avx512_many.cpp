// Many queries: a block of rows is transposed into scratch once, so that every lane is a row and
// no sum is ever reduced across lanes; queries are then broadcast from memory.
//   hamming  xor, vpopcntq, add: 3 uops on 2 ports per 64 bytes, 3 cycles per 1024 bits
//   bytes    vpdpbusd on 4 x 16 rows and 6 queries: 24 sums, 10 loads for 24 products
//   bits     the same product on bits expanded to bytes
#if defined(__x86_64__)

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

inline void transpose_8x8_epi64(V* v) {
    V t[8];
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]);
    }
    V u[8];
    for (int half = 0; half < 2; ++half) {
        for (int i = 0; i < 2; ++i) {
            const V a = t[4 * half + i], b = t[4 * half + 2 + i];
            u[4 * half + i] = _mm512_shuffle_i64x2(a, b, 0x88);
            u[4 * half + 2 + i] = _mm512_shuffle_i64x2(a, b, 0xdd);
        }
    }
    for (int i = 0; i < 2; ++i) {
        v[i] = _mm512_shuffle_i64x2(u[i], u[4 + i], 0x88);
        v[4 + i] = _mm512_shuffle_i64x2(u[i], u[4 + i], 0xdd);
        v[2 + i] = _mm512_shuffle_i64x2(u[2 + i], u[6 + i], 0x88);
        v[6 + i] = _mm512_shuffle_i64x2(u[2 + i], u[6 + i], 0xdd);
    }
}

// scratch: [16 rows][word][2 x 8 rows] u64; missing rows repeat the last one.
void transpose_words(const RowBlock& rows, size_t words, uint8_t* scratch) {
    const size_t whole = rows.width / 64 * 64;
    const __mmask64 tail = first_bytes(rows.width - whole);
    for (size_t r = 0; r < rows.count; r += 8) {
        const uint8_t* p[8];
        row_pointers<8>(rows, r, p);
        uint8_t* to = scratch + r / 16 * words * 128 + r % 16 * 8;
        for (size_t b = 0; b < rows.width; b += 64) {
            V v[8];
            for (int i = 0; i < 8; ++i) {
                v[i] = b < whole ? _mm512_loadu_si512(p[i] + b) : load_tail(p[i] + b, tail);
            }
            transpose_8x8_epi64(v);
            const size_t here = words - b / 8 < 8 ? words - b / 8 : 8;
            for (size_t i = 0; i < here; ++i) _mm512_store_si512(to + (b / 8 + i) * 128, v[i]);
        }
    }
}

template <int Q>
inline void hamming_16(const uint8_t* block, size_t words, const uint8_t* query, size_t stride,
                       int32_t* out, size_t ld) {
    V low[Q], high[Q];
    for (int q = 0; q < Q; ++q) low[q] = high[q] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; ++w) {
        const V a = _mm512_load_si512(block + w * 128);
        const V b = _mm512_load_si512(block + w * 128 + 64);
        for (int q = 0; q < Q; ++q) {
            int64_t word;
            std::memcpy(&word, query + static_cast<size_t>(q) * stride + 8 * w, 8);
            const V bits = _mm512_set1_epi64(word);
            low[q] = _mm512_add_epi64(low[q], _mm512_popcnt_epi64(_mm512_xor_si512(a, bits)));
            high[q] = _mm512_add_epi64(high[q], _mm512_popcnt_epi64(_mm512_xor_si512(b, bits)));
        }
    }
    for (int q = 0; q < Q; ++q) {
        int32_t* to = out + static_cast<size_t>(q) * ld;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi64_epi32(low[q]));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), _mm512_cvtepi64_epi32(high[q]));
    }
}

// Value vectors of 64 values of one row: bytes made unsigned, or bits as 0 and 1.
struct BytesSource {
    V flip;
    size_t width;
    V load(const uint8_t* row, size_t value) const {
        return _mm512_xor_si512(load_tail(row + value, first_bytes(width - value)), flip);
    }
};
struct BitsSource {
    V ones;
    size_t width;
    V load(const uint8_t* row, size_t value) const {
        const size_t b = value / 8;
        const __mmask64 bits = width - b >= 8 ? load_bits(row + b) : load_bits(row + b, width - b);
        return _mm512_maskz_mov_epi8(bits, ones);
    }
};

// scratch: [4 values][64 rows] u8 groups of four: 256 bytes per four values. Missing rows
// repeat the last one.
template <typename Source>
void pack_rows(const RowBlock& rows, size_t first, const Source& source, size_t values,
               uint8_t* scratch) {
    for (size_t g = 0; g < 4 && first + 16 * g < rows.count; ++g) {
        const uint8_t* p[16];
        row_pointers<16>(rows, first + 16 * g, p);
        for (size_t d = 0; d < values; d += 64) {
            V v[16];
            for (int i = 0; i < 16; ++i) v[i] = source.load(p[i], d);
            transpose_16x16_epi32(v);
            const size_t here = values - d < 64 ? (values - d + 3) / 4 : 16;
            for (size_t i = 0; i < here; ++i) {
                _mm512_store_si512(scratch + (d / 4 + i) * 256 + 64 * g, v[i]);
            }
        }
    }
}

// Not inlined, and its loops unrolled early: else GCC 12 spills the 24 sums.
template <int G, int Q>
NESTBIT_NOINLINE void product(const uint8_t* packed, size_t quads, const QueryTile& queries,
                              size_t first, int32_t excess_per_weight, int32_t* out, size_t ld) {
    V sum[Q][G];
    NESTBIT_UNROLL
    for (int q = 0; q < Q; ++q) {
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) {
            const int32_t weights = queries.sums[first + static_cast<size_t>(q)];
            sum[q][g] = _mm512_set1_epi32(-excess_per_weight * weights);
        }
    }
    const size_t stride = queries.stride;
    const uint8_t* query = queries.data + first * stride;
    for (const uint8_t* end = packed + 256 * quads; packed < end; packed += 256, query += 4) {
        V x[G];
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) x[g] = _mm512_load_si512(packed + 64 * g);
        NESTBIT_UNROLL
        for (int q = 0; q < Q; ++q) {
            int32_t four;
            std::memcpy(&four, query + static_cast<size_t>(q) * stride, 4);
            const V w = _mm512_set1_epi32(four);
            NESTBIT_UNROLL
            for (int g = 0; g < G; ++g) sum[q][g] = _mm512_dpbusd_epi32(sum[q][g], x[g], w);
        }
    }
    NESTBIT_UNROLL
    for (int q = 0; q < Q; ++q) {
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) {
            _mm512_storeu_si512(out + (first + static_cast<size_t>(q)) * ld + 16 * g, sum[q][g]);
        }
    }
}

template <int G>
void products(const uint8_t* packed, size_t quads, const QueryTile& queries, int32_t excess,
              int32_t* out, size_t ld) {
    size_t q = 0;
    for (; q + 6 <= queries.count; q += 6) product<G, 6>(packed, quads, queries, q, excess, out, ld);
    for (; q + 2 <= queries.count; q += 2) product<G, 2>(packed, quads, queries, q, excess, out, ld);
    for (; q < queries.count; ++q) product<G, 1>(packed, quads, queries, q, excess, out, ld);
}

template <typename Source>
void dots_many(const RowBlock& rows, const QueryTile& queries, const Source& source, size_t values,
               int32_t excess, uint8_t* scratch, int32_t* out, size_t ld) {
    const size_t quads = (values + 3) / 4;
    for (size_t r = 0; r < rows.count; r += 64) {
        pack_rows(rows, r, source, values, scratch);
        switch (rows.count - r > 48 ? 4 : (rows.count - r + 15) / 16) {
            case 4: products<4>(scratch, quads, queries, excess, out + r, ld); break;
            case 3: products<3>(scratch, quads, queries, excess, out + r, ld); break;
            case 2: products<2>(scratch, quads, queries, excess, out + r, ld); break;
            default: products<1>(scratch, quads, queries, excess, out + r, ld); break;
        }
    }
}

}  // namespace

void hamming_many(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
                  size_t ld) {
    const size_t words = (rows.width + 7) / 8;
    transpose_words(rows, words, scratch);
    for (size_t r = 0; r < rows.count; r += 16) {
        const uint8_t* block = scratch + r / 16 * words * 128;
        size_t q = 0;
        for (; q + 4 <= queries.count; q += 4) {
            hamming_16<4>(block, words, queries.data + q * queries.stride, queries.stride,
                          out + q * ld + r, ld);
        }
        for (; q < queries.count; ++q) {
            hamming_16<1>(block, words, queries.data + q * queries.stride, queries.stride,
                          out + q * ld + r, ld);
        }
    }
}

void bits_many(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
               size_t ld) {
    const BitsSource source{_mm512_set1_epi8(1), rows.width};
    dots_many(rows, queries, source, 8 * rows.width, 0, scratch, out, ld);
}

// vpdpbusd wants unsigned rows: r + 128 instead of r, taken back as 128 * sum(weights).
void bytes_many(const RowBlock& rows, const QueryTile& queries, bool is_signed, uint8_t* scratch,
                int32_t* out, size_t ld) {
    const BytesSource source{_mm512_set1_epi8(is_signed ? -128 : 0), rows.width};
    dots_many(rows, queries, source, rows.width, is_signed ? 128 : 0, scratch, out, ld);
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
