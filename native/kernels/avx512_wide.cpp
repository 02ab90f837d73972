// Wide cells with VBMI: a byte of each of 64 rows per vector, looked up in the 256 bytes of a table
// by four vpermb, each but the first for the rows whose two highest bits ask for its quarter of the
// table. (Two vpermi2b and a blend take as many shuffles and more of everything else.) 64 rows x 16
// bytes become 16 vectors by 48 inserts and four rounds of unpacking, kept in scratch for all
// queries. A table is read once for 128 rows, as those of many queries come from L2.
//
// Found bytes are summed as 16-bit lanes, of which the high bytes are also summed apart: the sums
// of the low bytes are then the difference, modulo 2^16. That makes four shuffles and four other
// operations for 64 look-ups, on two ports: 4 cycles.
#if defined(__x86_64__)

#include "avx512_fetch.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

constexpr size_t kSide = 64;            // rows of a vector
constexpr size_t kColumn = 2 * kSide;   // bytes of scratch for a row byte
constexpr size_t kPiece = 16;           // row bytes transposed at once
constexpr size_t kColumnsAtOnce = 256;  // so many sums of at most 255 fit in 16 bits

// 16 bytes of each of 64 rows, as `load` reads them of one row, to vectors of one byte of each.
// Byte 4 * d + i belongs to row 16 * i + d: a byte of every dword makes 16 rows in their order.
template <typename Load>
inline NESTBIT_INLINE void transpose(const Load& load, V* v) {
    NESTBIT_UNROLL
    for (int j = 0; j < 16; ++j) {
        const int row = j % 4 * 16 + j / 4;
        v[j] = _mm512_castsi128_si512(load(row));
        v[j] = _mm512_inserti32x4(v[j], load(row + 4), 1);
        v[j] = _mm512_inserti32x4(v[j], load(row + 8), 2);
        v[j] = _mm512_inserti32x4(v[j], load(row + 12), 3);
    }
    // Within 128 bits, byte c of v[j] becomes byte j of v[c]. With the number of a byte written as
    // eight bits, four of j and four of c, each round rotates them by one.
    NESTBIT_UNROLL
    for (int round = 0; round < 4; ++round) {
        V t[16];
        NESTBIT_UNROLL
        for (int i = 0; i < 8; ++i) {
            t[2 * i] = _mm512_unpacklo_epi8(v[i], v[8 + i]);
            t[2 * i + 1] = _mm512_unpackhi_epi8(v[i], v[8 + i]);
        }
        NESTBIT_UNROLL
        for (int i = 0; i < 16; ++i) v[i] = t[i];
    }
}

// Writes a vector for each row byte, kColumn apart. Missing rows repeat the last one; the bytes
// past a width below kPiece are zero.
template <typename Fetch>
void pack_rows(const RowBlock& rows, size_t first, uint8_t* scratch) {
    const uint8_t* row[kSide];
    row_pointers<kSide>(rows, first, row);
    Fetch fetch = Fetch::from(rows, first + kColumn);
    // `columns` of the piece are new.
    const auto piece = [&](size_t at, size_t columns, const auto& load) NESTBIT_INLINE {
        V v[kPiece];
        transpose(load, v);
        NESTBIT_UNROLL
        for (size_t c = 0; c < kPiece; ++c) {
            _mm512_store_si512(scratch + (at + c) * kColumn, v[c]);
            if (c >= columns) continue;
            fetch.group();
            fetch.wait_for_stores();
        }
    };
    const auto whole = [&](size_t at, size_t columns) NESTBIT_INLINE {
        piece(at, columns, [&](int i) NESTBIT_INLINE {
            return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row[i] + at));
        });
    };
    size_t b = 0;
    for (; b + kPiece <= rows.width; b += kPiece) whole(b, kPiece);
    if (b == rows.width) return;
    const size_t left = round_up(rows.width - b, 4);
    if (b) return whole(rows.width - kPiece, left);  // reads some of the row once more
    const auto mask = static_cast<__mmask16>(first_bytes(rows.width));
    piece(0, left, [&](int i) NESTBIT_INLINE { return _mm_maskz_loadu_epi8(mask, row[i]); });
}

// Adds the sums of 64 rows to out, or begins there.
inline void put(V all, V odd, bool add, int32_t* out) {
    const V even = _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8));
    const V low = _mm512_set1_epi32(0xffff);
    const V sums[4] = {_mm512_and_si512(even, low), _mm512_and_si512(odd, low),
                       _mm512_srli_epi32(even, 16), _mm512_srli_epi32(odd, 16)};
    NESTBIT_UNROLL
    for (int i = 0; i < 4; ++i) {
        int32_t* to = out + 16 * i;
        const V before = add ? _mm512_loadu_si512(to) : _mm512_setzero_si512();
        _mm512_storeu_si512(to, _mm512_add_epi32(before, sums[i]));
    }
}

