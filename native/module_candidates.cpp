// Python's view of what happens to candidates: reading their rows, judging them, merging them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cerrno>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "best.h"
#include "gather.h"
#include "misses.h"
#include "module.h"

namespace {

using nestbit::python::new_array;
using nestbit::python::require;

using Ids = nb::ndarray<nb::numpy, const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IdRows = nb::ndarray<nb::numpy, const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<nb::numpy, const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<nb::numpy, const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T>
std::span<const T> span_of(const nb::ndarray<nb::numpy, const T, nb::ndim<1>, nb::c_contig,
                                             nb::device::cpu>& array) {
    return {array.data(), array.shape(0)};
}

nb::list gather(int descriptor, const std::vector<std::pair<int64_t, size_t>>& columns,
                     const Ids& places, int64_t n) {
    const std::span<const int64_t> rows = span_of(places);
    bool ascending = true;
    for (size_t i = 1; i < rows.size(); ++i) ascending &= rows[i - 1] < rows[i];
    require(ascending, "places must ascend, each once");
    require(rows.empty() || (rows.front() >= 0 && rows.back() < n),
            "places must be between 0 and the number of rows - 1");
    nb::list taken;
    std::vector<nestbit::FileColumn> wanted;
    for (const auto& [start, width] : columns) {
        const auto size = static_cast<uint64_t>(n) * width;
        require(start >= 0 && n >= 0 && width > 0 && size / width == static_cast<uint64_t>(n) &&
                    size <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max() - start),
                "columns must be starts and widths of arrays in a file");
        auto out = new_array<uint8_t>(rows.size(), width);
        wanted.push_back({start, width, out.data()});
        taken.append(out);
    }
    int failure = 0;
    {
        const nb::gil_scoped_release released;
        failure = nestbit::gather_rows(descriptor, wanted, rows);
    }
    if (failure == nestbit::kTruncated) {
        PyErr_SetString(PyExc_EOFError, "the file ends before a row that was asked for");
        throw nb::python_error();
    }
    if (failure) {
        errno = failure;
        PyErr_SetFromErrno(PyExc_OSError);
        throw nb::python_error();
    }
    return taken;
}

nb::tuple best(const IdRows& ids, const Scores& scores, size_t k) {
    const size_t m = ids.shape(0), width = ids.shape(1);
    require(scores.shape(0) == m && scores.shape(1) == width, "one score per id");
    require(width < (uint64_t{1} << 32), "at most 2**32 - 1 columns");
    const size_t kept = std::min(k, width);
    auto kept_ids = new_array<int64_t>(m, kept);
    auto scored = new_array<float>(m, kept);
    int64_t* const best_to = kept_ids.data();
    float* const scored_to = scored.data();
    {
        const nb::gil_scoped_release released;
        nestbit::best_of({m, width, ids.data(), scores.data()}, kept, best_to, scored_to);
    }
    return nb::make_tuple(std::move(kept_ids), std::move(scored));
}

using Names = nb::ndarray<nb::numpy, const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ranks = nb::ndarray<nb::numpy, const uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The best places by score, then rank; each named by its rank. Without ranks a place is its own.
nb::tuple best_named(const IdRows& places, const Scores& scores, size_t k, const std::optional<Ranks>& ranks,
                     const Names& names) {
    const size_t m = places.shape(0), width = places.shape(1), n = names.shape(0);
    require(scores.shape(0) == m && scores.shape(1) == width, "one score per place");
    require(!ranks || ranks->shape(0) == n, "as many ranks as names");
    require(width < (uint64_t{1} << 32), "at most 2**32 - 1 columns");
    const size_t kept = std::min(k, width);
    auto named = new_array<int64_t>(m, kept);
    auto scored = new_array<float>(m, kept);
    const int64_t *const from = places.data(), *const name_of = names.data();
    const uint32_t* const rank_of = ranks ? ranks->data() : nullptr;
    int64_t* const named_to = named.data();
    float* const scored_to = scored.data();
    {
        const nb::gil_scoped_release released;
        std::vector<int64_t> ranked(from, from + m * width);
        for (int64_t& place : ranked) {
            require(place >= 0 && place < static_cast<int64_t>(n), "places must have a name");
            if (!rank_of) continue;
            place = rank_of[place];
            if (place >= static_cast<int64_t>(n)) throw nb::index_error("a rank is none of a name");
        }
        nestbit::best_of({m, width, ranked.data(), scores.data()}, kept, named_to, scored_to);
        for (size_t i = 0; i < m * kept; ++i) named_to[i] = name_of[named_to[i]];
    }
    return nb::make_tuple(std::move(named), std::move(scored));
}

