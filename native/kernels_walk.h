// What the walk over a graph asks of an instruction set besides the kernels of the scans.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestbit {

// Rows of a block lie side by side in lanes: byte 0 of each of so many rows, then byte 1, and so on.
inline constexpr size_t kLanes = 16;

// sums[r] = what the tables of a query, placed as QueryTile tells, hold at the cells of row r.

// `groups` * kLanes rows of `width` bytes, as [group][byte][lane].
using LanesFn = void (*)(const uint8_t* codes, size_t groups, size_t width, const uint8_t* tables,
                         int32_t* sums);

// Rows anywhere, at most kPicked; writes any of sums up to round_up(count, kLanes).
inline constexpr size_t kPicked = 64;
using PickedFn = void (*)(const uint8_t* const* rows, size_t count, size_t width,
                          const uint8_t* tables, int32_t* sums);

// sum_d weights[d] * row[d] of int8 or uint8 values. The caller bounds the weights by
// kMaxProduct / dim, so that no sum overflows; they are zero-padded to kPad values.
inline constexpr int32_t kMaxProduct = INT32_MAX / 256;
using RowDotFn = int32_t (*)(const uint8_t* row, const int16_t* weights, size_t dim);

// Keys, best first and zeros after the last, of which the `room` best of all are kept: `count` new
// ones, none of them there, join them. There is space for round_up(room, kMerged) keys, and what lies
// beyond `room` afterwards is anything. Returns the first place whose key is even, among those
// beyond `room` too, or more than there are.
inline constexpr size_t kMerged = 32;
inline constexpr size_t kMostMerged = 128;
using MergeFn = size_t (*)(uint64_t* keys, size_t room, const uint64_t* from, size_t count);

// out[q * ld + r] = the product of row r (count, dim) with query q (m, stride), summed in an order
// that depends on `dim` alone.
using ProductsFn = void (*)(const float* rows, size_t dim, size_t count, const float* queries,
                            size_t stride, size_t m, float* out, size_t ld);

struct WalkKernels {
    LanesFn lanes[2];    // cells of four bits, of eight
    PickedFn picked[2];  // the same
    RowDotFn dot[2];     // int8, uint8
    MergeFn merge;       // of at most kMostMerged keys, or null
    ProductsFn products; // or null
};

}  // namespace nestbit
