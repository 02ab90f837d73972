// Only the files module*.cpp know Python: they check dtypes, shapes and strides, release the GIL.
//
// The wrappers of nestbit.kernels validate what users pass; a ValueError from here means that
// they, or a test, called it wrongly.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "dispatch.h"
#include "encode.h"
#include "finite.h"
#include "module_cells.h"
#include "rabitq.h"
#include "scan.h"
#include "tables.h"
#include "topk.h"

namespace {

using nestbit::Element;
using nestbit::KernelTable;
using nestbit::Op;

using AnyRows = nb::ndarray<nb::numpy, nb::ro, nb::ndim<2>, nb::device::cpu>;
using ByteRows = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<2>, nb::device::cpu>;
using Weights = nb::ndarray<nb::numpy, const int8_t, nb::ndim<2>, nb::device::cpu>;
using FloatWeights = nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using AnyFactors = nb::ndarray<nb::numpy, nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Tables = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using FloatTables = nb::ndarray<nb::numpy, const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using CandidateIds = nb::ndarray<nb::numpy, const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<nb::numpy, const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatRows = nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::device::cpu>;
using Visits = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using RowRanges = nb::ndarray<nb::numpy, const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ScoresOut = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

using nestbit::python::cell_ranges;
using nestbit::python::check_signals;
using nestbit::python::is_half;
using nestbit::python::new_array;
using nestbit::python::require;
using nestbit::python::row_block;
using nestbit::python::table_of;

// What a scan multiplies and adds to its sums, each checked to be one per query or one per row.
struct Terms {
    const std::optional<Floats>& scales;
    const std::optional<Floats>& bases;
    const std::optional<AnyFactors>& row_scale;
    const std::optional<Floats>& row_bias;

    void put(nestbit::ScanRequest& request) const {
        const size_t m = request.queries.count, n = request.rows.count;
        require(!scales || scales->shape(0) == m, "one scale per query");
        require(!bases || bases->shape(0) == m, "one base per query");
        require(!row_scale || row_scale->shape(0) == n, "one scale per row");
        require(!row_bias || row_bias->shape(0) == n, "one bias per row");
        if (scales) request.scales = scales->data();
        if (bases) request.bases = bases->data();
        if (row_bias) request.row_bias = row_bias->data();
        if (!row_scale) return;
        if (is_half(*row_scale)) {
            request.row_scale_half = static_cast<const uint16_t*>(row_scale->data());
        } else {
            require(row_scale->dtype() == nb::dtype<float>(), "row_scale must be float16 or float32");
            request.row_scale = static_cast<const float*>(row_scale->data());
        }
    }
};

std::span<const int64_t> ends_of(const RowRanges& ranges, size_t n) {
    const std::span<const int64_t> ends(ranges.data(), ranges.size());
    require(ranges.shape(1) == 2 && std::is_sorted(ends.begin(), ends.end()),
            "ranges must be pairs, sorted and apart");
    require(ends.empty() || (ends.front() >= 0 && ends.back() <= static_cast<int64_t>(n)),
            "ranges must lie between 0 and the number of rows");
    return ends;
}

// The rows a scan may find, checked against their number.
struct Allowed {
    const std::optional<Bytes>& mask;
    const std::optional<RowRanges>& ranges;
    const std::optional<Visits>& visits;  // which queries see each range

