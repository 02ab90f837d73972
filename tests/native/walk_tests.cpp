// Embeddings are mapped, rounded and walk a graph, as a search does, and every array ends at a page
// that may not be read.
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include "buffer.h"
#include "cases.h"
#include "dispatch.h"
#include "graph/float_queries.h"
#include "graph/query_map.h"
#include "graph/walk.h"

namespace {

using namespace nestbit;
using namespace nestbit::walking;

template <typename T>
class Array {
public:
    explicit Array(size_t count) : count_(count), block_(count * sizeof(T)) {}
    Array(size_t count, const std::function<T()>& make) : Array(count) {
        for (T& value : all()) value = make();
    }
    T* get() const { return reinterpret_cast<T*>(block_.get()); }
    std::span<T> all() const { return {get(), count_}; }

private:
    size_t count_;
    Block block_;
};

size_t below(size_t n) { return random_engine() % n; }
float normal() { return std::normal_distribution<float>()(random_engine); }
uint16_t half() { return static_cast<uint16_t>(0x3800 | (random_engine() & 0x7ff)); }  // ½ … 2

struct Shape {
    Op op;
    size_t n, dim, degree, cells, m;
    bool rotated, fine, finest, masked;
};

// A graph, a map and queries of random values.
class Search {
public:
    explicit Search(const Shape& shape)
        : shape_(shape), centroids_(shape.op == Op::cells ? 16 : 256),
          width_(shape.op == Op::cells ? (shape.cells + 1) / 2 : shape.cells),
          coordinates_(shape.dim + 2), entry_count_(1 + below(std::min<size_t>(shape.n, 40))),
          neighbours_(shape.n * shape.degree, [&] { return static_cast<uint32_t>(below(shape.n)); }),
          codes_(shape.n * width_), scale_(shape.n, half),
          entries_(entry_count_, [&] { return static_cast<uint32_t>(below(shape.n)); }),
          entry_codes_(round_up(entry_count_, kLanes) * width_), entry_scale_(entry_count_, half),
          fine_(shape.n * shape.dim), finest_(shape.n * shape.dim, half), mask_((shape.n + 7) / 8),
          mean_(shape.dim, normal), rows_(coordinates_ * (shape.rotated ? 6 : shape.dim), normal),
          offset_(shape.dim, normal), step_(shape.dim, normal),
          first_(shape.cells, [&] { return static_cast<int32_t>(below(coordinates_ - 1)); }),
          cell_width_(shape.cells, [] { return int32_t{2}; }), books_(2 * shape.cells * centroids_, normal),
          queries_(shape.m * shape.dim, normal) {
        if (shape.rotated) {
            for (float& sign : rows_.all()) sign = sign < 0 ? -1.0f : 1.0f;
        }
        for (size_t e = 0; e < entry_count_; ++e) {
            entry_scale_.get()[e] = scale_.get()[entries_.get()[e]];
            for (size_t j = 0; j < width_; ++j) {
                entry_codes_.get()[(e / kLanes * width_ + j) * kLanes + e % kLanes] =
                    codes_.get()[entries_.get()[e] * width_ + j];
            }
        }
    }

    // Ids and scores (m, k): mapped and rounded by one table, walked by another.
    void run(const KernelTable& mapping, const KernelTable& walking, size_t k, size_t beam, size_t threads,
             int64_t* ids, float* scores) const {
        const Shape& s = shape_;
        const size_t m = s.m, r = coordinates_, dim = s.fine ? s.dim : 0, padded = round_up(s.dim, kPad);
        const QueryMap map{s.dim, r, true, false, true, mean_.get(), s.rotated ? nullptr : rows_.get(),
                           rows_.get(), s.rotated ? size_t{6} : size_t{0},
                           s.fine ? offset_.get() : nullptr, step_.get()};
        const Array<float> moved(m * r), bias(m), weights(m * dim), fine_bias(m), values_bias(m);
        const Buffer<float> values = make_buffer<float>(m * padded);
        map_queries(mapping, map, queries_.get(), static_cast<ptrdiff_t>(s.dim), m, threads,
                    {moved.get(), bias.get(), weights.get(), fine_bias.get(), values.get(), values_bias.get()});
        const CellRanges cells{first_.get(), cell_width_.get(), s.cells, 2 * s.cells, r, centroids_};
        const FloatQueries floats{{moved.get(), static_cast<ptrdiff_t>(r), m, cells, books_.get(), threads},
                                  bias.get(), 1, s.fine ? weights.get() : nullptr, dim, fine_bias.get()};
        const size_t count = table_count(s.cells, centroids_);
        const Array<uint8_t> tables(m * count * centroids_);
        const Array<float> scales(m), bases(m), fine_scales(m), common(m);
        const Array<int16_t> rounded(m * dim);
        const RoundedQueries out{tables.get(),  scales.get(),      bases.get(),
                                 rounded.get(), fine_scales.get(), common.get()};
        check(round_queries(mapping, floats, out) == m, "queries are finite");
        const Graph graph{
            s.n, s.degree, s.op, width_, neighbours_.get(),
            {codes_.get(), static_cast<ptrdiff_t>(width_), s.n, width_}, {scale_.get(), nullptr, nullptr},
            entries_.get(), entry_count_, entry_codes_.get(), {entry_scale_.get(), nullptr, nullptr},
            {s.fine ? fine_.get() : nullptr, static_cast<ptrdiff_t>(s.dim), s.n, s.dim}, true, nullptr,
            {reinterpret_cast<const uint8_t*>(finest_.get()), static_cast<ptrdiff_t>(2 * s.dim), s.n, 2 * s.dim},
            Element::f16, nullptr};
        WalkRequest request{&graph, m, k, beam, s.masked ? 2 * beam : beam, 3, out.tables, out.scales,
                            out.bases, out.weights, out.fine_scales, Bitmap(nullptr), {}, threads};
        if (s.masked) request.mask = Bitmap(mask_.get());
        if (s.finest) request.finish = {std::min(beam, k + 5), values.get(), padded, values_bias.get(), 1};
        const Array<int64_t> counts(2 * m);
        walk(walking, request, ids, scores, counts.get());
    }

