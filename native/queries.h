// Queries in the layout the kernels read (see QueryTile).
#pragma once

#include <span>
#include <vector>

#include "buffer.h"
#include "kernels.h"

namespace nestbit {

// `count` rows of `length` bytes, `stride` bytes apart: packed bits for hamming, tables [cell][16]
// for cells, [cell][256] for wide ones, int8 weights otherwise (then `length` is the number of
// dimensions).
struct RawQueries {
    const uint8_t* data;
    ptrdiff_t stride;
    size_t count;
    size_t length;
};

class PreparedQueries {
public:
    PreparedQueries(const KernelTable& table, Op op, size_t width, const RawQueries& raw);

    // No queries, with room for all of these.
    PreparedQueries room() const;
    // Holds those queries of `from`, of which this is the room, that `chosen` tells, counted from
    // `first` on.
    void take(const PreparedQueries& from, size_t first, std::span<const uint32_t> chosen);

    const QueryTile& all() const { return tile_; }
    // Queries first .. first + count - 1; `first` is a multiple of 16.
    QueryTile tile(size_t first, size_t count) const;

private:
    PreparedQueries(const KernelTable& table, Op op, size_t width)
        : table_(table), op_(op), width_(width) {}

    const KernelTable& table_;
    Op op_;
    size_t width_;
    Buffer<uint8_t> data_, planes_, packed_;
    std::vector<int32_t> sums_;
    QueryTile tile_{};
};

// Float weights for rescoring, one query: zero-padded, reversed within each eight for bits.
void prepare_weights(Element element, const float* raw, size_t dim, float* prepared, size_t size);

}  // namespace nestbit
