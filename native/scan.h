// The drivers: fused scan and top-k over all or allowed rows, and scoring of chosen rows.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "allowed.h"
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
    Bitmap mask{nullptr};  // the rows that may be found, of all
    std::optional<std::span<const int64_t>> ranges = std::nullopt;  // or of these: see VisitedRows
    // Which queries see a range, or null for all: bit q % 8 of byte q / 8 of its visit_bytes bytes.
    const uint8_t* visits = nullptr;
    size_t visit_bytes = 0;
};

// Called with the best k keys of each query, best first, from any thread, once per query; with
// all `count` < k of them where fewer rows may be found.
using Emit = std::function<void(size_t query, const uint64_t* keys, size_t count)>;

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
