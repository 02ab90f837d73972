// The tables that queries become in order to be scored against codes of cells.
#pragma once

#include "encode.h"

namespace nestbit {

struct TablesRequest {
    const float* queries;  // (m, coordinates)
    ptrdiff_t stride;      // of a query, in floats
    size_t m;
    CellRanges cells;
    const float* books;    // (columns, centroids): what the centroids decode to
    size_t threads;
};

// Tables of a query: of cells of 16 centroids an even number, the odd one out zero.
inline constexpr size_t table_count(size_t cells, size_t centroids) {
    return centroids == 16 ? round_up(cells, 2) : cells;
}

// tables and rounded (m, table_count, centroids), scale and base (m,), as TablesFn tells. Without
// room for the tables only what is made of them is kept.
void make_tables(const KernelTable& table, const TablesRequest& request, float* tables,
                 uint8_t* rounded, float* scale, float* base);

}  // namespace nestbit
