// Cells with VBMI: vpermb looks up 64 cells in the tables of four at once, vpdpbusd with ones adds
// the four of a row into its 32-bit lane, exactly. For that four bytes of each of 16 rows are
// brought together in a vector: byte p of it belongs to row p / 4 and row byte p % 4.
//   few   up to six queries, 16 rows in registers: per 64 bytes 3 inserts, 2 unpacks, 3 uops for
//         the indexes and 4 for each query, on two ports: 6 cycles for the first query, less than
//         the memory takes
//   many  the indexes of 64 rows are kept in scratch; then 64 look-ups take vpermb and vpdpbusd
// Rescoring puts 16 candidates in the lanes the same way; a table of 16 floats is one vpermps.
#if defined(__x86_64__)

#include "avx512_fetch.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {
namespace {

constexpr size_t kPiece = 16;  // bytes of each that are transposed at once

// 16 rows at a constant distance, or, for a short group or chosen rows, each with its pointer.
struct Strided {
    const uint8_t* data;
    ptrdiff_t stride;
    const uint8_t* row(int i) const { return data + i * stride; }
};
struct Pointers {
    const uint8_t* p[kRows];
    const uint8_t* row(int i) const { return p[i]; }
};

// Four vectors of 16 bytes of each row; `load` reads those of one row. Dword i of v[d] becomes
// dword d of row i.
template <typename Load>
inline NESTBIT_INLINE void transpose_piece(const Load& load, V* v) {
    NESTBIT_UNROLL
    for (int i = 0; i < 4; ++i) {
        v[i] = _mm512_castsi128_si512(load(i));
        v[i] = _mm512_inserti32x4(v[i], load(4 + i), 1);
        v[i] = _mm512_inserti32x4(v[i], load(8 + i), 2);
        v[i] = _mm512_inserti32x4(v[i], load(12 + i), 3);
    }
    const V a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const V c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm512_unpacklo_epi64(a, c);
    v[1] = _mm512_unpackhi_epi64(a, c);
    v[2] = _mm512_unpacklo_epi64(b, d);
    v[3] = _mm512_unpackhi_epi64(b, d);
}

// Calls f(g, x) for every group g of four row bytes, x these bytes of 16 rows. Bytes past the
// width are zero.
template <typename Rows, typename F>
inline NESTBIT_INLINE void for_each_group(const Rows& rows, size_t width, const F& f) {
    const auto piece = [&](size_t at, V* v) NESTBIT_INLINE {
        transpose_piece(
            [&](int i) NESTBIT_INLINE {
                return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.row(i) + at));
            },
            v);
    };
    V v[4];
    const size_t whole = width / kPiece * kPiece;
    for (size_t b = 0; b < whole; b += kPiece) {
        piece(b, v);
        NESTBIT_UNROLL
        for (size_t d = 0; d < 4; ++d) f(b / 4 + d, v[d]);
    }
    if (whole == width) return;
    const size_t groups = (width - whole + 3) / 4;  // 1 to 4
    if (whole && width % 4 == 0) {  // read the end of the row once more and use what is new
        piece(width - kPiece, v);
        if (groups > 2) f(width / 4 - 3, v[1]);
        if (groups > 1) f(width / 4 - 2, v[2]);
        f(width / 4 - 1, v[3]);
        return;
    }
    const auto mask = static_cast<__mmask16>(first_bytes(width - whole));
    transpose_piece(
        [&](int i) NESTBIT_INLINE { return _mm_maskz_loadu_epi8(mask, rows.row(i) + whole); }, v);
    f(whole / 4, v[0]);
    if (groups > 1) f(whole / 4 + 1, v[1]);
    if (groups > 2) f(whole / 4 + 2, v[2]);
    if (groups > 3) f(whole / 4 + 3, v[3]);
}

// Row bytes to indexes of vpermb: which of the four tables in bits 4 and 5, the cell below.
struct Indexes {
    V nibble, table;
    static inline Indexes make() { return {_mm512_set1_epi8(15), _mm512_set1_epi32(0x30201000)}; }
    V low(V x) const { return _mm512_ternarylogic_epi32(x, nibble, table, 0xea); }  // x & n | t
    V high(V x) const { return low(_mm512_srli_epi32(x, 4)); }
};

