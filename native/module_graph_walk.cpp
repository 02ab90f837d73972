// Graphs as Python meets them: arrays that are checked once and then walked many times.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "buffer.h"
#include "graph/walk.h"
#include "module_query_map.h"

namespace {

using namespace nestbit;
using namespace nestbit::python;

using ByteRows = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<2>, nb::device::cpu>;
using AnyRows = nb::ndarray<nb::numpy, nb::ro, nb::ndim<2>, nb::device::cpu>;
using Numbers = nb::ndarray<nb::numpy, const uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Neighbours = nb::ndarray<nb::numpy, const uint32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyFactors = nb::ndarray<nb::numpy, nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Tables = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<nb::numpy, const int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Maybe = std::optional<T>;

#define WALK_OPTIONS                                                                              \
    size_t k, size_t beam, size_t room, size_t starts, size_t threads, const Maybe<Bytes>&mask,    \
        int64_t offset, const std::string &isa
#define WALK_OPTION_NAMES k, beam, room, starts, threads, mask, offset, isa

// Holds on to the arrays that its spans point into.
class Graph {
public:
    Graph(bool wide, const Numbers& entries, const ByteRows& entry_codes,
          const Maybe<AnyFactors>& entry_scale, const Maybe<Floats>& entry_bias,
          const Maybe<AnyRows>& fine, const Maybe<Floats>& fine_bias)
        : entries_(entries), entry_codes_(entry_codes), entry_scale_(entry_scale),
          entry_bias_(entry_bias), fine_(fine), fine_bias_(fine_bias) {
        const RowBlock lanes = row_block(entry_codes_, "entry codes must be contiguous");
        graph_.op = wide ? Op::wide : Op::cells;
        graph_.width = lanes.width / kLanes;
        graph_.entry_count = entries_.shape(0);
        graph_.entries = entries_.data();
        graph_.entry_codes = lanes.data;
        graph_.entry_factors = factors(entry_scale_, entry_bias_, graph_.entry_count);
        require(graph_.entry_count >= 1 && lanes.width % kLanes == 0 &&
                    lanes.stride == static_cast<ptrdiff_t>(lanes.width) &&
                    lanes.count * kLanes == round_up(graph_.entry_count, kLanes),
                "entry codes must be the entries' in lanes");
        require(values_of(graph_.op, graph_.width) <= kMaxDim, "at most 65536 cells");
        if (!fine_) return;
        graph_.fine = row_block(*fine_, "fine rows must be contiguous along the last axis");
        graph_.fine_signed = fine_->dtype() == nb::dtype<int8_t>();
        require(graph_.fine_signed || fine_->dtype() == nb::dtype<uint8_t>(),
                "fine rows must be int8 or uint8");
        require(graph_.fine.width <= kMaxDim, "at most 65536 dimensions");
    }

    void set_codes(const Neighbours& neighbours, const ByteRows& codes, const Maybe<AnyFactors>& scale,
                   const Maybe<Floats>& bias) {
        neighbours_ = neighbours;
        codes_ = codes;
        scale_ = scale;
        bias_ = bias;
        graph_.neighbours = neighbours_->data();
        graph_.degree = neighbours_->shape(1);
        graph_.codes = row_block(*codes_, "codes must be contiguous along the last axis");
        require(graph_.degree >= 1, "a degree of 1 at least");
        require(graph_.codes.count == neighbours_->shape(0) && graph_.codes.width == graph_.width,
                "one code per row, as wide as those of the entries");
        graph_.factors = factors(scale_, bias_, graph_.codes.count);
        set_size(graph_.codes.count);
    }

    void set_finest(const AnyRows& rows, const Maybe<Floats>& bias) {
        const RowBlock block = row_block(rows, "finest rows must be contiguous along the last axis");
        const bool bfloat = rows.dtype() == nb::dtype<uint16_t>();
        require(is_half(rows) || bfloat || rows.dtype() == nb::dtype<float>(),
                "finest rows must be float16, bfloat16 or float32");
        require(block.count == graph_.n, "one finest row per row");
        require(!bias || bias->shape(0) == graph_.n, "one finest bias per row");
        finest_ = rows;
        finest_row_bias_ = bias;
        graph_.finest = block;
        graph_.finest_element = is_half(rows) ? Element::f16 : bfloat ? Element::bf16 : Element::f32;
        graph_.finest_bias = bias ? finest_row_bias_->data() : nullptr;
    }

