// Cells with NEON: a byte of each of 16 rows per vector, looked up by tbl. 16 rows x 16 bytes
// become 16 vectors by four rounds of zipping; the indexes of 64 rows are kept in scratch.
#if defined(__aarch64__)

#include "neon_cells.h"

#include <arm_neon.h>

#include <cstring>

#include "target.h"

NESTBIT_TARGET_BEGIN(NESTBIT_DOTPROD)

namespace nestbit::neon {
namespace {

using V = uint8x16_t;

constexpr size_t kChunk = 16;             // row bytes transposed at once
constexpr size_t kChunkBytes = 16 * 128;  // of scratch: 16 columns, low and high, 4 x 16
// 2 * 16 * 8 sums of at most 255 fit in 16 bits.
constexpr size_t kChunksAtOnce = 8;

inline V load_tail(const uint8_t* p, size_t size) {
    uint8_t bytes[kChunk] = {};
    std::memcpy(bytes, p, size);
    return vld1q_u8(bytes);
}

// With the number of a byte written as eight bits, four of its row and four of its column, each
// round rotates them by one.
inline void transpose(V* v) {
    for (int round = 0; round < 4; ++round) {
        V t[16];
        NESTBIT_UNROLL
        for (int i = 0; i < 8; ++i) {
            t[2 * i] = vzip1q_u8(v[i], v[8 + i]);
            t[2 * i + 1] = vzip2q_u8(v[i], v[8 + i]);
        }
        NESTBIT_UNROLL
        for (int i = 0; i < 16; ++i) v[i] = t[i];
    }
}

// Fetches what lies 64 rows on; an address past the last row is harmless.
inline void prefetch_ahead(const uint8_t* p, ptrdiff_t stride) {
    const uintptr_t ahead = reinterpret_cast<uintptr_t>(p) + 64 * static_cast<uintptr_t>(stride);
    __builtin_prefetch(reinterpret_cast<const void*>(ahead));
}

// 16 bytes of each of 16 rows from byte `b` on; zeros past the width. Missing rows repeat the last.
inline void load_rows(const RowBlock& rows, size_t first, size_t b, V* v) {
    for (size_t i = 0; i < 16; ++i) {
        const size_t r = first + i < rows.count ? first + i : rows.count - 1;
        const uint8_t* row = rows.data + static_cast<ptrdiff_t>(r) * rows.stride + b;
        if (b % 64 == 0) prefetch_ahead(row, rows.stride);
        v[i] = rows.width - b >= kChunk ? vld1q_u8(row) : load_tail(row, rows.width - b);
    }
}

// scratch: [chunk][column][low, high][4 x 16 rows] indexes.
void pack_rows(const RowBlock& rows, size_t first, uint8_t* scratch) {
    for (size_t s = 0; s < 4; ++s) {
        for (size_t b = 0; b < rows.width; b += kChunk) {
            V v[16];
            load_rows(rows, first + 16 * s, b, v);
            transpose(v);
            uint8_t* to = scratch + b / kChunk * kChunkBytes + 16 * s;
            for (size_t i = 0; i < 16; ++i, to += 128) {
                vst1q_u8(to, vandq_u8(v[i], vdupq_n_u8(15)));
                vst1q_u8(to + 64, vshrq_n_u8(v[i], 4));
            }
        }
    }
}

// Adds eight rows' sums to out, or begins there.
inline void put(uint16x8_t sums, bool add, int32_t* out) {
    int32x4_t low = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(sums)));
    int32x4_t high = vreinterpretq_s32_u32(vmovl_high_u16(sums));
    if (add) {
        low = vaddq_s32(low, vld1q_s32(out));
        high = vaddq_s32(high, vld1q_s32(out + 4));
    }
    vst1q_s32(out, low);
    vst1q_s32(out + 4, high);
}

// 64 rows, row bytes `from` to `to`, of which the first is a multiple of kChunk.
void sums(const uint8_t* scratch, const uint8_t* query, size_t from, size_t to, int32_t* out) {
    uint16x8_t low[4] = {}, high[4] = {};
    const uint8_t* indexes = scratch + from / kChunk * kChunkBytes;
    for (size_t b = from; b < to; ++b) {
        for (size_t half = 0; half < 2; ++half, indexes += 64) {
            const V table = vld1q_u8(query + low_table(b) + 64 * half);
            NESTBIT_UNROLL
            for (int s = 0; s < 4; ++s) {
                const V found = vqtbl1q_u8(table, vld1q_u8(indexes + 16 * s));
                low[s] = vaddw_u8(low[s], vget_low_u8(found));
                high[s] = vaddw_high_u8(high[s], found);
            }
        }
    }
    for (int s = 0; s < 4; ++s, out += 16) {
        put(low[s], from > 0, out);
        put(high[s], from > 0, out + 8);
    }
}

