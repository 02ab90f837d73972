// How many of a query's best rows are expected to be missing, were its reading to stop here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nestbit {

// What a fit knew of fine scores over coarse ones; `log_tail` are the logarithms of the shares of
// rows farther above the line than `tail_at` deviations, ascending, none of them if not known.
struct FinePrior {
    double slope, pairs;
    const float* deviations;  // one of each query
    std::span<const double> tail_at, log_tail;
};

// Scores of queries, `stride` apart: coarse ones of `width` candidates of n rows, best first, and
// fine ones of the first `count`, 1 to width. `rank` is that of the fine score to beat, from 0, a
// fraction lying between two; `outliers` the share of rows with twice the deviation.
struct MissesRequest {
    const float *coarse, *fine;
    size_t stride, width, count, n;
    double rank, outliers;
    const FinePrior* prior;  // or null
};

// The expected misses of some queries, by their numbers.
void expected_misses(const MissesRequest& request, std::span<const int64_t> queries, double* out);

}  // namespace nestbit
