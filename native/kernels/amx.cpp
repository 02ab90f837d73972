// AVX-512 with AMX int8 tiles (Sapphire Rapids and later): every scan as one matrix product.
//
// A tile of rows is 16 rows x 64 values read where they lie, with their own stride; a tile of
// queries is packed once per call as [16 groups of 4 values][16 queries][4 values]. One
// tdpb*d is 16 x 16 x 64 products in 16 cycles, eight times vpdpbusd. Bits are first expanded
// to bytes 0 and 1. The Hamming distance is such a product too: with s = 1 - 2 * query bit,
// sum(row bit * s) + ones(query). Cells would have to be expanded sixteenfold, to vectors with a
// single one, which brings tiles down to the speed of the table look-ups of AVX-512.
#if defined(__x86_64__)

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512 ",amx-tile,amx-int8")

namespace nestbit {
namespace {

constexpr size_t kTile = 1024;   // bytes of a tile: 16 lines of 64
constexpr size_t kSide = 16;     // rows or queries of a tile
constexpr size_t kChunk = 8;    // tiles of values summed in one go
constexpr size_t kSumBytes = kQueryTile / (2 * kSide) * 4096;
constexpr size_t kPackFrom = 4;  // fewest queries for which a tile beats the AVX-512 kernels

struct TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_line[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t lines[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

alignas(64) constexpr TileConfig kConfig;

void enter() { _tile_loadconfig(&kConfig); }

void leave() { _tile_release(); }

// ---- queries ----------------------------------------------------------------------------------

size_t packed_bytes(Op op, size_t width, size_t count) {
    return round_up(count, kSide) / kSide * round_up(values_of(op, width), 64) / 64 * kTile;
}

int8_t weight_at(Op op, const uint8_t* query, size_t width, size_t d) {
    if (op != Op::hamming) return static_cast<int8_t>(query[d]);
    if (d >= 8 * width) return 0;
    return static_cast<int8_t>(1 - 2 * ((query[d / 8] >> (d % 8)) & 1));
}

void pack(Op op, size_t width, const QueryTile& queries, uint8_t* packed) {
    const size_t size = packed_bytes(op, width, queries.count);
    const size_t values = round_up(values_of(op, width), 64);
    std::memset(packed, 0, size);
    for (size_t q = 0; q < queries.count; ++q) {
        const uint8_t* query = queries.data + q * queries.stride;
        uint8_t* to = packed + q / kSide * values / 64 * kTile + q % kSide * 4;
        if (op == Op::bytes_i8 || op == Op::bytes_u8) {  // zero-padded, so whole groups of four
            for (size_t d = 0; d < values; d += 4) std::memcpy(to + d * 16, query + d, 4);
            continue;
        }
        for (size_t d = 0; d < values; ++d) {
            to[d / 4 * 64 + d % 4] = static_cast<uint8_t>(weight_at(op, query, width, d));
        }
    }
}

// ---- rows -------------------------------------------------------------------------------------

// 16 rows as `count` tiles of 64 values: tile t at data + step * t, lines `stride` apart. The
// last tile may lie elsewhere, padded.
struct RowTiles {
    const uint8_t* data;
    ptrdiff_t stride;
    size_t step, count;
    const uint8_t* last;  // one more tile, lines of 64 bytes, or null
};

// Where the rows after the ones being scored lie, and how much of them to fetch into the L2
// cache per step: spread evenly and in the order of memory, it hides best behind the products.
// Addresses past the last row are harmless.
struct Ahead {
    uintptr_t next;
    size_t lines;
    void fetch() {
        for (size_t i = 0; i < lines; ++i, next += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
        }
    }
};

// Copies 64 values of up to 16 rows into a tile, padded with zeros.
void copy_tile(const uint8_t* rows, ptrdiff_t stride, size_t count, size_t values, uint8_t* to) {
    for (size_t r = 0; r < kSide; ++r) {
        const uint8_t* row = rows + static_cast<ptrdiff_t>(r) * stride;
        const __m512i x = r < count ? _mm512_maskz_loadu_epi8(avx512::first_bytes(values), row)
                                    : _mm512_setzero_si512();
        _mm512_store_si512(to + r * 64, x);
    }
}

// Expands `tiles` times 8 bytes of up to 16 rows of bits to tiles of bytes 0 and 1.
void expand_tiles(const uint8_t* rows, ptrdiff_t stride, size_t count, size_t width, size_t tiles,
                  uint8_t* to) {
    const __m512i ones = _mm512_set1_epi8(1);
    const size_t whole = width / 8 < tiles ? width / 8 : tiles;
    for (size_t r = 0; r < kSide; ++r, to += 64) {
        const uint8_t* row = rows + static_cast<ptrdiff_t>(r) * stride;
        size_t t = 0;
        if (r < count) {
            for (; t < whole; ++t) {
                const __mmask64 bits = avx512::load_bits(row + 8 * t);
                _mm512_store_si512(to + t * kTile, _mm512_maskz_mov_epi8(bits, ones));
            }
            if (t < tiles && 8 * t < width) {
                const __mmask64 bits = avx512::load_bits(row + 8 * t, width - 8 * t);
                _mm512_store_si512(to + t * kTile, _mm512_maskz_mov_epi8(bits, ones));
                ++t;
            }
        }
        for (; t < tiles; ++t) _mm512_store_si512(to + t * kTile, _mm512_setzero_si512());
    }
}

// Chunk of bits: always expanded into `scratch`.
RowTiles bits_tiles(const RowBlock& rows, size_t first, size_t from, size_t tiles,
                    uint8_t* scratch) {
    const uint8_t* data = rows.data + static_cast<ptrdiff_t>(first) * rows.stride + 8 * from;
    expand_tiles(data, rows.stride, rows.count - first, rows.width - 8 * from, tiles, scratch);
    return {scratch, 64, kTile, tiles, nullptr};
}

// Chunk of bytes: read in place, but for a tile the rows do not fill.
RowTiles bytes_tiles(const RowBlock& rows, size_t first, size_t from, size_t tiles,
                     uint8_t* scratch) {
    const uint8_t* data = rows.data + static_cast<ptrdiff_t>(first) * rows.stride + 64 * from;
    const size_t count = rows.count - first;
    const size_t values = rows.width - 64 * from;
    if (count < kSide) {
        for (size_t t = 0; t < tiles; ++t) {
            copy_tile(data + 64 * t, rows.stride, count, values - 64 * t, scratch + t * kTile);
        }
        return {scratch, 64, kTile, tiles, nullptr};
    }
    if (values >= 64 * tiles) return {data, rows.stride, 64, tiles, nullptr};
    const size_t whole = tiles - 1;
    copy_tile(data + 64 * whole, rows.stride, kSide, values - 64 * whole, scratch);
    return {data, rows.stride, 64, whole, scratch};
}

// ---- product ----------------------------------------------------------------------------------

// GCC's tile loads do not tell the compiler that they read memory.
inline void memory_barrier() { __asm__ volatile("" ::: "memory"); }

// Tiles 0..3 are the sums [rows 0, 1][queries 0, 1], 4 and 5 rows, 6 and 7 queries. The tile
// numbers of the intrinsics are literals, hence the macro.
#define NESTBIT_STEP(DP, a, a_stride, b, b_stride, x, y) \
    _tile_loadd(4, a, a_stride);                         \
    _tile_loadd(6, x, 64);                               \
    DP(0, 4, 6);                                         \
    if constexpr (R == 2) {                              \
        _tile_loadd(5, b, b_stride);                     \
        DP(2, 5, 6);                                     \
    }                                                    \
    if constexpr (Q == 2) {                              \
        _tile_loadd(7, y, 64);                           \
        DP(1, 4, 7);                                     \
        if constexpr (R == 2) DP(3, 5, 7);               \
    }

template <bool is_signed, int R, int Q>
inline void product(const RowTiles* rows, const uint8_t* queries, size_t query_step, bool add,
                    Ahead& ahead, int32_t* sums) {
    memory_barrier();
    if (add) {
        _tile_loadd(0, sums, 64);
        if constexpr (Q == 2) _tile_loadd(1, sums + 256, 64);
        if constexpr (R == 2) _tile_loadd(2, sums + 512, 64);
        if constexpr (R == 2 && Q == 2) _tile_loadd(3, sums + 768, 64);
    } else {
        _tile_zero(0);
        if constexpr (Q == 2) _tile_zero(1);
        if constexpr (R == 2) _tile_zero(2);
        if constexpr (R == 2 && Q == 2) _tile_zero(3);
    }
    const RowTiles& a = rows[0];
    const RowTiles& b = rows[R - 1];
    const uint8_t* x = queries;
    const uint8_t* y = queries + query_step;
    const uint8_t *pa = a.data, *pb = b.data;
    for (size_t t = 0; t < a.count; ++t, x += kTile, y += kTile, pa += a.step, pb += b.step) {
        ahead.fetch();
        if constexpr (is_signed) {
            NESTBIT_STEP(_tile_dpbssd, pa, a.stride, pb, b.stride, x, y)
        } else {
            NESTBIT_STEP(_tile_dpbusd, pa, a.stride, pb, b.stride, x, y)
        }
    }
    if (a.last) {
        // b may hold this tile in a row with the others: its rows were copied whole.
        const uint8_t* b_last = b.last ? b.last : pb;
        if constexpr (is_signed) {
            NESTBIT_STEP(_tile_dpbssd, a.last, 64, b_last, 64, x, y)
        } else {
            NESTBIT_STEP(_tile_dpbusd, a.last, 64, b_last, 64, x, y)
        }
    }
    _tile_stored(0, sums, 64);
    if constexpr (Q == 2) _tile_stored(1, sums + 256, 64);
    if constexpr (R == 2) _tile_stored(2, sums + 512, 64);
    if constexpr (R == 2 && Q == 2) _tile_stored(3, sums + 768, 64);
    memory_barrier();
}

#undef NESTBIT_STEP

// Writes a tile of sums [row][query] as out[query][row], plus an offset per query.
inline void put(const int32_t* sums, const QueryTile& queries, size_t first, bool add_sums,
                int32_t* out, size_t ld) {
    __m512i v[16];
    for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(sums + 16 * r);
    avx512::transpose_16x16_epi32(v);
    const size_t count = queries.count - first < kSide ? queries.count - first : kSide;
    for (size_t q = 0; q < count; ++q) {
        const int32_t offset = add_sums ? queries.sums[first + q] : 0;
        _mm512_storeu_si512(out + (first + q) * ld, _mm512_add_epi32(v[q], _mm512_set1_epi32(offset)));
    }
}

// Makes the tiles of 16 rows from `first` on, `tiles` of them from tile `from` on.
using MakeTiles = RowTiles (*)(const RowBlock& rows, size_t first, size_t from, size_t tiles,
                               uint8_t* scratch);

// R groups of 16 rows against all queries, a chunk of values at a time, so that the tiles of
// both stay in the L1 cache. scratch: the sums of all queries, then a chunk of each group.
template <bool is_signed, MakeTiles make, int R>
void score_rows(const RowBlock& rows, size_t first, const QueryTile& queries, bool add_sums,
                size_t tiles, uint8_t* scratch, int32_t* out, size_t ld) {
    int32_t* sums = reinterpret_cast<int32_t*>(scratch);
    const size_t step = tiles * kTile;
    const size_t steps = tiles * ((queries.count + 2 * kSide - 1) / (2 * kSide));
    const bool in_place = rows.width >= 64 && make == bytes_tiles;
    const size_t lines = in_place ? 2 * kSide * tiles / steps : 0;
    Ahead ahead{reinterpret_cast<uintptr_t>(rows.data) +
                    (first + 2 * kSide) * static_cast<uintptr_t>(rows.stride), lines};
    for (size_t from = 0; from < tiles; from += kChunk) {
        const size_t here = tiles - from < kChunk ? tiles - from : kChunk;
        RowTiles groups[R];
        for (size_t g = 0; g < R; ++g) {
            uint8_t* copy = scratch + kSumBytes + g * kChunk * kTile;
            groups[g] = make(rows, first + kSide * g, from, here, copy);
        }
        for (size_t q = 0; q < queries.count; q += 2 * kSide) {
            const uint8_t* packed = queries.packed + q / kSide * step + from * kTile;
            int32_t* to = sums + q / (2 * kSide) * 1024;
            if (queries.count - q > kSide) {
                product<is_signed, R, 2>(groups, packed, step, from > 0, ahead, to);
            } else {
                product<is_signed, R, 1>(groups, packed, step, from > 0, ahead, to);
            }
        }
    }
    for (size_t q = 0; q < queries.count; q += kSide) {
        const int32_t* from = sums + q / (2 * kSide) * 1024 + q / kSide % 2 * 256;
        for (size_t g = 0; g < R; ++g) put(from + 512 * g, queries, q, add_sums, out + kSide * g, ld);
    }
}

template <Op op, bool is_signed, MakeTiles make>
void score(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
           size_t ld) {
    if (!queries.packed) {
        return kAvx512.score[static_cast<size_t>(op)](rows, queries, scratch, out, ld);
    }
    const size_t tiles = (values_of(op, rows.width) + 63) / 64;
    constexpr bool add_sums = op == Op::hamming;
    for (size_t r = 0; r < rows.count; r += 2 * kSide) {
        if (rows.count - r > kSide) {
            score_rows<is_signed, make, 2>(rows, r, queries, add_sums, tiles, scratch, out + r, ld);
        } else {
            score_rows<is_signed, make, 1>(rows, r, queries, add_sums, tiles, scratch, out + r, ld);
        }
    }
}

}  // namespace

const KernelTable kAmx = {
    .name = "amx",
    .score = {score<Op::hamming, false, bits_tiles>, score<Op::bits, false, bits_tiles>,
              score<Op::bytes_i8, true, bytes_tiles>, score<Op::bytes_u8, false, bytes_tiles>,
              avx512::cells, avx512::wide},
    .select = avx512::select,
    .rescore = {avx512::rescore_bits, avx512::rescore_i8, avx512::rescore_u8, avx512::rescore_f16,
                avx512::rescore_bf16, avx512::rescore_f32, avx512::rescore_cells,
                avx512::rescore_wide},
    .encode = avx512::encode,
    .tables = avx512::tables,
    .rotate = avx512::rotate,
    .grid = avx512::grid,
    .walk = &kAvx512Walk,
    .read = avx512::read,
    .pack_from = kPackFrom,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .enter = enter,
    .leave = leave,
};

}  // namespace nestbit

NESTBIT_TARGET_END

#endif
