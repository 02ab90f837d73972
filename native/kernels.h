// The plain structs and the table of pure block primitives every instruction set fills in.
//
// Nothing here allocates, throws or knows Python. The drivers (scan.cpp, rescore.cpp) own all
// buffers and all control flow; an instruction set is one KernelTable of function pointers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels_walk.h"

namespace nestbit {

// Prepared queries are zero-padded to this many bytes, so kernels read them in whole vectors.
inline constexpr size_t kPad = 64;
// Score blocks have room for a multiple of this many rows, so kernels store whole vectors.
inline constexpr size_t kRowGroup = 64;
// The most queries a score function is given at once.
inline constexpr size_t kQueryTile = 256;
// 255 * 127 * 65536 < 2^31: with |weight| <= 127 no int32 score can overflow. Nor can that of
// 65536 cells, each at most 255.
inline constexpr size_t kMaxDim = 65536;

inline constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Bytes of one of the eight planes of QueryTile::planes; each is zero-padded.
inline constexpr size_t plane_bytes(size_t width) { return round_up(width, kPad); }

enum class Op { hamming, bits, bytes_i8, bytes_u8, cells, wide };
inline constexpr size_t kOps = 6;
// How many values a row of `width` bytes holds: the width of its unpacked form.
inline constexpr size_t values_of(Op op, size_t width) {
    return op == Op::hamming || op == Op::bits ? 8 * width : op == Op::cells ? 2 * width : width;
}

// How many values a query's table has for each value of a row; 0 where queries are weights or bits.
inline constexpr size_t table_size(Op op) {
    return op == Op::cells ? 16 : op == Op::wide ? 256 : 0;
}

// A row of cells holds cell 2j in the low and cell 2j + 1 in the high half of byte j. Prepared
// tables are padded to this many row bytes with tables of zeros. Wide cells have a whole byte each.
inline constexpr size_t kCellPad = 32;
// Where the 16 bytes of the table of the low half of row byte j lie in a prepared query: four
// neighbouring tables make a vector of 64 bytes; those of the high halves follow it.
inline constexpr size_t low_table(size_t j) { return j / 4 * 128 + j % 4 * 16; }
inline constexpr size_t high_table(size_t j) { return low_table(j) + 64; }

// Rows as they lie in the caller's memory; `stride` and `width` in bytes, any alignment.
// Only the `width` bytes of a row may be read.
struct RowBlock {
    const uint8_t* data;
    ptrdiff_t stride;
    size_t count;
    size_t width;
    const uint8_t* next = nullptr;  // what is read after these rows, if not what follows them
};

// Queries prepared by queries.cpp: `count` rows of `stride` bytes, 64-byte aligned, zero-padded.
// hamming: the packed bits. bits: int8 weights, each group of eight reversed, so that
// weight 8*b+i belongs to bit i (value 1 << i) of row byte b. bytes: int8 weights. cells: tables
// of 16 bytes, placed by low_table() and high_table(). wide: one of 256 bytes per row byte.
struct QueryTile {
    const uint8_t* data;
    size_t stride;
    size_t count;
    const int32_t* sums;    // per query: sum of the weights, hamming: number of ones, tables: 0
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

// How the score of a row is made of its dot, one rounding per operation:
// row_scale[r] * (scale * float(dot) + base) + row_bias[r].
struct Scoring {
    float scale;
    float base;                 // not -0, so that a sum with it is not
    const float* row_scale;          // at most one of these two,
    const uint16_t* row_scale_half;  // here float16; without either the factor is 1
    const float* row_bias;      // or null for 0

