#include "float_queries.h"

#include <algorithm>
#include <cmath>

#include "../finite.h"

namespace nestbit::walking {
namespace {

bool finite(const float* values, size_t count) {
    return all_finite(reinterpret_cast<const uint32_t*>(values), count);
}

// The nearest whole number of a value below 2^22 in magnitude, ties to even.
inline float nearest(float x) {
    constexpr float kShift = 12582912.0f;  // 1.5 * 2^23, where floats are whole numbers
    return (x + kShift) - kShift;
}

float round_weights(const float* from, size_t dim, int16_t* to) {
    const auto most = static_cast<float>(largest_weight(dim));
    float peak = 0;
    for (size_t d = 0; d < dim; ++d) peak = std::max(peak, std::fabs(from[d]));
    const float scale = peak / most, safe = scale > 0 ? scale : 1.0f;
    for (size_t d = 0; d < dim; ++d) {
        const float steps = std::min(std::max(from[d] / safe, -most), most);
        to[d] = static_cast<int16_t>(nearest(steps));
    }
    return scale;
}

}  // namespace

size_t round_queries(const KernelTable& table, const FloatQueries& queries, const RoundedQueries& out) {
    const size_t m = queries.coarse.m;
    make_tables(table, queries.coarse, nullptr, out.tables, out.scales, out.bases);
    for (size_t q = 0; q < m; ++q) {
        out.scales[q] *= queries.gain;
        out.bases[q] *= queries.gain;
        out.bias[q] = queries.bias[q];
        if (queries.weights) {
            const float* weights = queries.weights + q * queries.dim;
            if (!finite(weights, queries.dim)) return q;
            out.fine_scales[q] = queries.gain * round_weights(weights, queries.dim, out.weights + q * queries.dim);
            out.bias[q] = queries.fine_bias[q];
            out.bases[q] = (out.bases[q] + queries.bias[q]) - queries.fine_bias[q];
        }
        const float told[] = {out.scales[q], out.bases[q], out.bias[q]};
        if (!finite(told, 3)) return q;
    }
    return m;
}

}  // namespace nestbit::walking