    void put(nestbit::ScanRequest& request) const {
        const size_t n = request.rows.count;
        require(!mask || mask->shape(0) == (n + 7) / 8, "one bit of the mask per row");
        if (mask) request.mask = nestbit::Bitmap(mask->data());
        if (ranges) request.ranges = ends_of(*ranges, n);
        if (!visits) return;
        require(ranges.has_value() && visits->shape(0) == ranges->shape(0) &&
                    visits->shape(1) == (request.queries.count + 7) / 8,
                "visits need one row per range, with one bit per query");
        request.visits = visits->data();
        request.visit_bytes = visits->shape(1);
    }
};

// Runs the scan without the GIL and fills (m, k) ids and values; where fewer rows may be found,
// the rest is id -1 and the value `none`.
template <typename T, typename Convert>
nb::tuple run_scan(Op op, const nestbit::RowBlock& rows, const nestbit::RawQueries& queries, size_t k,
                   const Terms& terms, const Allowed& allowed, size_t threads,
                   const std::string& isa, T none, const Convert& convert) {
    require(rows.count < (uint64_t{1} << 32), "at most 2**32 - 1 rows");
    require(nestbit::values_of(op, rows.width) <= nestbit::kMaxDim, "at most 65536 dimensions");
    require(k >= 1 && k <= rows.count, "k must be between 1 and the number of rows");
    require(threads >= 1, "threads must be at least 1");
    nestbit::ScanRequest request{};
    request.op = op;
    request.rows = rows;
    request.queries = queries;
    request.k = k;
    request.threads = threads;
    terms.put(request);
    allowed.put(request);
    const KernelTable& table = table_of(isa);
    auto ids = new_array<int64_t>(queries.count, k);
    auto values = new_array<T>(queries.count, k);
    int64_t* ids_to = ids.data();
    T* values_to = values.data();
    {
        const nb::gil_scoped_release released;
        nestbit::scan(
            table, request,
            [&](size_t query, const uint64_t* keys, size_t count) {
                int64_t* id = ids_to + query * k;
                T* value = values_to + query * k;
                for (size_t i = 0; i < count; ++i) {
                    id[i] = nestbit::row_of(keys[i]);
                    value[i] = convert(nestbit::score_of(keys[i]));
                }
                std::fill(id + count, id + k, int64_t{-1});
                std::fill(value + count, value + k, none);
            },
            check_signals);
    }
    return nb::make_tuple(std::move(ids), std::move(values));
}

constexpr float kNoScore = -std::numeric_limits<float>::infinity();
float unchanged(float score) { return score; }

nestbit::RawQueries raw_queries(const nestbit::RowBlock& queries) {
    return {queries.data, queries.stride, queries.count, queries.width};
}

nb::tuple hamming_scan(const ByteRows& rows, const ByteRows& queries, size_t k, size_t threads,
                       const std::optional<Bytes>& mask, const std::optional<RowRanges>& ranges,
                       const std::optional<Visits>& visits, const std::string& isa) {
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    const auto asked = row_block(queries, "queries must be contiguous along the last axis");
    require(asked.width == block.width, "rows and queries must have the same width");
    return run_scan<int32_t>(
        Op::hamming, block, raw_queries(asked), k,
        {std::nullopt, std::nullopt, std::nullopt, std::nullopt}, {mask, ranges, visits}, threads, isa,
        std::numeric_limits<int32_t>::max(),
        [](float score) { return static_cast<int32_t>(-score); });
}

nb::tuple bits_scan(const ByteRows& rows, const Weights& weights, size_t k,
                  const std::optional<Floats>& scales, const std::optional<Floats>& row_bias,
                  size_t threads, const std::optional<Bytes>& mask,
                  const std::optional<RowRanges>& ranges, const std::optional<Visits>& visits,
                  const std::string& isa) {
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    const auto asked = row_block(weights, "weights must be contiguous along the last axis");
    require((asked.width + 7) / 8 == block.width, "rows must hold one bit per weight");
    return run_scan<float>(Op::bits, block, raw_queries(asked), k,
                           {scales, std::nullopt, std::nullopt, row_bias}, {mask, ranges, visits}, threads, isa,
                           kNoScore, unchanged);
}

nb::tuple bytes_scan(const AnyRows& rows, const Weights& weights, size_t k,
                   const std::optional<Floats>& scales, const std::optional<Floats>& row_bias,
                   size_t threads, const std::optional<Bytes>& mask,
                  const std::optional<RowRanges>& ranges, const std::optional<Visits>& visits,
                  const std::string& isa) {
    const bool is_signed = rows.dtype() == nb::dtype<int8_t>();
    require(is_signed || rows.dtype() == nb::dtype<uint8_t>(), "rows must be int8 or uint8");
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    const auto asked = row_block(weights, "weights must be contiguous along the last axis");
    require(asked.width == block.width, "rows and weights must have the same dimensions");
    return run_scan<float>(is_signed ? Op::bytes_i8 : Op::bytes_u8, block, raw_queries(asked), k,
                           {scales, std::nullopt, std::nullopt, row_bias}, {mask, ranges, visits}, threads, isa,
                           kNoScore, unchanged);
}

// Whether the tables are those of cells of eight bits; refuses them if not of four bits either.
bool are_wide(const auto& tables, size_t width) {
    const bool wide = tables.shape(2) == 256;
    require(tables.shape(1) == (wide ? width : 2 * width) && (wide || tables.shape(2) == 16),
            "two tables of 16 values or one of 256 per byte of a row");
    return wide;
}

nb::tuple cells_scan(const ByteRows& rows, const Tables& tables, size_t k,
                     const std::optional<Floats>& scales, const std::optional<Floats>& bases,
                     const std::optional<AnyFactors>& row_scale,
                     const std::optional<Floats>& row_bias, size_t threads,
                     const std::optional<Bytes>& mask, const std::optional<RowRanges>& ranges,
                     const std::optional<Visits>& visits, const std::string& isa) {
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    const bool wide = are_wide(tables, block.width);
    const size_t length = tables.shape(1) * tables.shape(2);
    const nestbit::RawQueries queries{tables.data(), static_cast<ptrdiff_t>(length),
                                      tables.shape(0), length};
    return run_scan<float>(wide ? Op::wide : Op::cells, block, queries, k,
                           {scales, bases, row_scale, row_bias}, {mask, ranges, visits}, threads, isa,
                           kNoScore, unchanged);
}

Element element_of(const AnyRows& rows) {
    const auto type = rows.dtype();
    if (type == nb::dtype<int8_t>()) return Element::i8;
    if (type == nb::dtype<uint8_t>()) return Element::u8;
    if (type == nb::dtype<uint16_t>()) return Element::bf16;
    if (type == nb::dtype<float>()) return Element::f32;
    require(is_half(rows), "rows must be int8, uint8, float16, float32, or bfloat16 as uint16");
    return Element::f16;
}

ScoresOut run_rescore(Element element, const nestbit::RowBlock& rows, const CandidateIds& ids,
                      const float* weights, size_t m, size_t dim, size_t threads,
                      const std::string& isa) {
    require(ids.shape(0) == m, "one row of ids per row of weights");
    require(threads >= 1, "threads must be at least 1");
    const size_t total = ids.shape(0) * ids.shape(1);
    const auto n = static_cast<int64_t>(rows.count);
    require(std::all_of(ids.data(), ids.data() + total, [n](int64_t id) { return id >= 0 && id < n; }),
            "ids must be between 0 and the number of rows - 1");
    const KernelTable& table = table_of(isa);
    auto scores = new_array<float>(ids.shape(0), ids.shape(1));
    const nestbit::RescoreRequest request{
        element, rows.data, rows.stride, rows.width / nestbit::element_bytes(element),
        ids.data(), m, ids.shape(1), weights, dim, threads};
    float* to = scores.data();
    const nb::gil_scoped_release released;
    nestbit::rescore(table, request, to);
    return scores;
}

ScoresOut bits_rescore(const ByteRows& rows, const CandidateIds& ids, const FloatWeights& weights,
                       size_t threads, const std::string& isa) {
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    require((weights.shape(1) + 7) / 8 == block.width, "rows must hold one bit per weight");
    return run_rescore(Element::bits, block, ids, weights.data(), weights.shape(0),
                       weights.shape(1), threads, isa);
}

ScoresOut cells_rescore(const ByteRows& rows, const CandidateIds& ids, const FloatTables& tables,
                        size_t threads, const std::string& isa) {
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    const Element element = are_wide(tables, block.width) ? Element::wide : Element::cells;
    return run_rescore(element, block, ids, tables.data(), tables.shape(0),
                       tables.shape(1) * tables.shape(2), threads, isa);
}

ScoresOut rescore(const AnyRows& rows, const CandidateIds& ids, const FloatWeights& weights,
                  size_t threads, const std::string& isa) {
    const auto block = row_block(rows, "rows must be contiguous along the last axis");
    require(weights.shape(1) == rows.shape(1), "rows and weights must have the same dimensions");
    return run_rescore(element_of(rows), block, ids, weights.data(), weights.shape(0),
                       weights.shape(1), threads, isa);
}

nb::tuple cells_encode(const FloatRows& z, const Ints& first, const Ints& width,
                       const FloatWeights& centroids, const FloatWeights& decoded, size_t threads,
                       const std::string& isa) {
    const auto rows = row_block(z, "rows must be contiguous along the last axis");
    const auto cells = cell_ranges(first, width, centroids.shape(0), centroids.shape(1), z.shape(1));
    require(decoded.shape(0) == centroids.shape(0) && decoded.shape(1) == centroids.shape(1),
            "decoded must have the shape of the centroids");
    require(threads >= 1, "threads must be at least 1");
    const KernelTable& table = table_of(isa);
    auto codes = new_array<uint8_t>(rows.count, nestbit::code_bytes(cells.count, cells.centroids));
    auto sums = new_array<float>(2, rows.count);
    const nestbit::EncodeRequest request{z.data(),         z.stride(0),    rows.count, cells,
                                         centroids.data(), decoded.data(), threads};
    uint8_t* codes_to = codes.data();
    float* sums_to = sums.data();
    {
        const nb::gil_scoped_release released;
        nestbit::encode_cells(table, request, codes_to, sums_to, sums_to + rows.count);
    }
    return nb::make_tuple(std::move(codes), std::move(sums));
}

nb::tuple cells_tables(const FloatRows& z, const Ints& first, const Ints& width,
                       const FloatWeights& books, size_t threads, const std::string& isa) {
    const auto queries = row_block(z, "queries must be contiguous along the last axis");
    const auto cells = cell_ranges(first, width, books.shape(1), books.shape(0), z.shape(1));
    require(threads >= 1, "threads must be at least 1");
    const KernelTable& table = table_of(isa);
    const size_t m = queries.count, count = nestbit::table_count(cells.count, cells.centroids);
    auto tables = new_array<float>(m, count, cells.centroids);
    auto rounded = new_array<uint8_t>(m, count, cells.centroids);
    auto scale = new_array<float>(m), base = new_array<float>(m);
    const nestbit::TablesRequest request{z.data(), z.stride(0), m, cells, books.data(), threads};
    float *tables_to = tables.data(), *scale_to = scale.data(), *base_to = base.data();
    uint8_t* rounded_to = rounded.data();
    {
        const nb::gil_scoped_release released;
        nestbit::make_tables(table, request, tables_to, rounded_to, scale_to, base_to);
    }
    return nb::make_tuple(std::move(tables), std::move(rounded), std::move(scale), std::move(base));
}

ScoresOut cells_decode(const ByteRows& codes, const Ints& first, const Ints& width,
                       const FloatWeights& decoded, size_t coordinates, size_t threads) {
    const auto rows = row_block(codes, "codes must be contiguous along the last axis");
    const auto cells = cell_ranges(first, width, decoded.shape(0), decoded.shape(1), coordinates);
    require(rows.width == nestbit::code_bytes(cells.count, cells.centroids),
            "codes must have one or half a byte per cell");
    require(threads >= 1, "threads must be at least 1");
    auto out = new_array<float>(rows.count, coordinates);
    float* to = out.data();
    const nb::gil_scoped_release released;
    nestbit::decode_cells(rows, cells, decoded.data(), threads, to);
    return out;
}

ScoresOut hadamard(const FloatRows& x, const FloatWeights& signs, bool inverse, size_t threads,
                   const std::string& isa) {
    const auto rows = row_block(x, "rows must be contiguous along the last axis");
    require(signs.shape(0) > 0 && x.shape(1) <= signs.shape(1), "no more columns than signs");
    require(threads >= 1, "threads must be at least 1");
    const KernelTable& table = table_of(isa);
    auto out = new_array<float>(rows.count, signs.shape(1));
    const nestbit::RotateRequest request{x.data(),       x.stride(0),    rows.count,
                                         x.shape(1),     signs.shape(1), signs.shape(0),
                                         signs.data(),   inverse,        threads};
    float* to = out.data();
    const nb::gil_scoped_release released;
    nestbit::rotate_rows(table, request, to);
    return out;
}

nb::tuple rabitq_encode(const FloatRows& z, int bits, size_t threads, const std::string& isa) {
    const auto rows = row_block(z, "rows must be contiguous along the last axis");
    const size_t r = z.shape(1);
    require(r % 4 == 0 && bits >= 1 && bits <= 8, "columns in fours and 1 to 8 bits");
    require(threads >= 1, "threads must be at least 1");
    const KernelTable& table = table_of(isa);
    const size_t cells = r / 4 * static_cast<size_t>(bits);
    auto codes = new_array<uint8_t>(rows.count, nestbit::code_bytes(cells, size_t{16}));
    auto sums = new_array<float>(size_t{2}, rows.count);
    uint8_t* codes_to = codes.data();
    float* sums_to = sums.data();
    {
        const nb::gil_scoped_release released;
        nestbit::encode_grid(table, z.data(), z.stride(0), rows.count, r, bits, threads, codes_to,
                             sums_to, sums_to + rows.count);
    }
    return nb::make_tuple(std::move(codes), std::move(sums));
}

nb::tuple bytes_encode(const FloatRows& z, const Floats& offset, const Floats& inverse,
                       bool is_signed, size_t threads) {
    const auto rows = row_block(z, "rows must be contiguous along the last axis");
    const size_t dim = z.shape(1);
    require(offset.shape(0) == dim && inverse.shape(0) == dim, "one offset and inverse per column");
    require(threads >= 1, "threads must be at least 1");
    auto codes = new_array<uint8_t>(rows.count, dim);
    uint8_t* to = codes.data();
    size_t clipped = 0;
    {
        const nb::gil_scoped_release released;
        clipped = nestbit::encode_bytes(z.data(), z.stride(0), rows.count, dim, offset.data(),
                                        inverse.data(), is_signed ? -128 : 0, threads, to);
    }
    return nb::make_tuple(std::move(codes), clipped);
}

bool all_finite(const AnyFactors& values, const std::optional<RowRanges>& ranges) {
    const void* data = values.data();
    const bool half = is_half(values);
    require(half || values.dtype() == nb::dtype<float>(), "values must be float16 or float32");
    const int64_t all[] = {0, static_cast<int64_t>(values.shape(0))};
    const auto ends = ranges ? ends_of(*ranges, values.shape(0)) : std::span<const int64_t>(all);
    for (size_t i = 0; i < ends.size(); i += 2) {
        const auto size = static_cast<size_t>(ends[i + 1] - ends[i]);
        if (!(half ? nestbit::all_finite(static_cast<const uint16_t*>(data) + ends[i], size)
                   : nestbit::all_finite(static_cast<const uint32_t*>(data) + ends[i], size))) {
            return false;
        }
    }
    return true;
}

uint64_t read_bytes(const Bytes& data, const std::string& isa) {
    const KernelTable& table = table_of(isa);
    const uint8_t* from = data.data();
    const size_t size = data.shape(0);
    const nb::gil_scoped_release released;
    return table.read(from, size);
}

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const KernelTable* table : nestbit::available()) names.emplace_back(table->name);
    return names;
}

}  // namespace