    // The same for the rows from `r` on.
    Scoring from(size_t r) const {
        return {scale, base, row_scale ? row_scale + r : nullptr,
                row_scale_half ? row_scale_half + r : nullptr, row_bias ? row_bias + r : nullptr};
    }
};

// Appends the key of each row whose score is not <= threshold and returns how many; a NaN
// threshold takes every row. key = ordered(score) << 32 | ~(first_row + r): larger is better,
// ties go to the smaller row, and -0 counts as 0.
using SelectFn = size_t (*)(const int32_t* dots, size_t count, const Scoring& scoring,
                            float threshold, uint32_t first_row, uint64_t* keys);

enum class Element { bits, i8, u8, f16, bf16, f32, cells, wide };
inline constexpr size_t kElements = 8;
inline constexpr size_t element_bytes(Element e) {
    return e == Element::f32 ? 4 : e == Element::f16 || e == Element::bf16 ? 2 : 1;
}

// The rows `ids` picks from `data`; `values` elements a row (bits and cells: bytes a row).
struct Candidates {
    const uint8_t* data;
    ptrdiff_t stride;
    size_t values;
    const int64_t* ids;
    size_t count;
};

// out[c] = sum_d weights[d] * row[ids[c]][d]. Weights are zero-padded to kPad values; for bits
// they are reversed within each group of eight, as above. cells: sum_j weights[16 * j + cell j],
// wide: sum_j weights[256 * j + cell j], the weights as the caller has them.
using RescoreFn = void (*)(const Candidates& rows, const float* weights, float* out);

// Rows of cells are encoded as many at a time.
inline constexpr size_t kEncodeRows = 64;

// Codebooks as the encoders read them; cell c covers coordinates first[c] to first[c] + width[c].
struct CellBooks {
    size_t cells, centroids, coordinates;  // 16 or 256 centroids a cell
    const int32_t *first, *width;
    const size_t* start;     // sum of the widths of the cells before
    const uint8_t* left_to;  // whether a later cell codes what this one leaves
    const float* offset;     // [cell][centroid]: -|c|^2 / 2
    // From centroids * start[c] on [coordinate][centroid]: what a cell compares and takes off, and
    // what it decodes to.
    const float *book, *decoded;
};

// Up to kEncodeRows rows; those beyond `count` hold zeros.
struct EncodeTile {
    const float* z;  // [coordinate][row]
    float* left;     // the same, of which the cells take off their centroids; z if none does
    float* sums;     // zeros at first: the decoded rows
    uint8_t* found;  // [cell][row]: the centroids chosen
    size_t count;
};

// Each cell in turn picks the first centroid of largest <z, c> - |c|^2/2. Then, over the
// coordinates, along[r] = <sums, z> and length2[r] = <sums, sums>. Room for kEncodeRows of each.
using EncodeFn = void (*)(const CellBooks& books, const EncodeTile& tile, float* along,
                          float* length2);

// Codebooks as queries meet them; from centroids * start[c] on `books` holds cell c's decoded
// centroids as [coordinate][centroid].
struct TableBooks {
    size_t cells, centroids;  // 16 or 256 centroids a cell
    const int32_t *first, *width;
    const size_t* start;      // sum of the widths of the cells before
    const float* books;
};

// Of one query, [cell][centroid] each but for `low`, [cell], which is scratch.
struct TablesOut {
    float* tables;
    uint8_t* rounded;
    float* low;
    float *scale, *base;
};

// tables = <query, centroid>; scale = the largest range of a cell / 255, base = the sum of the
// cells' least values, rounded = the nearest whole number of (table - least) / scale.
using TablesFn = void (*)(const TableBooks& books, const float* query, const TablesOut& out);

// A rotation as rabitq.h tells it: `window` dimensions are transformed and scaled by `scale`.
struct Rotation {
    size_t dim, window, rounds;
    const float* signs;
    float scale;
    bool inverse;
};
using RotateFn = void (*)(const Rotation& rotation, float* row);

// The point of the grid of 2^bits points a coordinate that is nearest in direction to the row z,
// over several steps: its codes, <point, z> and |point|^2. z (r) is zero-padded to kRowGroup
// values, for which `code` and the scratch `trial` have room.
using GridFn = void (*)(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial,
                        float* along, float* length2);

struct KernelTable {
    const char* name;
    ScoreFn score[kOps];
    SelectFn select;
    RescoreFn rescore[kElements];
    EncodeFn encode;
    TablesFn tables;
    RotateFn rotate;
    GridFn grid;
    const WalkKernels* walk;
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
extern const WalkKernels kScalarWalk;
#if defined(__x86_64__)
extern const KernelTable kAvx2;
extern const KernelTable kAvx512;
extern const KernelTable kAmx;
extern const WalkKernels kAvx2Walk, kAvx512Walk;
#elif defined(__aarch64__)
extern const KernelTable kNeon;
extern const WalkKernels kNeonWalk;
#endif

}  // namespace nestbit