    nb::tuple walk(const Tables& tables, const Floats& scales, const Floats& bases, size_t k, size_t beam,
                   size_t room, size_t starts, size_t threads, const Maybe<Weights>& weights,
                   const Maybe<Floats>& fine_scales, const Maybe<Bytes>& mask,
                   const std::string& isa) const {
        const size_t m = tables.shape(0);
        require(fits(tables.shape(1), tables.shape(2)), "tables must fit the codes");
        require(scales.shape(0) == m && bases.shape(0) == m, "one scale and one base per query");
        WalkRequest request = asked(m, k, beam, room, starts, threads, mask);
        request.tables = tables.data();
        request.scales = scales.data();
        request.bases = bases.data();
        if (fine_) {
            const size_t dim = graph_.fine.width;
            require(weights && fine_scales && weights->shape(0) == m && weights->shape(1) == dim &&
                        fine_scales->shape(0) == m,
                    "weights and a scale per query for the fine rows");
            const int32_t most = kMaxProduct / static_cast<int32_t>(dim);
            require(std::all_of(weights->data(), weights->data() + weights->size(),
                                [most](int16_t w) { return -most <= w && w <= most; }),
                    "weights must be too small for a sum to overflow");
            request.weights = weights->data();
            request.fine_scales = fine_scales->data();
        } else {
            require(!weights && !fine_scales, "weights are for a finer level");
        }
        return found(table_of(isa), request, {}, [] { return true; });
    }

    // Rounds queries in float, walks, and adds what the scores lack; ids count from `offset` on.
    nb::tuple search(FLOAT_QUERIES, WALK_OPTIONS) const {
        const walking::FloatQueries queries =
            float_queries(z, first, width, books, bias, gain, weights, fine_bias, threads);
        return searched(table_of(isa), queries, [] {}, WALK_OPTION_NAMES);
    }

    // The same for what a map makes of embeddings.
    // With `finish`, so many rows of each query, k to the beam, are ordered anew by the finest level.
    nb::tuple search_rows(const QueryMap& map, const QueryRows& rows, WALK_OPTIONS, size_t finish) const {
        const RowBlock block = row_block(rows, "queries must be contiguous along the last axis");
        const size_t m = block.count, r = map.coordinates(), dim = map.fine() ? map.dim() : 0;
        require(rows.shape(1) == map.dim(), "queries must have the map's dimensions");
        require(threads >= 1, "threads must be at least 1");
        const size_t padded = finish ? round_up(map.dim(), kPad) : 0;
        if (finish) {
            require(finest_ && fine_ && finest_->shape(1) == map.dim(), "a finest level of the map's dimensions");
            require(k <= finish && finish <= beam, "k <= finish <= beam");
        }
        const Buffer<float> values = make_buffer<float>(m * padded);
        const Buffer<float> room_for = make_buffer<float>(m * (r + dim + 3));
        float* const to = room_for.get();
        float* const last = to + m * (r + 2 + dim);
        const walking::MappedQueries mapped{to,   to + m * r, to + m * (r + 1), to + m * (r + 1 + dim),
                                            finish ? values.get() : nullptr, last};
        const KernelTable& table = table_of(isa);
        const walking::Finish finishing{finish, mapped.values, padded, last, map.gain()};
        return searched(table, map.floats(m, mapped, threads), [&] { map(table, block, threads, mapped); },
                        WALK_OPTION_NAMES, finishing);
    }

private:
    using WalkRequest = walking::WalkRequest;

    // What is added to what a walk finds: a bias of each query, if there are, and to ids.
    struct Added {
        const float* bias = nullptr;
        int64_t offset = 0;
    };

    // `make` makes the queries, before they are rounded.
    template <typename Make>
    nb::tuple searched(const KernelTable& table, const walking::FloatQueries& queries, const Make& make,
                       WALK_OPTIONS, const walking::Finish& finish = {}) const {
        const CellRanges& cells = queries.coarse.cells;
        const size_t m = queries.coarse.m, count = table_count(cells.count, cells.centroids);
        require(fits(count, cells.centroids), "cells must fit the codes");
        require(queries.dim == (fine_ ? graph_.fine.width : 0), "weights for the fine rows, if there are");
        WalkRequest request = asked(m, k, beam, room, starts, threads, mask);
        const Buffer<uint8_t> tables = make_buffer<uint8_t>(m * count * cells.centroids);
        const Buffer<int16_t> rounded = make_buffer<int16_t>(m * queries.dim);
        const Buffer<float> terms = make_buffer<float>(4 * m);
        float* const to = terms.get();
        const walking::RoundedQueries out{tables.get(), to, to + m, rounded.get(), to + 2 * m, to + 3 * m};
        request.tables = out.tables;
        request.scales = out.scales;
        request.bases = out.bases;
        request.weights = out.weights;
        request.fine_scales = out.fine_scales;
        request.finish = finish;
        return found(table, request, {finish.values ? nullptr : out.bias, offset}, [&] {
            make();
            return walking::round_queries(table, queries, out) == m;
        });
    }

