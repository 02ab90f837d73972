// Cells with AVX2: a byte of each of 16 rows per 128-bit lane, looked up by vpshufb. The lanes of
// a vector hold two columns of the rows, 16 bytes apart, so that 16 rows x 32 bytes become 16
// vectors by four rounds of unpacking. The indexes of 64 rows are kept in scratch.
//
// Found bytes are summed as 16-bit lanes, of which the high bytes are also summed apart: the sums
// of the rows with even numbers are then the difference, modulo 2^16.
#if defined(__x86_64__)

#include "avx2_cells.h"

#include <immintrin.h>

#include <cstring>

#include "target.h"

NESTBIT_TARGET_BEGIN("avx2,fma,f16c,popcnt")

namespace nestbit::avx2 {
namespace {

using V = __m256i;

constexpr size_t kChunk = 32;             // row bytes transposed at once
constexpr size_t kChunkBytes = 16 * 256;  // of scratch: 16 columns, low and high, 4 x 32
// 2 * 16 * 8 sums of at most 255 fit in 16 bits.
constexpr size_t kChunksAtOnce = 8;

inline V load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const V*>(p)); }

// Up to eight bytes, by loads that overlap; the rest is zero.
inline uint64_t load_word(const uint8_t* p, size_t size) {
    uint64_t word = 0;
    if (size >= 8) {
        std::memcpy(&word, p, 8);
    } else if (size >= 4) {
        uint32_t first, last;
        std::memcpy(&first, p, 4);
        std::memcpy(&last, p + size - 4, 4);
        word = first | uint64_t{last} << 8 * (size - 4);
    } else if (size) {
        word = p[0] | uint64_t{p[size / 2]} << 8 * (size / 2) |
               uint64_t{p[size - 1]} << 8 * (size - 1);
    }
    return word;
}

// The last `size` < 32 bytes of a row, padded with zeros. A copy of a size known at run time only
// would be a call for each row.
inline V load_tail(const uint8_t* p, size_t size) {
    int64_t words[4];
    for (size_t i = 0; i < 4; ++i) {
        words[i] = static_cast<int64_t>(size > 8 * i ? load_word(p + 8 * i, size - 8 * i) : 0);
    }
    return _mm256_setr_epi64x(words[0], words[1], words[2], words[3]);
}

// Per 128-bit lane the transpose of 16 x 16 bytes. With the number of a byte written as eight
// bits, four of its row and four of its column, each round rotates them by one.
inline void transpose(V* v) {
    for (int round = 0; round < 4; ++round) {
        V t[16];
        NESTBIT_UNROLL
        for (int i = 0; i < 8; ++i) {
            t[2 * i] = _mm256_unpacklo_epi8(v[i], v[8 + i]);
            t[2 * i + 1] = _mm256_unpackhi_epi8(v[i], v[8 + i]);
        }
        NESTBIT_UNROLL
        for (int i = 0; i < 16; ++i) v[i] = t[i];
    }
}

// Fetches what lies 64 rows on; an address past the last row is harmless.
inline void prefetch_ahead(const uint8_t* p, ptrdiff_t stride) {
    const uintptr_t ahead = reinterpret_cast<uintptr_t>(p) + 64 * static_cast<uintptr_t>(stride);
    _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T0);
}

// scratch: [chunk][column][low, high][4 x 16 rows, twice] indexes. Missing rows repeat the last.
void pack_rows(const RowBlock& rows, size_t first, uint8_t* scratch) {
    const V nibble = _mm256_set1_epi8(15);
    for (size_t s = 0; s < 4; ++s) {
        for (size_t b = 0; b < rows.width; b += kChunk) {
            V v[16];
            for (size_t i = 0; i < 16; ++i) {
                const size_t r = first + 16 * s + i;
                const size_t at = r < rows.count ? r : rows.count - 1;
                const uint8_t* row = rows.data + static_cast<ptrdiff_t>(at) * rows.stride + b;
                if (b % 64 == 0) prefetch_ahead(row, rows.stride);
                v[i] = rows.width - b >= kChunk ? load(row) : load_tail(row, rows.width - b);
            }
            transpose(v);
            uint8_t* to = scratch + b / kChunk * kChunkBytes + 32 * s;
            for (size_t i = 0; i < 16; ++i, to += 256) {
                const V low = _mm256_and_si256(v[i], nibble);
                const V high = _mm256_and_si256(_mm256_srli_epi16(v[i], 4), nibble);
                _mm256_store_si256(reinterpret_cast<V*>(to), low);
                _mm256_store_si256(reinterpret_cast<V*>(to + 128), high);
            }
        }
    }
}

// The table of a column and that of the column 16 bytes on.
inline V two_tables(const uint8_t* tables) {
    const __m128i low = _mm_load_si128(reinterpret_cast<const __m128i*>(tables));
    const __m128i high = _mm_load_si128(reinterpret_cast<const __m128i*>(tables + low_table(16)));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// Adds eight rows' sums, each in two 16-bit lanes, to out, or begins there.
inline void put(V sums, bool add, int32_t* out) {
    V* to = reinterpret_cast<V*>(out);
    const V a = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums));
    const V b = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1));
    const V before = add ? _mm256_loadu_si256(to) : _mm256_setzero_si256();
    _mm256_storeu_si256(to, _mm256_add_epi32(before, _mm256_add_epi32(a, b)));
}

// 64 rows, row bytes `from` to `to`, of which the first is a multiple of kChunk.
NESTBIT_NOINLINE void sums(const uint8_t* scratch, const uint8_t* query, size_t from, size_t to,
                           int32_t* out) {
    V all[4], odd[4];
    for (int s = 0; s < 4; ++s) all[s] = odd[s] = _mm256_setzero_si256();
    for (size_t b = from; b < to; b += kChunk) {
        const uint8_t* indexes = scratch + b / kChunk * kChunkBytes;
        const size_t columns = to - b < 16 ? to - b : 16;
        for (size_t i = 0; i < columns; ++i) {
            const uint8_t* tables = query + low_table(b + i);
            for (size_t half = 0; half < 2; ++half, indexes += 128) {
                const V table = two_tables(tables + 64 * half);
                NESTBIT_UNROLL
                for (int s = 0; s < 4; ++s) {
                    const V found = _mm256_shuffle_epi8(table, load(indexes + 32 * s));
                    all[s] = _mm256_add_epi16(all[s], found);
                    odd[s] = _mm256_add_epi16(odd[s], _mm256_srli_epi16(found, 8));
                }
            }
        }
    }
    for (int s = 0; s < 4; ++s, out += 16) {
        const V even = _mm256_sub_epi16(all[s], _mm256_slli_epi16(odd[s], 8));
        put(_mm256_unpacklo_epi16(even, odd[s]), from > 0, out);
        put(_mm256_unpackhi_epi16(even, odd[s]), from > 0, out + 8);
    }
}

}  // namespace

void cells(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
           size_t ld) {
    constexpr size_t step = kChunk * kChunksAtOnce;
    for (size_t r = 0; r < rows.count; r += 64) {
        pack_rows(rows, r, scratch);
        for (size_t q = 0; q < queries.count; ++q) {
            for (size_t b = 0; b < rows.width; b += step) {
                const size_t end = rows.width - b < step ? rows.width : b + step;
                sums(scratch, queries.data + q * queries.stride, b, end, out + q * ld + r);
            }
        }
    }
}

void rescore_cells(const Candidates& rows, const float* weights, float* out) {
    kScalar.rescore[static_cast<size_t>(Element::cells)](rows, weights, out);
}

}  // namespace nestbit::avx2

NESTBIT_TARGET_END

#endif
