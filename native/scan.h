// The drivers: fused scan and top-k over all rows, and scoring of chosen rows.
#pragma once

#include <functional>

#include "kernels.h"
#include "queries.h"

namespace nestbit {

struct ScanRequest {
    Op op;
    RowBlock rows;       // all n rows, n < 2^32
    RawQueries queries;
    size_t k;            // 1 <= k <= n
    const float* scales;    // per query, or null for 1
    const float* bases;     // per query, or null for 0
    const float* row_scale;          // per row; without this and
    const uint16_t* row_scale_half;  // this, of float16, 1
    const float* row_bias;  // per row, or null for 0
    size_t threads;
};

// Called with the best k keys of each query, best first, from any thread, once per query.
using Emit = std::function<void(size_t query, const uint64_t* keys)>;

// Calls `poll` on the calling thread now and then; an exception from it ends the scan.
void scan(const KernelTable& table, const ScanRequest& request, const Emit& emit,
          const std::function<void()>& poll);

struct RescoreRequest {
    Element element;
    const uint8_t* rows;
    ptrdiff_t stride;
    size_t values;       // elements a row; bits and cells: bytes a row
    const int64_t* ids;  // (m, c), contiguous
    size_t m, c;
    const float* weights;  // (m, dim), contiguous
    size_t dim;            // cells: 16 times their number, wide ones 256 times
    size_t threads;
};

// out[q * c + i] = dot of weights q with row ids[q * c + i].
void rescore(const KernelTable& table, const RescoreRequest& request, float* out);

}  // namespace nestbit
