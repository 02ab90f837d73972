#include "tables.h"

#include <algorithm>
#include <vector>

#include "parallel.h"

namespace nestbit {
namespace {

// Multiplications that are worth a thread.
constexpr size_t kProductsPerTask = 1 << 20;

}  // namespace

void make_tables(const KernelTable& table, const TablesRequest& request, float* tables,
                 uint8_t* rounded, float* scale, float* base) {
    const CellRanges& cells = request.cells;
    std::vector<size_t> start(cells.count);
    for (size_t c = 1; c < cells.count; ++c) {
        start[c] = start[c - 1] + static_cast<size_t>(cells.width[c - 1]);
    }
    const TableBooks books{cells.count, cells.centroids, cells.first,
                           cells.width, start.data(),    request.books};
    const size_t used = cells.count * cells.centroids;
    const size_t values = table_count(cells.count, cells.centroids) * cells.centroids;
    const size_t step = std::max<size_t>(1, kProductsPerTask / (cells.columns * cells.centroids));
    parallel_for((request.m + step - 1) / step, request.threads, [&](size_t task) {
        std::vector<float> low(cells.count), own(tables ? 0 : values);
        const size_t last = std::min(request.m, (task + 1) * step);
        for (size_t q = task * step; q < last; ++q) {
            const TablesOut out{tables ? tables + q * values : own.data(), rounded + q * values, low.data(), scale + q,
                                base + q};
            table.tables(books, request.queries + static_cast<ptrdiff_t>(q) * request.stride, out);
            std::fill(out.tables + used, out.tables + values, 0.0f);
            std::fill(out.rounded + used, out.rounded + values, uint8_t{0});
        }
    });
}

}  // namespace nestbit