nb::ndarray<nb::numpy, double, nb::ndim<1>> misses(
    const Scores& coarse, const Scores& fine, const Ids& queries, size_t count, size_t n,
    double rank, double outliers, double slope,
    double pairs, const std::optional<Floats>& deviations, const Doubles& tail_at,
    const Doubles& log_tail) {
    const size_t m = coarse.shape(0), width = coarse.shape(1);
    require(fine.shape(0) == m && fine.shape(1) == width, "as many fine scores as coarse ones");
    require(count >= 1 && count <= width, "count must be between 1 and the number of candidates");
    require(rank >= 0 && rank <= static_cast<double>(count - 1), "rank must be below count");
    require(n >= width, "at least as many rows as candidates");
    require(tail_at.shape(0) == log_tail.shape(0), "one share per deviation");
    require(!deviations || deviations->shape(0) == m, "one deviation per query");
    for (const int64_t q : span_of(queries)) {
        require(q >= 0 && q < static_cast<int64_t>(m), "queries must be numbers of rows");
    }
    nestbit::FinePrior prior{slope, pairs, nullptr, span_of(tail_at), span_of(log_tail)};
    if (deviations) prior.deviations = deviations->data();
    const nestbit::MissesRequest request{
        coarse.data(), fine.data(), width, width,   count,
        n,             rank,        outliers,     deviations ? &prior : nullptr};
    auto out = new_array<double>(queries.shape(0));
    double* const to = out.data();
    const nb::gil_scoped_release released;
    nestbit::expected_misses(request, span_of(queries), to);
    return out;
}

}  // namespace

void nestbit::python::add_candidates(nb::module_& module) {
    module.def("gather_rows", &gather, "descriptor"_a, "columns"_a, "places"_a.noconvert(),
               "n"_a,
               nb::sig("def gather_rows(descriptor: int, columns: list[tuple[int, int]], places: "
                       ARRAY("int64") ", n: int) -> list[" ARRAY("uint8") "]"),
               "The rows at ascending places of arrays in a file, given as starts and widths.");
    module.def("best_of", &best, "ids"_a.noconvert(), "scores"_a.noconvert(), "k"_a,
               nb::sig("def best_of(ids: " ARRAY("int64") ", scores: " ARRAY("float32")
                       ", k: int) -> tuple[" ARRAY("int64") ", " ARRAY("float32") "]"),
               "Per row the k best by score, then smaller id, then column; NaN last.");
    module.def("best_named", &best_named, "places"_a.noconvert(), "scores"_a.noconvert(), "k"_a,
               "ranks"_a.noconvert().none(), "names"_a.noconvert(),
               nb::sig("def best_named(places: " ARRAY("int64") ", scores: " ARRAY("float32")
                       ", k: int, ranks: " ARRAY("uint32") " | None, names: " ARRAY("int64")
                       ") -> tuple[" ARRAY("int64") ", " ARRAY("float32") "]"),
               "Per row names of the k best places by score, then rank.");
    module.def("expected_misses", &misses, "coarse"_a.noconvert(), "fine"_a.noconvert(),
               "queries"_a.noconvert(), "count"_a, "n"_a, "rank"_a, "outliers"_a, "slope"_a, "pairs"_a, "deviations"_a.noconvert().none(),
               "tail_at"_a.noconvert(), "log_tail"_a.noconvert(),
               nb::sig("def expected_misses(coarse: " ARRAY("float32") ", fine: " ARRAY("float32")
                       ", queries: " ARRAY("int64") ", count: int, n: int, rank: float, outliers: float, "
                       "slope: float, pairs: float, deviations: " ARRAY("float32")
                       " | None, tail_at: " ARRAY("float64") ", log_tail: " ARRAY("float64")
                       ") -> " ARRAY("float64")),
               "Rows beyond the first count that are expected to beat the score at a rank.");
}
