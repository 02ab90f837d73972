#include "best.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "kernels.h"

namespace nestbit {
namespace {

struct Candidate {
    uint32_t rank;  // larger is better
    uint32_t column;
    int64_t id;

    bool operator<(const Candidate& other) const {
        if (rank != other.rank) return rank > other.rank;
        return id != other.id ? id < other.id : column < other.column;
    }
};

// Of equal scores the ranks are equal, zeros of both signs among them; that of -inf is not 0.
uint32_t rank_of(float score) {
    return std::isnan(score) ? 0 : ordered_bits(std::bit_cast<uint32_t>(score + 0.0f));
}

}  // namespace

void best_of(const ScoredIds& candidates, size_t k, int64_t* ids, float* scores) {
    const size_t width = candidates.width;
    if (k == 0) return;
    std::vector<Candidate> row(width);
    const auto kth = row.begin() + static_cast<ptrdiff_t>(k);
    for (size_t q = 0; q < candidates.m; ++q) {
        const int64_t* from = candidates.ids + q * width;
        const float* scored = candidates.scores + q * width;
        for (size_t i = 0; i < width; ++i) {
            row[i] = {rank_of(scored[i]), static_cast<uint32_t>(i), from[i]};
        }
        if (k < width) std::nth_element(row.begin(), kth, row.end());
        std::sort(row.begin(), kth);
        for (size_t i = 0; i < k; ++i) {
            ids[q * k + i] = row[i].id;
            scores[q * k + i] = scored[row[i].column];
        }
    }
}

}  // namespace nestbit