// ---- wide cells ------------------------------------------------------------------------------

constexpr size_t kColumnsAtOnce = 256;  // so many sums of at most 255 fit in 16 bits

// scratch: [row byte][4 x 16 rows].
void pack_wide_rows(const RowBlock& rows, size_t first, uint8_t* scratch) {
    for (size_t s = 0; s < 4; ++s) {
        for (size_t b = 0; b < rows.width; b += kChunk) {
            V v[16];
            load_rows(rows, first + 16 * s, b, v);
            transpose(v);
            uint8_t* to = scratch + 64 * b + 16 * s;
            for (size_t i = 0; i < 16; ++i) vst1q_u8(to + 64 * i, v[i]);
        }
    }
}

// `count` columns of 64 rows. A quarter of a table is looked up at a time: with an index of 64
// and more vtbl finds zero and vtbx keeps what was found.
void wide_sums(const uint8_t* columns, size_t count, const uint8_t* tables, bool add,
               int32_t* out) {
    const V quarter = vdupq_n_u8(64);
    uint16x8_t low[4] = {}, high[4] = {};
    for (const uint8_t* end = columns + 64 * count; columns < end; columns += 64, tables += 256) {
        V x[4], found[4];
        const uint8x16x4_t first = vld1q_u8_x4(tables);
        NESTBIT_UNROLL
        for (int s = 0; s < 4; ++s) {
            x[s] = vld1q_u8(columns + 16 * s);
            found[s] = vqtbl4q_u8(first, x[s]);
        }
        for (int i = 1; i < 4; ++i) {
            const uint8x16x4_t table = vld1q_u8_x4(tables + 64 * i);
            NESTBIT_UNROLL
            for (int s = 0; s < 4; ++s) {
                x[s] = vsubq_u8(x[s], quarter);
                found[s] = vqtbx4q_u8(found[s], table, x[s]);
            }
        }
        NESTBIT_UNROLL
        for (int s = 0; s < 4; ++s) {
            low[s] = vaddw_u8(low[s], vget_low_u8(found[s]));
            high[s] = vaddw_high_u8(high[s], found[s]);
        }
    }
    for (int s = 0; s < 4; ++s, out += 16) {
        put(low[s], add, out);
        put(high[s], add, out + 8);
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
    for (size_t r = 0; r < count; r += 16) {
        uint16x8_t low = vdupq_n_u16(0), high = low;
        for (size_t b = 0; b < width; b += kChunk) {
            V v[16];
            for (size_t i = 0; i < 16; ++i) {
                const uint8_t* row = rows[r + i < count ? r + i : count - 1] + b;
                v[i] = width - b >= kChunk ? vld1q_u8(row) : load_tail(row, width - b);
            }
            transpose(v);
            for (size_t i = 0; i < 16; ++i) {
                const V x = vqtbl1q_u8(vld1q_u8(tables + low_table(b + i)),
                                       vandq_u8(v[i], vdupq_n_u8(15)));
                const V y = vqtbl1q_u8(vld1q_u8(tables + high_table(b + i)), vshrq_n_u8(v[i], 4));
                low = vaddw_u8(vaddw_u8(low, vget_low_u8(x)), vget_low_u8(y));
                high = vaddw_high_u8(vaddw_high_u8(high, x), y);
            }
            const size_t chunk = b / kChunk;
            if ((chunk + 1) % kChunksAtOnce && b + kChunk < width) continue;
            put(low, chunk >= kChunksAtOnce, out + r);
            put(high, chunk >= kChunksAtOnce, out + r + 8);
            low = high = vdupq_n_u16(0);
        }
    }
}

void wide(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
          size_t ld) {
    for (size_t r = 0; r < rows.count; r += 64) {
        pack_wide_rows(rows, r, scratch);
        for (size_t q = 0; q < queries.count; ++q) {
            const uint8_t* tables = queries.data + q * queries.stride;
            for (size_t b = 0; b < rows.width; b += kColumnsAtOnce) {
                const size_t left = rows.width - b;
                wide_sums(scratch + 64 * b, left < kColumnsAtOnce ? left : kColumnsAtOnce,
                          tables + 256 * b, b > 0, out + q * ld + r);
            }
        }
    }
}

void rescore_cells(const Candidates& rows, const float* weights, float* out) {
    kScalar.rescore[static_cast<size_t>(Element::cells)](rows, weights, out);
}

void rescore_wide(const Candidates& rows, const float* weights, float* out) {
    kScalar.rescore[static_cast<size_t>(Element::wide)](rows, weights, out);
}

}  // namespace nestbit::neon

NESTBIT_TARGET_END

#endif
