// The kernels of the walk in plain C++.
#include <algorithm>

#include "../kernels.h"

namespace nestbit {
namespace {

inline int32_t cells_at(uint8_t byte, const uint8_t* tables, size_t j) {
    return tables[low_table(j) + (byte & 15)] + tables[high_table(j) + (byte >> 4)];
}

inline int32_t wide_at(uint8_t byte, const uint8_t* tables, size_t j) {
    return tables[256 * j + byte];
}

template <auto at>
void lanes(const uint8_t* codes, size_t groups, size_t width, const uint8_t* tables,
           int32_t* sums) {
    std::fill(sums, sums + groups * kLanes, 0);
    for (size_t g = 0; g < groups; ++g, sums += kLanes) {
        for (size_t j = 0; j < width; ++j, codes += kLanes) {
            for (size_t r = 0; r < kLanes; ++r) sums[r] += at(codes[r], tables, j);
        }
    }
}

template <auto at>
void picked(const uint8_t* const* rows, size_t count, size_t width, const uint8_t* tables,
            int32_t* sums) {
    for (size_t r = 0; r < count; ++r) {
        int32_t sum = 0;
        for (size_t j = 0; j < width; ++j) sum += at(rows[r][j], tables, j);
        sums[r] = sum;
    }
}

template <typename T>
int32_t dot(const uint8_t* row, const int16_t* weights, size_t dim) {
    int32_t sum = 0;
    for (size_t d = 0; d < dim; ++d) sum += static_cast<T>(row[d]) * weights[d];
    return sum;
}

}  // namespace

const WalkKernels kScalarWalk = {
    .lanes = {lanes<cells_at>, lanes<wide_at>},
    .picked = {picked<cells_at>, picked<wide_at>},
    .dot = {dot<int8_t>, dot<uint8_t>},
    .merge = nullptr,
    .products = nullptr,
};

}  // namespace nestbit