    bool fits(size_t tables, size_t values) const {
        return values == table_size(graph_.op) &&
               tables * values == graph_.width * (graph_.op == Op::cells ? 32 : 256);
    }

    WalkRequest asked(size_t m, size_t k, size_t beam, size_t room, size_t starts, size_t threads,
                      const Maybe<Bytes>& mask) const {
        require(k >= 1 && k <= beam && beam <= room && starts >= 1, "1 <= k <= beam <= room, 1 <= starts");
        require(threads >= 1, "threads must be at least 1");
        require(!mask || mask->shape(0) == (graph_.n + 7) / 8, "one bit of the mask per row");
        WalkRequest request{};
        request.graph = &graph_;
        request.m = m;
        request.k = k;
        request.beam = beam;
        request.room = room;
        request.starts = starts;
        request.threads = threads;
        if (mask) request.mask = Bitmap(mask->data());
        return request;
    }

    // `prepare` makes the queries, and tells whether they are finite.
    template <typename Prepare>
    static nb::tuple found(const KernelTable& table, const WalkRequest& request, const Added& added,
                           const Prepare& prepare) {
        const size_t m = request.m, k = request.k;
        auto ids = new_array<int64_t>(m, k);
        auto scores = new_array<float>(m, k);
        auto counts = new_array<int64_t>(m, size_t{2});
        int64_t* ids_to = ids.data();
        float* scores_to = scores.data();
        int64_t* counts_to = counts.data();
        bool finite = false;
        {
            const nb::gil_scoped_release released;
            finite = prepare();
            if (finite) walking::walk(table, request, ids_to, scores_to, counts_to);
            for (size_t i = 0; finite && i < m * k; ++i) {
                if (added.bias) scores_to[i] += added.bias[i / k];
                if (ids_to[i] >= 0) ids_to[i] += added.offset;
            }
        }
        require(finite, "queries must be finite");
        return nb::make_tuple(std::move(ids), std::move(scores), std::move(counts));
    }

    static walking::Factors factors(const Maybe<AnyFactors>& scale, const Maybe<Floats>& bias, size_t n) {
        require(!scale || scale->shape(0) == n, "one scale per row");
        require(!bias || bias->shape(0) == n, "one bias per row");
        walking::Factors out{};
        if (bias) out.bias = bias->data();
        if (scale && is_half(*scale)) {
            out.scale_half = static_cast<const uint16_t*>(scale->data());
        } else if (scale) {
            require(scale->dtype() == nb::dtype<float>(), "scales must be float16 or float32");
            out.scale = static_cast<const float*>(scale->data());
        }
        return out;
    }

    void set_size(size_t n) {
        graph_.n = n;
        require(n >= 1 && n <= walking::kMaxRows, "between 1 and 2**31 rows");
        require(std::all_of(entries_.data(), entries_.data() + graph_.entry_count,
                            [n](uint32_t entry) { return entry < n; }),
                "entries must be rows");
        require(!fine_ || graph_.fine.count == n, "one fine row per row");
        require(!fine_bias_ || fine_bias_->shape(0) == n, "one fine bias per row");
        if (fine_bias_) graph_.fine_bias = fine_bias_->data();
    }

    Numbers entries_;
    ByteRows entry_codes_;
    Maybe<AnyFactors> entry_scale_;
    Maybe<Floats> entry_bias_;
    Maybe<AnyRows> fine_;
    Maybe<Floats> fine_bias_;
    Maybe<AnyRows> finest_;
    Maybe<Floats> finest_row_bias_;
    Maybe<Neighbours> neighbours_;
    Maybe<ByteRows> codes_;
    Maybe<AnyFactors> scale_;
    Maybe<Floats> bias_;
    walking::Graph graph_{};
};

#define COMMON                                                                                    \
    const Numbers &entries, const ByteRows &entry_codes, const Maybe<AnyFactors>&entry_scale,     \
        const Maybe<Floats>&entry_bias, const Maybe<AnyRows>&fine, const Maybe<Floats>&fine_bias

Graph graph_of_codes(bool wide, const Neighbours& neighbours, const ByteRows& codes,
                     const Maybe<AnyFactors>& scale, const Maybe<Floats>& bias, COMMON) {
    Graph graph(wide, entries, entry_codes, entry_scale, entry_bias, fine, fine_bias);
    graph.set_codes(neighbours, codes, scale, bias);
    return graph;
}

}  // namespace

