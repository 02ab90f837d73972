#include <algorithm>

#include "parallel.h"
#include "scan.h"

namespace nestbit {

void rescore(const KernelTable& table, const RescoreRequest& request, float* out) {
    if (request.m == 0 || request.c == 0) return;
    // Starting a thread costs about as much as summing this many values.
    constexpr size_t kValuesPerThread = 1 << 18;
    const bool cells = request.element == Element::cells;
    const bool tables = cells || request.element == Element::wide;
    const size_t per_element = request.element == Element::bits ? 8 : cells ? 2 : 1;
    const size_t size = round_up(per_element * request.values, kPad);
    const size_t threads =
        std::clamp<size_t>(request.m * request.c * size / kValuesPerThread, 1, request.threads);
    // A task is one query, or with fewer queries than threads a part of its candidates.
    const size_t parts = std::min((threads + request.m - 1) / request.m, request.c);
    const size_t part = (request.c + parts - 1) / parts;
    parallel_for(request.m * parts, threads, [&](size_t task) {
        const size_t q = task / parts;
        const size_t first = std::min(task % parts * part, request.c);
        const size_t at = q * request.c + first;
        const float* raw = request.weights + q * request.dim;
        const Buffer<float> weights = make_buffer<float>(tables ? 0 : size);
        if (!tables) prepare_weights(request.element, raw, request.dim, weights.get(), size);
        const Candidates rows{request.rows, request.stride, request.values, request.ids + at,
                              std::min(part, request.c - first)};
        table.rescore[static_cast<size_t>(request.element)](rows, tables ? raw : weights.get(),
                                                            out + at);
    });
}

}  // namespace nestbit