#define ALLOWED                                                                        \
    ", mask: " ARRAY("uint8") " | None = None, ranges: " ARRAY("int64")                  \
    " | None = None, visits: " ARRAY("uint8") " | None = None"
#define DOT_OPTIONS                                                                    \
    ", k: int, scales: " ARRAY("float32") " | None, row_bias: " ARRAY("float32")       \
    " | None, threads: int" ALLOWED ", isa: str = '') -> tuple[" ARRAY("int64") ", "    \
    ARRAY("float32") "]"
#define RESCORE_OPTIONS                                                                \
    ", ids: " ARRAY("int64") ", weights: " ARRAY("float32")                            \
    ", threads: int, isa: str = '') -> " ARRAY("float32")
#define CELLS ", first: " ARRAY("int32") ", width: " ARRAY("int32")

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of nestbit; call them through nestbit.kernels, which validates.";
    m.def("isa", [] { return std::string(table_of("").name); },
          "Name of the instruction set in use: NESTBIT_ISA, or the best of this machine.");
    m.def("available_isas", &available_isas,
          "Names of the instruction sets this machine can run, plainest first.");
    m.def("hamming_scan", &hamming_scan, "rows"_a.noconvert(), "queries"_a.noconvert(), "k"_a,
          "threads"_a, "mask"_a.noconvert() = nb::none(), "ranges"_a.noconvert() = nb::none(),
          "visits"_a.noconvert() = nb::none(), "isa"_a = "",
          nb::sig("def hamming_scan(rows: " ARRAY("uint8") ", queries: " ARRAY("uint8")
                  ", k: int, threads: int" ALLOWED ", isa: str = '') -> tuple[" ARRAY("int64") ", "
                  ARRAY("int32") "]"),
          "The k rows of least Hamming distance to each query.");
    m.def("bits_scan", &bits_scan, "rows"_a.noconvert(), "weights"_a.noconvert(), "k"_a,
          "scales"_a.noconvert().none(), "row_bias"_a.noconvert().none(), "threads"_a,
          "mask"_a.noconvert() = nb::none(), "ranges"_a.noconvert() = nb::none(),
          "visits"_a.noconvert() = nb::none(), "isa"_a = "",
          nb::sig("def bits_scan(rows: " ARRAY("uint8") ", weights: " ARRAY("int8") DOT_OPTIONS),
          "The k rows of largest scale * sum(weights of the row's ones) + bias.");
    m.def("bytes_scan", &bytes_scan, "rows"_a.noconvert(), "weights"_a.noconvert(), "k"_a,
          "scales"_a.noconvert().none(), "row_bias"_a.noconvert().none(), "threads"_a,
          "mask"_a.noconvert() = nb::none(), "ranges"_a.noconvert() = nb::none(),
          "visits"_a.noconvert() = nb::none(), "isa"_a = "",
          nb::sig("def bytes_scan(rows: " ANY_ARRAY ", weights: " ARRAY("int8") DOT_OPTIONS),
          "The k rows of largest scale * dot(weights, row) + bias.");
    m.def("cells_scan", &cells_scan, "rows"_a.noconvert(), "tables"_a.noconvert(), "k"_a,
          "scales"_a.noconvert().none(), "bases"_a.noconvert().none(),
          "row_scale"_a.noconvert().none(), "row_bias"_a.noconvert().none(), "threads"_a,
          "mask"_a.noconvert() = nb::none(), "ranges"_a.noconvert() = nb::none(),
          "visits"_a.noconvert() = nb::none(), "isa"_a = "",
          nb::sig("def cells_scan(rows: " ARRAY("uint8") ", tables: " ARRAY("uint8")
                  ", k: int, scales: " ARRAY("float32") " | None, bases: " ARRAY("float32")
                  " | None, row_scale: " ANY_ARRAY " | None, row_bias: " ARRAY("float32")
                  " | None, threads: int" ALLOWED ", isa: str = '') -> tuple[" ARRAY("int64") ", "
                  ARRAY("float32") "]"),
          "The k rows of largest row scale * (scale * sum(tables at the row's cells) + base) + bias.");
    m.def("bits_rescore", &bits_rescore, "rows"_a.noconvert(), "ids"_a.noconvert(),
          "weights"_a.noconvert(), "threads"_a, "isa"_a = "",
          nb::sig("def bits_rescore(rows: " ARRAY("uint8") RESCORE_OPTIONS),
          "Sum of the weights of the ones of the rows that ids pick.");
    m.def("cells_rescore", &cells_rescore, "rows"_a.noconvert(), "ids"_a.noconvert(),
          "tables"_a.noconvert(), "threads"_a, "isa"_a = "",
          nb::sig("def cells_rescore(rows: " ARRAY("uint8") ", ids: " ARRAY("int64")
                  ", tables: " ARRAY("float32") ", threads: int, isa: str = '') -> "
                  ARRAY("float32")),
          "Sum of the tables' values at the cells of the rows that ids pick.");
    m.def("rescore", &rescore, "rows"_a.noconvert(), "ids"_a.noconvert(), "weights"_a.noconvert(),
          "threads"_a, "isa"_a = "", nb::sig("def rescore(rows: " ANY_ARRAY RESCORE_OPTIONS),
          "Dot products of the weights with the rows that ids pick; uint16 rows are bfloat16.");
    m.def("cells_encode", &cells_encode, "z"_a.noconvert(), "first"_a.noconvert(),
          "width"_a.noconvert(), "centroids"_a.noconvert(), "decoded"_a.noconvert(), "threads"_a,
          "isa"_a = "",
          nb::sig("def cells_encode(z: " ARRAY("float32") CELLS ", centroids: " ARRAY("float32")
                  ", decoded: " ARRAY("float32") ", threads: int, isa: str = '') -> tuple["
                  ARRAY("uint8") ", " ARRAY("float32") "]"),
          "Codes of the rows z, and the pair of <decoded row, z> and |decoded row|**2 of each.");
    m.def("cells_tables", &cells_tables, "z"_a.noconvert(), "first"_a.noconvert(),
          "width"_a.noconvert(), "books"_a.noconvert(), "threads"_a, "isa"_a = "",
          nb::sig("def cells_tables(z: " ARRAY("float32") CELLS ", books: " ARRAY("float32")
                  ", threads: int, isa: str = '') -> tuple[" ARRAY("float32") ", " ARRAY("uint8")
                  ", " ARRAY("float32") ", " ARRAY("float32") "]"),
          "Inner products of the queries z with all centroids, and these in steps of a scale.");
    m.def("cells_decode", &cells_decode, "codes"_a.noconvert(), "first"_a.noconvert(),
          "width"_a.noconvert(), "decoded"_a.noconvert(), "coordinates"_a, "threads"_a,
          nb::sig("def cells_decode(codes: " ARRAY("uint8") CELLS ", decoded: " ARRAY("float32")
                  ", coordinates: int, threads: int) -> " ARRAY("float32")),
          "Sums of the decoded centroids that the cells of the codes pick.");
    m.def("hadamard", &hadamard, "x"_a.noconvert(), "signs"_a.noconvert(), "inverse"_a, "threads"_a,
          "isa"_a = "",
          nb::sig("def hadamard(x: " ARRAY("float32") ", signs: " ARRAY("float32")
                  ", inverse: bool, threads: int, isa: str = '') -> " ARRAY("float32")),
          "Rows rotated by rounds of signs and Hadamard transforms, or rotated back.");
    m.def("rabitq_encode", &rabitq_encode, "z"_a.noconvert(), "bits"_a, "threads"_a, "isa"_a = "",
          nb::sig("def rabitq_encode(z: " ARRAY("float32") ", bits: int, threads: int, isa: str = '')"
                  " -> tuple[" ARRAY("uint8") ", " ARRAY("float32") "]"),
          "Bit planes of the grid points nearest in direction, their products and squares.");
    m.def("bytes_encode", &bytes_encode, "z"_a.noconvert(), "offset"_a.noconvert(),
          "inverse"_a.noconvert(), "is_signed"_a, "threads"_a,
          nb::sig("def bytes_encode(z: " ARRAY("float32") ", offset: " ARRAY("float32")
                  ", inverse: " ARRAY("float32") ", is_signed: bool, threads: int) -> tuple["
                  ARRAY("uint8") ", int]"),
          "Rounded (z - offset) * inverse, clipped to a byte, and how many values were clipped.");
    m.def("all_finite", &all_finite, "values"_a.noconvert(), "ranges"_a.noconvert() = nb::none(),
          nb::sig("def all_finite(values: " ANY_ARRAY ", ranges: " ARRAY("int64")
                  " | None = None) -> bool"),
          "Whether float16 or float32 values, or those in the ranges, are neither NaN nor infinite.");
    m.def("read_bytes", &read_bytes, "data"_a.noconvert(), "isa"_a = "",
          nb::sig("def read_bytes(data: " ARRAY("uint8") ", isa: str = '') -> int"),
          "Wrapping sum of the 64-bit words of the data: a plain read, to compare scans with.");
    nestbit::python::add_candidates(m);
    nestbit::python::add_graph_build(m);
    nestbit::python::add_graph_walk(m);
    nestbit::python::add_walk_queries(m);
}