#define COMMON_SIGNATURE                                                                          \
    ", entries: " ARRAY("uint32") ", entry_codes: " ARRAY("uint8") ", entry_scale: " ANY_ARRAY     \
    " | None, entry_bias: " ARRAY("float32") " | None, fine: " ANY_ARRAY " | None, fine_bias: "    \
    ARRAY("float32") " | None) -> Graph"
#define COMMON_ARGUMENTS                                                                          \
    "entries"_a.noconvert(), "entry_codes"_a.noconvert(), "entry_scale"_a.noconvert().none(),     \
        "entry_bias"_a.noconvert().none(), "fine"_a.noconvert().none(),                           \
        "fine_bias"_a.noconvert().none()

#define WALK_SIGNATURE(MORE)                                                                      \
    ", k: int, beam: int, room: int, starts: int, threads: int, mask: " ARRAY("uint8")             \
    " | None = None, offset: int = 0, isa: str = ''" MORE ") -> tuple[" ARRAY("int64") ", "        \
    ARRAY("float32") ", " ARRAY("int64") "]"
#define WALK_ARGUMENTS                                                                            \
    "k"_a, "beam"_a, "room"_a, "starts"_a, "threads"_a, "mask"_a.noconvert() = nb::none(),         \
        "offset"_a = 0, "isa"_a = ""

void nestbit::python::add_graph_walk(nb::module_& m) {
    nb::class_<Graph>(m, "Graph", "A graph of rows, of views on arrays that were checked.")
        .def("walk", &Graph::walk, "tables"_a.noconvert(), "scales"_a.noconvert(), "bases"_a.noconvert(),
             "k"_a, "beam"_a, "room"_a, "starts"_a, "threads"_a,
             "weights"_a.noconvert() = nb::none(), "fine_scales"_a.noconvert() = nb::none(),
             "mask"_a.noconvert() = nb::none(), "isa"_a = "",
             nb::sig("def walk(self, tables: " ARRAY("uint8") ", scales: " ARRAY("float32") ", bases: "
                     ARRAY("float32") ", k: int, beam: int, room: int, starts: int, threads: int, "
                     "weights: " ARRAY("int16") " | None = None, fine_scales: " ARRAY("float32")
                     " | None = None, mask: " ARRAY("uint8") " | None = None, isa: str = '') -> tuple["
                     ARRAY("int64") ", " ARRAY("float32") ", " ARRAY("int64") "]"),
             "The k best rows a walk finds, and counts of rows scored and expanded.")
        .def("search", &Graph::search, FLOAT_QUERIES_ARGUMENTS, WALK_ARGUMENTS,
             nb::sig("def search(self, " FLOAT_QUERIES_SIGNATURE WALK_SIGNATURE("")),
             "What `walk` finds for queries as `round_queries` rounds them, with their bias added.")
        .def("set_finest", &Graph::set_finest, "rows"_a.noconvert(), "bias"_a.noconvert().none(),
             nb::sig("def set_finest(self, rows: " ANY_ARRAY ", bias: " ARRAY("float32") " | None) -> None"),
             "A level of floats that searches of embeddings may finish with.")
        .def("search_rows", &Graph::search_rows, "map"_a, "rows"_a.noconvert(), WALK_ARGUMENTS, "finish"_a = 0,
             nb::sig("def search_rows(self, map: QueryMap, rows: " ARRAY("float32") WALK_SIGNATURE(", finish: int = 0")),
             "What `search` finds for what a map makes of embeddings, or their best by the finest level.");
    m.def("graph_of_codes", &graph_of_codes, "wide"_a, "neighbours"_a.noconvert(),
          "codes"_a.noconvert(), "scale"_a.noconvert().none(), "bias"_a.noconvert().none(),
          COMMON_ARGUMENTS,
          nb::sig("def graph_of_codes(wide: bool, neighbours: " ARRAY("uint32") ", codes: " ARRAY("uint8")
                  ", scale: " ANY_ARRAY " | None, bias: " ARRAY("float32") " | None" COMMON_SIGNATURE),
          "A graph of rows' neighbours and every row's code.");
}