template <int Q, typename Rows, typename Fetch>
inline NESTBIT_INLINE void score_16(const Rows& rows, size_t width, const uint8_t* query,
                                    size_t stride, Fetch& fetch, int32_t* out, size_t ld) {
    const Indexes index = Indexes::make();
    const V ones = _mm512_set1_epi8(1);
    V low[Q], high[Q];
    NESTBIT_UNROLL
    for (int q = 0; q < Q; ++q) low[q] = high[q] = _mm512_setzero_si512();
    for_each_group(rows, width, [&](size_t g, V x) NESTBIT_INLINE {
        fetch.group();
        const V i = index.low(x), j = index.high(x);
        NESTBIT_UNROLL
        for (int q = 0; q < Q; ++q) {
            const uint8_t* tables = query + static_cast<size_t>(q) * stride + 128 * g;
            const V a = _mm512_permutexvar_epi8(i, _mm512_load_si512(tables));
            const V b = _mm512_permutexvar_epi8(j, _mm512_load_si512(tables + 64));
            low[q] = _mm512_dpbusd_epi32(low[q], a, ones);
            high[q] = _mm512_dpbusd_epi32(high[q], b, ones);
        }
        fetch.wait_for(low[0]);
    });
    NESTBIT_UNROLL
    for (int q = 0; q < Q; ++q) {
        _mm512_storeu_si512(out + static_cast<size_t>(q) * ld, _mm512_add_epi32(low[q], high[q]));
    }
}

template <int Q, typename Fetch>
void rows_in_place(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    const uint8_t* query = queries.data;
    Fetch fetch = Fetch::from(rows, kRows + 4096 / rows.width);
    for (size_t r = 0; r < rows.count; r += kRows) {
        if (rows.count - r >= kRows) {
            const Strided group{rows.data + static_cast<ptrdiff_t>(r) * rows.stride, rows.stride};
            score_16<Q>(group, rows.width, query, queries.stride, fetch, out + r, ld);
        } else {
            Pointers group;
            row_pointers<kRows>(rows, r, group.p);
            score_16<Q>(group, rows.width, query, queries.stride, fetch, out + r, ld);
        }
    }
}

template <int Q>
void cells_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld) {
    if (without_gaps(rows)) return rows_in_place<Q, FetchBytes<kL1>>(rows, queries, out, ld);
    rows_in_place<Q, FetchRows<kL1>>(rows, queries, out, ld);
}

// scratch: [group of four row bytes][low, high][4 x 16 rows] indexes: 512 bytes per group.
// Missing rows repeat the last one.
template <typename Fetch>
void pack_rows(const RowBlock& rows, size_t first, uint8_t* scratch) {
    const Indexes index = Indexes::make();
    Fetch fetch = Fetch::from(rows, first + 4 * kRows);
    for (size_t s = 0; s < 4 && first + kRows * s < rows.count; ++s) {
        Pointers group;
        row_pointers<kRows>(rows, first + kRows * s, group.p);
        for_each_group(group, rows.width, [&](size_t g, V x) NESTBIT_INLINE {
            fetch.group();
            uint8_t* to = scratch + g * 512 + 64 * s;
            _mm512_store_si512(to, index.low(x));
            _mm512_store_si512(to + 256, index.high(x));
            fetch.wait_for_stores();
        });
    }
}

