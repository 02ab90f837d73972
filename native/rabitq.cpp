#include "rabitq.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "buffer.h"
#include "parallel.h"

namespace nestbit {
namespace {

constexpr size_t kValuesPerTask = 1 << 18;

// Calls part(first, last) over runs of rows of `values` each.
template <typename Part>
void by_rows(size_t n, size_t values, size_t threads, const Part& part) {
    const size_t step = std::max<size_t>(1, kValuesPerTask / values);
    parallel_for((n + step - 1) / step, threads,
                 [&](size_t task) { part(task * step, std::min(n, (task + 1) * step)); });
}

// Bit planes of the codes as cells, two to a byte.
void pack_planes(const uint8_t* code, size_t r, int bits, uint8_t* to) {
    const auto planes = static_cast<size_t>(bits);
    for (size_t j = 0; j < r / 4; ++j) {
        const uint8_t* c = code + 4 * j;
        const uint32_t four = c[0] | static_cast<uint32_t>(c[1]) << 8 |
                              static_cast<uint32_t>(c[2]) << 16 | static_cast<uint32_t>(c[3]) << 24;
        for (size_t p = 0; p < planes; ++p) {
            const uint32_t ones = four >> (planes - 1 - p) & 0x01010101u;
            const uint32_t cell = (ones | ones >> 7 | ones >> 14 | ones >> 21) & 15;
            const size_t at = j * planes + p;
            to[at / 2] = static_cast<uint8_t>(at % 2 ? to[at / 2] | cell << 4 : cell);
        }
    }
}

}  // namespace

void rotate_rows(const KernelTable& table, const RotateRequest& request, float* out) {
    const size_t dim = request.dim, window = std::bit_floor(dim);
    const Rotation rotation{dim, window, request.rounds, request.signs,
                            1 / std::sqrt(static_cast<float>(window)), request.inverse};
    by_rows(request.n, dim * request.rounds, request.threads, [&](size_t first, size_t last) {
        for (size_t r = first; r < last; ++r) {
            const float* from = request.rows + static_cast<ptrdiff_t>(r) * request.stride;
            float* row = out + r * dim;
            std::copy_n(from, request.width, row);
            std::fill(row + request.width, row + dim, 0.0f);
            table.rotate(rotation, row);
        }
    });
}

void encode_grid(const KernelTable& table, const float* z, ptrdiff_t stride, size_t n, size_t r,
                 int bits, size_t threads, uint8_t* codes, float* along, float* length2) {
    const size_t padded = round_up(r, kRowGroup);
    const size_t width = (r / 4 * static_cast<size_t>(bits) + 1) / 2;
    by_rows(n, r, threads, [&](size_t first, size_t last) {
        const Buffer<float> row = make_buffer<float>(padded);
        const Buffer<uint8_t> code = make_buffer<uint8_t>(2 * padded);
        std::fill_n(row.get(), padded, 0.0f);
        for (size_t i = first; i < last; ++i) {
            std::copy_n(z + static_cast<ptrdiff_t>(i) * stride, r, row.get());
            table.grid(row.get(), r, bits, code.get(), code.get() + padded, along + i, length2 + i);
            pack_planes(code.get(), r, bits, codes + i * width);
        }
    });
}

}  // namespace nestbit
