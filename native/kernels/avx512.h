// What the files of the AVX-512 kernels share, and what amx.cpp takes from them.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "../kernels.h"
#include "target.h"

#define NESTBIT_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq,bmi2"

namespace nestbit::avx512 {

using V = __m512i;

// avx512_few.cpp: rows straight from memory.
void hamming_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld);
void bits_few(const RowBlock& rows, const QueryTile& queries, int32_t* out, size_t ld);
void bytes_few(const RowBlock& rows, const QueryTile& queries, bool is_signed, int32_t* out,
               size_t ld);

// avx512_many.cpp: rows transposed into scratch first.
void hamming_many(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
                  size_t ld);
void bits_many(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
               size_t ld);
void bytes_many(const RowBlock& rows, const QueryTile& queries, bool is_signed, uint8_t* scratch,
                int32_t* out, size_t ld);

// avx512_cells.cpp
void cells(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
           size_t ld);
void rescore_cells(const Candidates& rows, const float* weights, float* out);
void picked_cells(const uint8_t* const* rows, size_t count, size_t width, const uint8_t* tables,
                  int32_t* sums);

// avx512_beam.cpp
size_t merge(uint64_t* keys, size_t room, const uint64_t* from, size_t count);
void products(const float* rows, size_t dim, size_t count, const float* queries, size_t stride, size_t m,
              float* out, size_t ld);

// avx512_encode.cpp
void encode(const CellBooks& books, const EncodeTile& tile, float* along, float* length2);
void tables(const TableBooks& books, const float* query, const TablesOut& out);
void rotate(const Rotation& rotation, float* row);
void grid(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial, float* along,
          float* length2);

// avx512_wide.cpp
void wide(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
          size_t ld);
void rescore_wide(const Candidates& rows, const float* weights, float* out);

// avx512.cpp
size_t select(const int32_t* dots, size_t count, const Scoring& scoring, float threshold,
              uint32_t first_row, uint64_t* keys);
uint64_t read(const uint8_t* data, size_t size);

// avx512_float.cpp
void rescore_bits(const Candidates& rows, const float* weights, float* out);
void rescore_i8(const Candidates& rows, const float* weights, float* out);
void rescore_u8(const Candidates& rows, const float* weights, float* out);
void rescore_f16(const Candidates& rows, const float* weights, float* out);
void rescore_bf16(const Candidates& rows, const float* weights, float* out);
void rescore_f32(const Candidates& rows, const float* weights, float* out);

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

static inline __mmask64 first_bytes(size_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
static inline __mmask16 first_lanes(size_t n) {
    return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1);
}
static inline V load_tail(const uint8_t* p, __mmask64 mask) {
    return _mm512_maskz_loadu_epi8(mask, p);
}

// The bits of up to 64 dimensions, dimension i (in the order of QueryTile) in bit i.
static inline __mmask64 load_bits(const uint8_t* p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}
static inline __mmask64 load_bits(const uint8_t* p, size_t size) {
    uint64_t word = 0;
    std::memcpy(&word, p, size);
    return word;
}

// Rows from `first` on, clamped to the last row, so that a short group reads only rows that
// exist; its surplus results are not used.
template <int N>
static inline void row_pointers(const RowBlock& rows, size_t first, const uint8_t** p) {
    for (int i = 0; i < N; ++i) {
        const size_t r = first + static_cast<size_t>(i);
        const size_t at = r < rows.count ? r : rows.count - 1;
        p[i] = rows.data + static_cast<ptrdiff_t>(at) * rows.stride;
    }
}

static inline void transpose_16x16_epi32(V* v) {
    V t[16];
    for (int i = 0; i < 8; ++i) {
        t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    V u[16];
    for (int i = 0; i < 4; ++i) {
        u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        const V a = _mm512_shuffle_i32x4(u[i], u[4 + i], 0x88);
        const V b = _mm512_shuffle_i32x4(u[i], u[4 + i], 0xdd);
        const V c = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0x88);
        const V d = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0xdd);
        v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        v[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        v[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
        v[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

NESTBIT_TARGET_END

}  // namespace nestbit::avx512
