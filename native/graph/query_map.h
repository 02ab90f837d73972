// Embeddings of queries become coordinates over cells and weights over a finer level.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.h"

namespace nestbit::walking {

// What a codec does to a query of `dim` values before its tables are made.
struct QueryMap {
    size_t dim, coordinates;
    bool unit;     // queries are scaled to length 1 first, unless they are zero
    bool squared;  // scores are minus squared distances, not inner products
    bool centred;  // `mean` is taken off before the coordinates are made
    const float* mean;
    // The coordinates: products with rows (coordinates, dim), or a rotation by signs
    // (rounds, coordinates) of 1 and -1, see rotate_rows.
    const float* back;
    const float* signs;
    size_t rounds;
    // Of the finer level the value of a code is offset + step * code; null without one.
    const float *offset, *step;
};

// Room for what becomes of m queries.
struct MappedQueries {
    float* coordinates;  // (m, coordinates)
    float* bias;         // (m,), as those of FloatQueries
    float* weights;      // (m, dim)
    float* fine_bias;    // (m,)
    // Of a level of floats, if there is room: the values, zero-padded to round_up(dim, kPad), and bias.
    float* values;
    float* values_bias;
};

// Each query by itself, whatever others come with it: equal queries have equal hits.
void map_queries(const KernelTable& table, const QueryMap& map, const float* queries, ptrdiff_t stride,
                 size_t m, size_t threads, const MappedQueries& out);

}  // namespace nestbit::walking
