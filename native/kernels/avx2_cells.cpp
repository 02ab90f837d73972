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

// ---- wide cells ------------------------------------------------------------------------------

constexpr size_t kPiece = 16;           // bytes of each row transposed at once
constexpr size_t kColumnsAtOnce = 256;  // so many sums of at most 255 fit in 16 bits

// Up to 16 bytes of a row, padded with zeros.
inline __m128i load_piece(const uint8_t* p, size_t size) {
    if (size >= kPiece) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_si128(load_tail(p, size));
}

// scratch: [row byte][2 x 32 rows]. Byte 4 * d + i of 32 belongs to row 8 * i + d, so that a byte
// of every dword makes eight rows in their order. Missing rows repeat the last.
void pack_wide_rows(const RowBlock& rows, size_t first, uint8_t* scratch) {
    const auto piece = [&](size_t r, size_t b) {
        const size_t at = r < rows.count ? r : rows.count - 1;
        const uint8_t* row = rows.data + static_cast<ptrdiff_t>(at) * rows.stride + b;
        if (b % 64 == 0) prefetch_ahead(row, rows.stride);
        return load_piece(row, rows.width - b);
    };
    for (size_t b = 0; b < rows.width; b += kPiece) {
        for (size_t s = 0; s < 2; ++s) {
            V v[16];
            for (size_t j = 0; j < 16; ++j) {
                const size_t r = first + 32 * s + j % 4 * 8 + j / 4;
                const V low = _mm256_castsi128_si256(piece(r, b));
                v[j] = _mm256_inserti128_si256(low, piece(r + 4, b), 1);
            }
            transpose(v);
            V* to = reinterpret_cast<V*>(scratch + 64 * b + 32 * s);
            for (size_t c = 0; c < 16; ++c) _mm256_store_si256(to + 2 * c, v[c]);
        }
    }
}

// Adds the sums of 32 rows to out, or begins there.
inline void put_wide(V all, V odd, bool add, int32_t* out) {
    const V even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
    const V low = _mm256_set1_epi32(0xffff);
    const V sums[4] = {_mm256_and_si256(even, low), _mm256_and_si256(odd, low),
                       _mm256_srli_epi32(even, 16), _mm256_srli_epi32(odd, 16)};
    for (int i = 0; i < 4; ++i, out += 8) {
        V* to = reinterpret_cast<V*>(out);
        const V before = add ? _mm256_loadu_si256(to) : _mm256_setzero_si256();
        _mm256_storeu_si256(to, _mm256_add_epi32(before, sums[i]));
    }
}

// `count` columns of 64 rows, and the tables of as many cells of Q queries. A sixteenth of a table
// is looked up at a time: x ^ 16 * i is below 16 for the rows it is for, and for them alone is
// bit 7 clear after 112 is added, without which vpshufb finds zero.
template <size_t Q>
NESTBIT_NOINLINE void wide_sums(const uint8_t* columns, size_t count, const uint8_t* tables,
                                size_t stride, bool add, int32_t* out, size_t ld) {
    const V top = _mm256_set1_epi8(112), step = _mm256_set1_epi8(16);
    V all[Q][2], odd[Q][2];
    for (size_t q = 0; q < Q; ++q) {
        for (size_t s = 0; s < 2; ++s) all[q][s] = odd[q][s] = _mm256_setzero_si256();
    }
    for (const uint8_t* end = columns + 64 * count; columns < end; columns += 64, tables += 256) {
        const V x[2] = {load(columns), load(columns + 32)};
        V found[Q][2], part = _mm256_setzero_si256();
        for (size_t q = 0; q < Q; ++q) found[q][0] = found[q][1] = _mm256_setzero_si256();
        for (size_t i = 0; i < 16; ++i, part = _mm256_add_epi8(part, step)) {
            const V low = _mm256_adds_epu8(_mm256_xor_si256(x[0], part), top);
            const V high = _mm256_adds_epu8(_mm256_xor_si256(x[1], part), top);
            NESTBIT_UNROLL
            for (size_t q = 0; q < Q; ++q) {
                const auto* at = reinterpret_cast<const __m128i*>(tables + q * stride + 16 * i);
                const V table = _mm256_broadcastsi128_si256(_mm_load_si128(at));
                found[q][0] = _mm256_or_si256(found[q][0], _mm256_shuffle_epi8(table, low));
                found[q][1] = _mm256_or_si256(found[q][1], _mm256_shuffle_epi8(table, high));
            }
        }
        for (size_t q = 0; q < Q; ++q) {
            for (size_t s = 0; s < 2; ++s) {
                all[q][s] = _mm256_add_epi16(all[q][s], found[q][s]);
                odd[q][s] = _mm256_add_epi16(odd[q][s], _mm256_srli_epi16(found[q][s], 8));
            }
        }
    }
    for (size_t q = 0; q < Q; ++q) {
        for (size_t s = 0; s < 2; ++s) put_wide(all[q][s], odd[q][s], add, out + q * ld + 32 * s);
    }
}

