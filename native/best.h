// The best of scored candidates, which scans and rescorings of several segments and levels merge.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestbit {

// Candidates (m, width), row after row.
struct ScoredIds {
    size_t m, width;
    const int64_t* ids;
    const float* scores;
};

// Per row the k best, k <= width, into ids and scores (m, k): by score, then smaller id, then
// column; NaN last.
void best_of(const ScoredIds& candidates, size_t k, int64_t* ids, float* scores);

}  // namespace nestbit
