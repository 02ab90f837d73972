// Cells and queries over them, as Python hands them over.
#pragma once

#include <optional>

#include "encode.h"
#include "graph/float_queries.h"
#include "module.h"

namespace nestbit::python {

using CellInts = nb::ndarray<nb::numpy, const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using CellBook = nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using QueryRows = nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::device::cpu>;
using QueryWeights = std::optional<CellBook>;
using PerQuery = nb::ndarray<nb::numpy, const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// `centroids` a cell, `in_books` the sum of the widths; every range has to lie inside the
// coordinates.
inline CellRanges cell_ranges(const CellInts& first, const CellInts& width, size_t centroids,
                              size_t in_books, size_t coordinates) {
    const size_t count = first.shape(0);
    require(count > 0 && width.shape(0) == count, "one first coordinate and one width per cell");
    require(centroids == 16 || centroids == 256, "16 or 256 centroids per cell");
    size_t columns = 0;
    for (size_t c = 0; c < count; ++c) {
        const int64_t from = first.data()[c], size = width.data()[c];
        require(from >= 0 && size > 0 && from + size <= static_cast<int64_t>(coordinates),
                "cells must lie inside the coordinates");
        columns += static_cast<size_t>(size);
    }
    require(in_books == columns, "one column of centroids per coordinate of a cell");
    return {first.data(), width.data(), count, columns, coordinates, centroids};
}

// Views of the arguments, which must outlive them; a graph without a finer level has no weights.
inline walking::FloatQueries float_queries(const QueryRows& z, const CellInts& first,
                                           const CellInts& width, const CellBook& books,
                                           const PerQuery& bias, float gain, const QueryWeights& weights,
                                           const std::optional<PerQuery>& fine_bias, size_t threads) {
    const RowBlock rows = row_block(z, "queries must be contiguous along the last axis");
    const auto cells = cell_ranges(first, width, books.shape(1), books.shape(0), z.shape(1));
    const size_t m = rows.count;
    require(threads >= 1, "threads must be at least 1");
    require(bias.shape(0) == m, "one bias per query");
    require(weights.has_value() == fine_bias.has_value(), "weights and their bias go together");
    const TablesRequest coarse{z.data(), z.stride(0), m, cells, books.data(), threads};
    walking::FloatQueries queries{coarse, bias.data(), gain, nullptr, 0, nullptr};
    if (!weights) return queries;
    const size_t dim = weights->shape(1);
    require(weights->shape(0) == m && fine_bias->shape(0) == m, "weights and a bias of each query");
    require(dim >= 1 && dim <= kMaxDim, "between 1 and 65536 weights");
    queries.weights = weights->data();
    queries.dim = dim;
    queries.fine_bias = fine_bias->data();
    return queries;
}

}  // namespace nestbit::python

#define FLOAT_QUERIES                                                                                \
    const QueryRows &z, const CellInts &first, const CellInts &width, const CellBook &books,         \
        const PerQuery &bias, float gain, const QueryWeights &weights,                               \
        const std::optional<PerQuery>&fine_bias
#define FLOAT_QUERIES_ARGUMENTS                                                                      \
    "z"_a.noconvert(), "first"_a.noconvert(), "width"_a.noconvert(), "books"_a.noconvert(),          \
        "bias"_a.noconvert(), "gain"_a, "weights"_a.noconvert().none(), "fine_bias"_a.noconvert().none()
#define FLOAT_QUERIES_SIGNATURE                                                                      \
    "z: " ARRAY("float32") ", first: " ARRAY("int32") ", width: " ARRAY("int32") ", books: "         \
    ARRAY("float32") ", bias: " ARRAY("float32") ", gain: float, weights: " ARRAY("float32")         \
    " | None, fine_bias: " ARRAY("float32") " | None"
