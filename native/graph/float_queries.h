// Queries in float become what a walk scores codes with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../tables.h"

namespace nestbit::walking {

// A score is `gain` times an inner product, plus `bias` where a row is scored by its cells and
// `fine_bias` where it is scored by the finer level.
struct FloatQueries {
    TablesRequest coarse;   // the coordinates over the cells, and their books
    const float* bias;      // (m,)
    float gain;
    const float* weights;   // (m, dim) over the finer level's values, or null
    size_t dim;
    const float* fine_bias; // (m,)
};

// Weights of 16 bits are bounded so that no sum of their products with bytes overflows.
inline constexpr int32_t largest_weight(size_t dim) {
    const auto most = kMaxProduct / static_cast<int32_t>(dim);
    return most < INT16_MAX ? most : INT16_MAX;
}

// Room for what `round_queries` writes.
struct RoundedQueries {
    uint8_t* tables;     // as make_tables rounds them
    float *scales, *bases;
    int16_t* weights;    // (m, dim)
    float* fine_scales;
    float* bias;         // (m,) that all scores of a walk lack
};

// scales = gain * scale. bases = gain * base, and with a finer level (gain * base + bias) -
// fine_bias, so that rows scored by the one level compare with rows scored by the other. weights
// = the nearest whole numbers of weight / s, ties to even, s = the largest magnitude /
// largest_weight(dim); fine_scales = gain * s. Every operation is rounded. Returns the first query
// that has a value which is not finite, m if all are.
size_t round_queries(const KernelTable& table, const FloatQueries& queries, const RoundedQueries& out);

}  // namespace nestbit::walking
