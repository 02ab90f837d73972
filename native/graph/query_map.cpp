#include "query_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../buffer.h"
#include "../parallel.h"
#include "../rabitq.h"

namespace nestbit::walking {
namespace {

// Queries that are multiplied with the same rows while these are in the cache.
constexpr size_t kTile = 8;
constexpr size_t kRowBytes = 1 << 14;
// A thread is worth starting for so many multiplications.
constexpr size_t kProductsPerTask = 1 << 22;

double squares(const float* x, size_t dim) {
    double sums[8] = {};
    size_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        for (size_t i = 0; i < 8; ++i) sums[i] += double{x[d + i]} * double{x[d + i]};
    }
    for (; d < dim; ++d) sums[0] += double{x[d]} * double{x[d]};
    return std::accumulate(sums, sums + 8, 0.0);
}

// x / length, which may be too small or too large for a float.
void scale(const float* x, size_t dim, double length, float* to) {
    const auto divisor = static_cast<float>(length);
    if (length > 1e-18 && length < 1e18) {
        for (size_t d = 0; d < dim; ++d) to[d] = x[d] / divisor;
    } else {
        for (size_t d = 0; d < dim; ++d) to[d] = static_cast<float>(x[d] / length);
    }
}

class Mapper {
public:
    Mapper(const KernelTable& table, const QueryMap& map, const MappedQueries& out)
        : table_(table), map_(map), out_(out),
          padded_(round_up(map.dim, kPad)), rows_(make_buffer<float>(2 * kTile * padded_)),
          numbers_(table.walk->products ? 0 : map.back ? map.coordinates : 1) {
        std::fill_n(rows_.get(), 2 * kTile * padded_, 0.0f);
        std::iota(numbers_.begin(), numbers_.end(), int64_t{0});
    }

    // Queries `first` to `last`, at most kTile.
    void tile(const float* queries, ptrdiff_t stride, size_t first, size_t last) {
        for (size_t q = first; q < last; ++q) {
            prepare(queries + static_cast<ptrdiff_t>(q) * stride, q, rows_.get() + (q - first) * padded_);
        }
        const float* const rows = rows_.get() + (map_.centred ? kTile * padded_ : 0);
        const size_t r = map_.coordinates;
        if (!map_.back) {
            const RotateRequest request{rows,        static_cast<ptrdiff_t>(padded_), last - first, map_.dim,
                                        r,           map_.rounds,                     map_.signs,   false,
                                        /*threads=*/1};
            rotate_rows(table_, request, out_.coordinates + first * r);
            return;
        }
        const size_t step = std::max<size_t>(1, kRowBytes / (sizeof(float) * map_.dim));
        for (size_t from = 0; from < r; from += step) {
            products(map_.back + from * map_.dim, std::min(step, r - from), rows, last - first,
                     out_.coordinates + first * r + from);
        }
    }

private:
    // The query in `row`, and kTile rows on without the mean if that is taken off.
    void prepare(const float* query, size_t q, float* row) {
        const size_t dim = map_.dim;
        const double length = map_.unit ? std::sqrt(squares(query, dim)) : 0;
        if (length > 0) {
            scale(query, dim, length, row);
        } else {
            std::copy_n(query, dim, row);
        }
        // As a float of the length is squared elsewhere.
        const auto short_length = static_cast<float>(map_.squared ? std::sqrt(squares(row, dim)) : 0);
        const float length2 = short_length * short_length;
        out_.bias[q] = biased(row, map_.mean, length2);
        if (out_.values) {
            std::copy_n(row, padded_, out_.values + q * padded_);
            out_.values_bias[q] = -length2;
        }
        if (map_.offset) {
            out_.fine_bias[q] = biased(row, map_.offset, length2);
            float* const weights = out_.weights + q * dim;
            for (size_t d = 0; d < dim; ++d) weights[d] = row[d] * map_.step[d];
        }
        if (map_.centred) {
            float* const without = row + kTile * padded_;
            for (size_t d = 0; d < dim; ++d) without[d] = row[d] - map_.mean[d];
        }
    }

    float biased(const float* row, const float* constants, float length2) const {
        float product;
        products(constants, 1, row, 1, &product);
        return map_.squared ? 2 * product - length2 : product;
    }

    // Of rows (count, dim) with m queries, as they are prepared.
    void products(const float* rows, size_t count, const float* queries, size_t m, float* to) const {
        if (const ProductsFn all = table_.walk->products) {
            all(rows, map_.dim, count, queries, padded_, m, to, map_.coordinates);
            return;
        }
        const Candidates each{reinterpret_cast<const uint8_t*>(rows),
                              static_cast<ptrdiff_t>(sizeof(float) * map_.dim), map_.dim, numbers_.data(), count};
        const RescoreFn one = table_.rescore[static_cast<size_t>(Element::f32)];
        for (size_t q = 0; q < m; ++q) one(each, queries + q * padded_, to + q * map_.coordinates);
    }

    const KernelTable& table_;
    const QueryMap& map_;
    const MappedQueries& out_;
    size_t padded_;
    Buffer<float> rows_;
    std::vector<int64_t> numbers_;
};

}  // namespace

void map_queries(const KernelTable& table, const QueryMap& map, const float* queries, ptrdiff_t stride,
                 size_t m, size_t threads, const MappedQueries& out) {
    const size_t work = kProductsPerTask / (map.dim * map.coordinates);
    const size_t step = std::max(kTile, round_up(work, kTile));
    parallel_for((m + step - 1) / step, threads, [&](size_t task) {
        Mapper mapper(table, map, out);
        const size_t last = std::min(m, (task + 1) * step);
        for (size_t q = task * step; q < last; q += kTile) {
            mapper.tile(queries, stride, q, std::min(last, q + kTile));
        }
    });
}

}  // namespace nestbit::walking
