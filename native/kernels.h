// The plain structs and the table of pure block primitives every instruction set fills in.
//
// Nothing here allocates, throws or knows Python. The drivers (scan.cpp, rescore.cpp) own all
// buffers and all control flow; an instruction set is one KernelTable of function pointers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestbit {

// Prepared queries are zero-padded to this many bytes, so kernels read them in whole vectors.
inline constexpr size_t kPad = 64;
// Score blocks have room for a multiple of this many rows, so kernels store whole vectors.
inline constexpr size_t kRowGroup = 64;
// The most queries a score function is given at once.
inline constexpr size_t kQueryTile = 256;
// 255 * 127 * 65536 < 2^31: with |weight| <= 127 no int32 score can overflow.
inline constexpr size_t kMaxDim = 65536;

inline constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Bytes of one of the eight planes of QueryTile::planes; each is zero-padded.
inline constexpr size_t plane_bytes(size_t width) { return round_up(width, kPad); }

enum class Op { hamming, bits, bytes_i8, bytes_u8 };
inline constexpr size_t kOps = 4;
// How many values a row of `width` bytes holds: the width of its unpacked form.
inline constexpr size_t values_of(Op op, size_t width) {
    return op == Op::hamming || op == Op::bits ? 8 * width : width;
}

// Rows as they lie in the caller's memory; `stride` and `width` in bytes, any alignment.
// Only the `width` bytes of a row may be read.
struct RowBlock {
    const uint8_t* data;
    ptrdiff_t stride;
    size_t count;
    size_t width;
};

// Queries prepared by queries.cpp: `count` rows of `stride` bytes, 64-byte aligned, zero-padded.
// hamming: the packed bits. bits: int8 weights, each group of eight reversed, so that
// weight 8*b+i belongs to bit i (value 1 << i) of row byte b. bytes: int8 weights.
struct QueryTile {
    const uint8_t* data;
    size_t stride;
    size_t count;
    const int32_t* sums;    // per query: sum of the weights, for hamming the number of ones
    const uint8_t* planes;  // bits: the weights again as [query][bit i][byte b], else null
    const uint8_t* packed;  // what KernelTable::pack wrote, or null
};

// Writes out[q * ld + r] for q < queries.count and r < rows.count; may write any value up to
// r < round_up(rows.count, kRowGroup). `scratch` has scratch_bytes() bytes, 64-byte aligned.
using ScoreFn = void (*)(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch,
                         int32_t* out, size_t ld);

// Scratch any score function may use for a block of `rows` rows.
inline constexpr size_t scratch_bytes(Op op, size_t width, size_t rows) {
    return (round_up(rows, kRowGroup) + 64) * round_up(values_of(op, width), kPad) + 65536;
}

// Appends the key of each row whose score is not <= threshold and returns how many; a NaN
// threshold takes every row. score = scale * float(dot) + bias[r], one rounding per operation.
// key = ordered(score) << 32 | ~(first_row + r): larger is better, ties go to the smaller row.
using SelectFn = size_t (*)(const int32_t* dots, size_t count, float scale, const float* bias,
                            float threshold, uint32_t first_row, uint64_t* keys);

enum class Element { bits, i8, u8, f16, bf16, f32 };
inline constexpr size_t kElements = 6;
inline constexpr size_t element_bytes(Element e) {
    return e == Element::f32 ? 4 : e == Element::f16 || e == Element::bf16 ? 2 : 1;
}

// The rows `ids` picks from `data`; `values` elements a row (bits: bytes a row).
struct Candidates {
    const uint8_t* data;
    ptrdiff_t stride;
    size_t values;
    const int64_t* ids;
    size_t count;
};

// out[c] = sum_d weights[d] * row[ids[c]][d]. Weights are zero-padded to kPad values; for bits
// they are reversed within each group of eight, as above.
using RescoreFn = void (*)(const Candidates& rows, const float* weights, float* out);

struct KernelTable {
    const char* name;
    ScoreFn score[kOps];
    SelectFn select;
    RescoreFn rescore[kElements];
    // Wrapping sum of all 64-bit little-endian words (the last one zero-padded): a plain read.
    uint64_t (*read)(const uint8_t* data, size_t size);

    // Optional second layout of the queries, used when a tile has at least pack_from of them.
    size_t pack_from;
    size_t (*packed_bytes)(Op op, size_t width, size_t count);
    void (*pack)(Op op, size_t width, const QueryTile& queries, uint8_t* packed);
    // Optional per-thread set-up around a run of score calls.
    void (*enter)();
    void (*leave)();
};

// Order-preserving map of a float (not NaN, zero already positive) to uint32, and its inverse.
inline constexpr uint32_t ordered_bits(uint32_t bits) {
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
inline constexpr uint32_t unordered_bits(uint32_t bits) {
    return bits >> 31 ? bits & 0x7fffffffu : ~bits;
}

// Defined by the files of native/kernels that the target architecture compiles.
extern const KernelTable kScalar;
#if defined(__x86_64__)
extern const KernelTable kAvx2;
extern const KernelTable kAvx512;
extern const KernelTable kAmx;
#elif defined(__aarch64__)
extern const KernelTable kNeon;
#endif

}  // namespace nestbit