// `halves`: vectors of tables a query has.
template <int G, int Q>
NESTBIT_NOINLINE void sums(const uint8_t* indexes, size_t halves, const QueryTile& queries,
                           size_t first, int32_t* out, size_t ld) {
    const V ones = _mm512_set1_epi8(1);
    V sum[Q][G];
    NESTBIT_UNROLL
    for (int q = 0; q < Q; ++q) {
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) sum[q][g] = _mm512_setzero_si512();
    }
    const size_t stride = queries.stride;
    const uint8_t* query = queries.data + first * stride;
    for (const uint8_t* end = indexes + 256 * halves; indexes < end; indexes += 256, query += 64) {
        V x[G];
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) x[g] = _mm512_load_si512(indexes + 64 * g);
        NESTBIT_UNROLL
        for (int q = 0; q < Q; ++q) {
            const V tables = _mm512_load_si512(query + static_cast<size_t>(q) * stride);
            NESTBIT_UNROLL
            for (int g = 0; g < G; ++g) {
                const V found = _mm512_permutexvar_epi8(x[g], tables);
                sum[q][g] = _mm512_dpbusd_epi32(sum[q][g], found, ones);
            }
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
void all_sums(const uint8_t* indexes, size_t halves, const QueryTile& queries, int32_t* out,
              size_t ld) {
    size_t q = 0;
    for (; q + 4 <= queries.count; q += 4) sums<G, 4>(indexes, halves, queries, q, out, ld);
    for (; q + 2 <= queries.count; q += 2) sums<G, 2>(indexes, halves, queries, q, out, ld);
    for (; q < queries.count; ++q) sums<G, 1>(indexes, halves, queries, q, out, ld);
}

void cells_many(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
                size_t ld) {
    const size_t halves = 2 * ((rows.width + 3) / 4);
    for (size_t r = 0; r < rows.count; r += 4 * kRows) {
        if (without_gaps(rows)) {
            pack_rows<FetchBytes<kL2>>(rows, r, scratch);
        } else {
            pack_rows<FetchRows<kL2>>(rows, r, scratch);
        }
        switch (rows.count - r > 48 ? 4 : (rows.count - r + 15) / 16) {
            case 4: all_sums<4>(scratch, halves, queries, out + r, ld); break;
            case 3: all_sums<3>(scratch, halves, queries, out + r, ld); break;
            case 2: all_sums<2>(scratch, halves, queries, out + r, ld); break;
            default: all_sums<1>(scratch, halves, queries, out + r, ld); break;
        }
    }
}

// Lane sums of 16 candidates, in 4 x 2 running sums.
inline __m512 rescore_16(const Pointers& rows, const float* weights, size_t width) {
    __m512 low[4], high[4];
    for (int i = 0; i < 4; ++i) low[i] = high[i] = _mm512_setzero_ps();
    const auto add = [&](const float* table, V x, int i) NESTBIT_INLINE {
        low[i] = _mm512_add_ps(low[i], _mm512_permutexvar_ps(x, _mm512_loadu_ps(table)));
        const V y = _mm512_srli_epi32(x, 4);
        high[i] = _mm512_add_ps(high[i], _mm512_permutexvar_ps(y, _mm512_loadu_ps(table + 16)));
    };
    for_each_group(rows, width, [&](size_t g, V x) NESTBIT_INLINE {
        // vpermps looks at the lowest four bits of a lane alone.
        const float* tables = weights + 128 * g;
        add(tables, x, 0);
        if (4 * g + 1 < width) add(tables + 32, _mm512_srli_epi32(x, 8), 1);
        if (4 * g + 2 < width) add(tables + 64, _mm512_srli_epi32(x, 16), 2);
        if (4 * g + 3 < width) add(tables + 96, _mm512_srli_epi32(x, 24), 3);
    });
    for (int i = 0; i < 4; ++i) low[i] = _mm512_add_ps(low[i], high[i]);
    return _mm512_add_ps(_mm512_add_ps(low[0], low[1]), _mm512_add_ps(low[2], low[3]));
}

}  // namespace

void cells(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
           size_t ld) {
    switch (queries.count) {
        case 0: return;
        case 1: return cells_few<1>(rows, queries, out, ld);
        case 2: return cells_few<2>(rows, queries, out, ld);
        case 3: return cells_few<3>(rows, queries, out, ld);
        case 4: return cells_few<4>(rows, queries, out, ld);
        case 5: return cells_few<5>(rows, queries, out, ld);
        case 6: return cells_few<6>(rows, queries, out, ld);
        default: return cells_many(rows, queries, scratch, out, ld);
    }
}

// Missing rows repeat the last one.
void picked_cells(const uint8_t* const* rows, size_t count, size_t width, const uint8_t* tables,
                  int32_t* sums) {
    struct {
        void group() const {}
        void wait_for(V&) const {}
    } nothing;
    for (size_t r = 0; r < count; r += kRows) {
        Pointers group;
        for (size_t i = 0; i < kRows; ++i) group.p[i] = rows[r + i < count ? r + i : count - 1];
        score_16<1>(group, width, tables, 0, nothing, sums + r, 0);
    }
}

void rescore_cells(const Candidates& rows, const float* weights, float* out) {
    const auto row = [&](size_t c) {
        return rows.data + rows.ids[c < rows.count ? c : rows.count - 1] * rows.stride;
    };
    for (size_t c = 0; c < rows.count; c += kRows) {
        Pointers group;
        for (size_t i = 0; i < kRows; ++i) {
            group.p[i] = row(c + i);
            const uint8_t* next = row(c + kRows + i);
            for (size_t b = 0; b < rows.values; b += 64) {
                _mm_prefetch(reinterpret_cast<const char*>(next + b), _MM_HINT_T0);
            }
        }
        const auto valid = static_cast<__mmask16>(first_bytes(rows.count - c));
        _mm512_mask_storeu_ps(out + c, valid, rescore_16(group, weights, rows.values));
    }
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