template <size_t Q>
void wide_sums_of(const uint8_t* scratch, size_t width, const QueryTile& queries, size_t q,
                  int32_t* out, size_t ld) {
    const uint8_t* tables = queries.data + q * queries.stride;
    for (size_t b = 0; b < width; b += kColumnsAtOnce) {
        const size_t count = width - b < kColumnsAtOnce ? width - b : kColumnsAtOnce;
        wide_sums<Q>(scratch + 64 * b, count, tables + 256 * b, queries.stride, b > 0,
                     out + q * ld, ld);
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

// Missing rows repeat the last.
void picked_cells(const uint8_t* const* rows, size_t count, size_t width, const uint8_t* tables,
                  int32_t* out) {
    const V nibble = _mm256_set1_epi8(15);
    for (size_t r = 0; r < count; r += 16) {
        V all = _mm256_setzero_si256(), odd = all;
        for (size_t b = 0; b < width; b += kChunk) {
            V v[16];
            for (size_t i = 0; i < 16; ++i) {
                const uint8_t* row = rows[r + i < count ? r + i : count - 1] + b;
                v[i] = width - b >= kChunk ? load(row) : load_tail(row, width - b);
            }
            transpose(v);
            for (size_t i = 0; i < 16; ++i) {
                const uint8_t* here = tables + low_table(b + i);
                const V low = _mm256_and_si256(v[i], nibble);
                const V high = _mm256_and_si256(_mm256_srli_epi16(v[i], 4), nibble);
                const V x = _mm256_shuffle_epi8(two_tables(here), low);
                const V y = _mm256_shuffle_epi8(two_tables(here + 64), high);
                all = _mm256_add_epi16(all, _mm256_add_epi16(x, y));
                odd = _mm256_add_epi16(
                    odd, _mm256_add_epi16(_mm256_srli_epi16(x, 8), _mm256_srli_epi16(y, 8)));
            }
            const size_t chunk = b / kChunk;
            if ((chunk + 1) % kChunksAtOnce && b + kChunk < width) continue;
            const V even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
            put(_mm256_unpacklo_epi16(even, odd), chunk >= kChunksAtOnce, out + r);
            put(_mm256_unpackhi_epi16(even, odd), chunk >= kChunksAtOnce, out + r + 8);
            all = odd = _mm256_setzero_si256();
        }
    }
}

void wide(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
          size_t ld) {
    for (size_t r = 0; r < rows.count; r += 64) {
        pack_wide_rows(rows, r, scratch);
        size_t q = 0;
        for (; q + 2 <= queries.count; q += 2) {
            wide_sums_of<2>(scratch, rows.width, queries, q, out + r, ld);
        }
        if (q < queries.count) wide_sums_of<1>(scratch, rows.width, queries, q, out + r, ld);
    }
}

void rescore_cells(const Candidates& rows, const float* weights, float* out) {
    kScalar.rescore[static_cast<size_t>(Element::cells)](rows, weights, out);
}

void rescore_wide(const Candidates& rows, const float* weights, float* out) {
    kScalar.rescore[static_cast<size_t>(Element::wide)](rows, weights, out);
}

}  // namespace nestbit::avx2

NESTBIT_TARGET_END

#endif