    bool may(int64_t id) const {
        const auto row = static_cast<size_t>(id);
        return row < shape_.n && (!shape_.masked || (mask_.get()[row / 8] >> row % 8 & 1));
    }

private:
    Shape shape_;
    size_t centroids_, width_, coordinates_, entry_count_;
    Array<uint32_t> neighbours_;
    Array<uint8_t> codes_;
    Array<uint16_t> scale_;
    Array<uint32_t> entries_;
    Array<uint8_t> entry_codes_;
    Array<uint16_t> entry_scale_;
    Array<uint8_t> fine_;
    Array<uint16_t> finest_;
    Array<uint8_t> mask_;
    Array<float> mean_, rows_, offset_, step_;
    Array<int32_t> first_, cell_width_;
    Array<float> books_, queries_;
};

void test_search(const KernelTable& table, const Shape& shape, size_t k, size_t beam) {
    const std::string what = std::string(table.name) + " search of " + std::to_string(shape.n) + " x " +
                             std::to_string(shape.dim) + " with a beam of " + std::to_string(beam);
    const Search search(shape);
    const KernelTable& plain = table_for("scalar");
    const size_t size = shape.m * k;
    const Array<int64_t> ids(size), others(size);
    const Array<float> scores(size), other_scores(size);
    const auto compare = [&](bool exactly, const std::string& how) {
        for (size_t i = 0; i < size; ++i) {
            const float a = scores.get()[i], b = other_scores.get()[i];
            const bool near = a == b || (!exactly && std::fabs(a - b) <= 1e-4f * (1 + std::fabs(b)));
            check(near && (!exactly || ids.get()[i] == others.get()[i]), what + how);
        }
    };
    search.run(table, table, k, beam, 1, ids.get(), scores.get());
    for (size_t q = 0; q < shape.m; ++q) {
        std::set<int64_t> seen;
        for (size_t i = 0; i < k; ++i) {
            const int64_t id = ids.get()[q * k + i];
            const float score = scores.get()[q * k + i];
            check(id == -1 ? std::isinf(score) : search.may(id) && seen.insert(id).second, what + ", ids");
            check(i == 0 || score <= scores.get()[q * k + i - 1], what + ", order");
        }
    }
    search.run(table, table, k, beam, 3, others.get(), other_scores.get());
    compare(true, " by threads");
    // The same queries walk alike on every instruction set; floats are summed in other orders.
    search.run(plain, plain, k, beam, 1, ids.get(), scores.get());
    search.run(plain, table, k, beam, 1, others.get(), other_scores.get());
    compare(!shape.finest, " as in plain C++");
}

}  // namespace

void test_searches(const KernelTable& table) {
    const size_t dims[] = {1, 7, 16, 33, 64, 100}, beams[] = {5, 32, 33, 70, 100, 128, 150};
    size_t i = 0;
    for (const size_t n : {1, 2, 40, 400}) {
        for (const Op op : {Op::cells, Op::wide}) {
            for (const size_t beam : beams) {
                const bool fine = i % 4 != 3;
                test_search(table,
                            {op, n, dims[i % 6], 1 + i * 7 % 40, 1 + i % 9, 1 + i * 5 % 19, i % 2 == 1, fine,
                             fine && i % 3 == 0, i % 5 == 4},
                            1 + i % 5, beam);
                ++i;
            }
        }
    }
}