// `count` columns of G x 64 rows, and the tables of as many cells of Q queries.
template <int G, int Q>
NESTBIT_NOINLINE void sums(const uint8_t* columns, size_t count, const uint8_t* tables,
                           size_t stride, bool add, int32_t* out, size_t ld) {
    V all[Q][G], odd[Q][G];
    NESTBIT_UNROLL
    for (int q = 0; q < Q; ++q) {
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) all[q][g] = odd[q][g] = _mm512_setzero_si512();
    }
    for (const uint8_t* end = columns + count * kColumn; columns < end; columns += kColumn) {
        V x[G];
        __mmask64 quarter[G][4];  // its first is all rows
        NESTBIT_UNROLL
        for (size_t g = 0; g < G; ++g) {
            x[g] = _mm512_load_si512(columns + kSide * g);
            quarter[g][1] = _mm512_movepi8_mask(_mm512_slli_epi16(x[g], 1));
            quarter[g][2] = _mm512_movepi8_mask(x[g]);
            quarter[g][3] = _kand_mask64(quarter[g][1], quarter[g][2]);
        }
        NESTBIT_UNROLL
        for (size_t q = 0; q < Q; ++q) {
            const uint8_t* table = tables + q * stride;
            V part[4];
            NESTBIT_UNROLL
            for (size_t i = 0; i < 4; ++i) part[i] = _mm512_load_si512(table + 64 * i);
            NESTBIT_UNROLL
            for (size_t g = 0; g < G; ++g) {
                V found = _mm512_permutexvar_epi8(x[g], part[0]);
                NESTBIT_UNROLL
                for (size_t i = 1; i < 4; ++i) {
                    found = _mm512_mask_permutexvar_epi8(found, quarter[g][i], x[g], part[i]);
                }
                all[q][g] = _mm512_add_epi16(all[q][g], found);
                odd[q][g] = _mm512_add_epi16(odd[q][g], _mm512_srli_epi16(found, 8));
            }
        }
        tables += 256;
    }
    NESTBIT_UNROLL
    for (size_t q = 0; q < Q; ++q) {
        NESTBIT_UNROLL
        for (size_t g = 0; g < G; ++g) put(all[q][g], odd[q][g], add, out + q * ld + kSide * g);
    }
}

template <int G, int Q>
void sums_of(const uint8_t* scratch, size_t width, const QueryTile& queries, size_t q,
             int32_t* out, size_t ld) {
    const uint8_t* tables = queries.data + q * queries.stride;
    for (size_t b = 0; b < width; b += kColumnsAtOnce) {
        const size_t count = width - b < kColumnsAtOnce ? width - b : kColumnsAtOnce;
        sums<G, Q>(scratch + b * kColumn, count, tables + 256 * b, queries.stride, b > 0,
                   out + q * ld, ld);
    }
}

template <int G>
void all_sums(const uint8_t* scratch, size_t width, const QueryTile& queries, int32_t* out,
              size_t ld) {
    size_t q = 0;
    for (; q + 4 <= queries.count; q += 4) sums_of<G, 4>(scratch, width, queries, q, out, ld);
    for (; q + 2 <= queries.count; q += 2) sums_of<G, 2>(scratch, width, queries, q, out, ld);
    for (; q < queries.count; ++q) sums_of<G, 1>(scratch, width, queries, q, out, ld);
}

}  // namespace

void wide(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
          size_t ld) {
    const auto pack = without_gaps(rows) ? pack_rows<FetchBytes<kL2>> : pack_rows<FetchRows<kL2>>;
    for (size_t r = 0; r < rows.count; r += kColumn) {
        pack(rows, r, scratch);
        if (rows.count - r <= kSide) {
            all_sums<1>(scratch, rows.width, queries, out + r, ld);
        } else {
            pack(rows, r + kSide, scratch + kSide);
            all_sums<2>(scratch, rows.width, queries, out + r, ld);
        }
    }
}

// A gather is at most twice as fast, and far slower on processors that have to guard its data from
// other threads (Downfall).
void rescore_wide(const Candidates& rows, const float* weights, float* out) {
    kScalar.rescore[static_cast<size_t>(Element::wide)](rows, weights, out);
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
