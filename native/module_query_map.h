// Embeddings of queries and what a codec makes of them, as Python hands them over.
#pragma once

#include <memory>
#include <vector>

#include "graph/query_map.h"
#include "module_cells.h"

namespace nestbit::python {

using SignRows = nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Arrays that are checked once; it holds on to them.
class QueryMap {
public:
    QueryMap(bool unit, bool squared, bool centred, const PerQuery& mean, const SignRows& coordinates,
             bool rotated, const CellInts& first, const CellInts& width, const CellBook& books,
             const std::optional<PerQuery>& offset, const std::optional<PerQuery>& step)
        : mean_(mean), coordinates_(coordinates), first_(first), width_(width), books_(books),
          offset_(offset), step_(step) {
        const size_t dim = mean_.shape(0);
        map_.dim = dim;
        map_.coordinates = coordinates_.shape(rotated ? 1 : 0);
        require(dim >= 1 && map_.coordinates >= 1, "at least 1 dimension");
        map_.unit = unit;
        map_.squared = squared;
        map_.centred = centred;
        map_.mean = mean_.data();
        if (rotated) {
            map_.rounds = coordinates_.shape(0);
            map_.signs = coordinates_.data();
            require(map_.rounds >= 1 && dim <= map_.coordinates, "signs of at least as many dimensions");
        } else {
            require(coordinates_.shape(1) == dim, "a row of the dimensions for each coordinate");
            map_.back = coordinates_.data();
        }
        cells_ = cell_ranges(first_, width_, books_.shape(1), books_.shape(0), map_.coordinates);
        require(offset_.has_value() == step_.has_value(), "offset and step go together");
        if (!offset_) return;
        require(dim <= kMaxDim, "at most 65536 dimensions of bytes");
        require(offset_->shape(0) == dim && step_->shape(0) == dim, "an offset and a step per dimension");
        map_.offset = offset_->data();
        map_.step = step_->data();
    }

    size_t dim() const { return map_.dim; }
    bool fine() const { return map_.offset != nullptr; }
    size_t coordinates() const { return map_.coordinates; }
    float gain() const { return map_.squared ? 2 : 1; }
    const CellRanges& cells() const { return cells_; }

    void operator()(const KernelTable& table, const RowBlock& queries, size_t threads,
                    const walking::MappedQueries& out) const {
        walking::map_queries(table, map_, reinterpret_cast<const float*>(queries.data),
                             queries.stride / static_cast<ptrdiff_t>(sizeof(float)), queries.count, threads, out);
    }

    // What the queries became, which must outlive it.
    walking::FloatQueries floats(size_t m, const walking::MappedQueries& mapped, size_t threads) const {
        const TablesRequest coarse{mapped.coordinates, static_cast<ptrdiff_t>(map_.coordinates), m, cells_,
                                   books_.data(), threads};
        if (!fine()) return {coarse, mapped.bias, gain(), nullptr, 0, nullptr};
        return {coarse, mapped.bias, gain(), mapped.weights, map_.dim, mapped.fine_bias};
    }

private:
    PerQuery mean_;
    SignRows coordinates_;
    CellInts first_, width_;
    CellBook books_;
    std::optional<PerQuery> offset_, step_;
    walking::QueryMap map_{};
    CellRanges cells_{};
};

}  // namespace nestbit::python
