// The Python face of native/graph, as far as it builds: checks shapes, releases the GIL.
#include <nanobind/stl/string.h>

#include <algorithm>
#include <string>

#include "graph/graph.h"
#include "module.h"

namespace graph = nestbit::graph;

namespace {

using nestbit::python::check_signals;
using nestbit::python::require;
using nestbit::python::table_of;

template <typename T, int dims>
using Array = nb::ndarray<nb::numpy, T, nb::ndim<dims>, nb::c_contig, nb::device::cpu>;
using Int8Rows = Array<const int8_t, 2>;
using Squares = Array<const uint32_t, 1>;
using Numbers = Array<const uint32_t, 1>;
using Offsets = Array<const int64_t, 1>;
using Candidates = Array<uint64_t, 2>;
using Neighbours = Array<uint32_t, 2>;

graph::Rows rows_of(const Int8Rows& rows, const Squares& squares) {
    require(rows.shape(0) >= 1 && rows.shape(0) < UINT32_MAX, "1 to 2**32 - 2 rows");
    require(rows.shape(1) >= 1 && rows.shape(1) <= graph::kMaxGraphDim, "1 to 65536 dimensions");
    require(squares.shape(0) == rows.shape(0), "one square per row");
    return {rows.data(), rows.shape(0), rows.shape(1), squares.data()};
}

void require_numbers(const Numbers& numbers, size_t n, const char* what) {
    const uint32_t* const end = numbers.data() + numbers.shape(0);
    require(std::all_of(numbers.data(), end, [n](uint32_t r) { return r < n; }), what);
}

graph::Leaves leaves_of(const Numbers& numbers, const Offsets& offsets, size_t n) {
    require_numbers(numbers, n, "members and targets must be numbers of rows");
    const std::span<const int64_t> ends(offsets.data(), offsets.shape(0));
    require(!ends.empty() && ends.front() == 0 && std::is_sorted(ends.begin(), ends.end()) &&
                ends.back() == static_cast<int64_t>(numbers.shape(0)),
            "offsets must ascend from 0 to the number of members or targets");
    return {{numbers.data(), numbers.shape(0)}, ends};
}

void require_lines(size_t lines, size_t start, size_t n) {
    require(start <= n && lines <= n - start,
            "candidates and neighbours must be lines of rows from the first on");
}

void graph_leaves(const Int8Rows& rows, const Squares& squares, const Numbers& members,
                  const Offsets& offsets, const Numbers& targets, const Offsets& target_offsets,
                  size_t keep, const Candidates& candidates, size_t start, size_t first, size_t last,
                  size_t threads, const std::string& isa) {
    const graph::Rows all = rows_of(rows, squares);
    require(keep >= 1 && threads >= 1, "keep and threads must be at least 1");
    require_lines(candidates.shape(0), start, all.count);
    require(first < last && last <= candidates.shape(1), "first and last must be a range of slots");
    require(offsets.shape(0) == target_offsets.shape(0), "as many leaves of targets as of members");
    const graph::Leaves queries = leaves_of(members, offsets, all.count);
    const graph::Leaves others = leaves_of(targets, target_offsets, all.count);
    const auto& table = table_of(isa);
    const graph::CandidateLists lists{candidates.data(),   start, candidates.shape(0),
                                      candidates.shape(1), first, last};
    const nb::gil_scoped_release released;
    graph::add_leaves(table, all, queries, others, keep, lists, threads, check_signals);
}

graph::PruneOptions options_of(const Neighbours& neighbours, float alpha, size_t threads) {
    const size_t degree = neighbours.shape(1);
    require(degree >= 1 && degree <= graph::kMostCandidates, "1 to 256 neighbours a row");
    require(alpha >= 1.0f, "alpha must be at least 1");
    require(threads >= 1, "threads must be at least 1");
    return {degree, alpha, threads};
}

uint32_t* neighbours_of(const Neighbours& neighbours, size_t n) {
    require(neighbours.shape(0) == n, "neighbours must be one line per row");
    uint32_t* const lists = neighbours.data();
    require(std::all_of(lists, lists + neighbours.size(), [n](uint32_t r) { return r < n; }),
            "neighbours must be numbers of rows");
    return lists;
}

void graph_neighbours(const Int8Rows& rows, const Squares& squares, const Candidates& candidates,
                      size_t start, float alpha, const Neighbours& neighbours, size_t threads,
                      const std::string& isa) {
    const graph::Rows all = rows_of(rows, squares);
    const size_t slots = candidates.shape(1);
    require_lines(candidates.shape(0), start, all.count);
    require(candidates.shape(0) == neighbours.shape(0),
            "candidates and neighbours must have as many lines");
    require(slots >= 1 && slots <= graph::kMostCandidates, "1 to 256 candidates a row");
    const graph::PruneOptions options = options_of(neighbours, alpha, threads);
    graph::Key* const keys = candidates.data();
    require(std::all_of(keys, keys + candidates.size(),
                        [&](graph::Key key) {
                            return key == graph::kNoKey || graph::row_of(key) < all.count;
                        }),
            "candidates must be numbers of rows");
    const auto& table = table_of(isa);
    uint32_t* const out = neighbours.data();
    const graph::CandidateLists lists{keys, start, candidates.shape(0), slots, 0, slots};
    const nb::gil_scoped_release released;
    graph::choose_neighbours(table, all, lists, options, out, check_signals);
}

void graph_reverse(const Int8Rows& rows, const Squares& squares, const Neighbours& neighbours,
                   float alpha, size_t most, const Numbers& sources, size_t threads,
                   const std::string& isa) {
    const graph::Rows all = rows_of(rows, squares);
    const graph::PruneOptions options = options_of(neighbours, alpha, threads);
    require(most >= options.degree && most <= graph::kMostCandidates, "most must be degree to 256");
    uint32_t* const lists = neighbours_of(neighbours, all.count);
    require_numbers(sources, all.count, "sources must be numbers of rows");
    const std::span<const uint32_t> some(sources.data(), sources.shape(0));
    const auto& table = table_of(isa);
    const nb::gil_scoped_release released;
    graph::add_reverse(table, all, options, most, some, lists, check_signals);
}

size_t graph_connect(const Int8Rows& rows, const Squares& squares, const Neighbours& neighbours,
                     const Numbers& entries) {
    const graph::Rows all = rows_of(rows, squares);
    const size_t degree = neighbours.shape(1);
    require(degree >= 2, "neighbours must be one line of at least two per row");
    uint32_t* const lists = neighbours_of(neighbours, all.count);
    require(entries.shape(0) >= 1, "at least one entry");
    require_numbers(entries, all.count, "entries must be numbers of rows");
    const std::span<const uint32_t> starts(entries.data(), entries.shape(0));
    const nb::gil_scoped_release released;
    return graph::connect(all, lists, degree, starts, check_signals);
}

}  // namespace

#define ROWS "rows: " ARRAY("int8") ", squares: " ARRAY("uint32")

void nestbit::python::add_graph_build(nb::module_& m) {
    m.def("graph_leaves", &graph_leaves, "rows"_a.noconvert(), "squares"_a.noconvert(),
          "members"_a.noconvert(), "offsets"_a.noconvert(), "targets"_a.noconvert(),
          "target_offsets"_a.noconvert(), "keep"_a, "candidates"_a.noconvert(), "start"_a, "first"_a,
          "last"_a, "threads"_a, "isa"_a = "",
          nb::sig("def graph_leaves(" ROWS ", members: " ARRAY("uint32") ", offsets: "
                  ARRAY("int64") ", targets: " ARRAY("uint32") ", target_offsets: " ARRAY("int64")
                  ", keep: int, candidates: " ARRAY("uint64")
                  ", start: int, first: int, last: int, threads: int, isa: str = '') -> None"),
          "Merges the nearest targets of each leaf into the lists of its members.");
    m.def("graph_neighbours", &graph_neighbours, "rows"_a.noconvert(), "squares"_a.noconvert(),
          "candidates"_a.noconvert(), "start"_a, "alpha"_a, "neighbours"_a.noconvert(),
          "threads"_a, "isa"_a = "",
          nb::sig("def graph_neighbours(" ROWS ", candidates: " ARRAY("uint64")
                  ", start: int, alpha: float, neighbours: " ARRAY("uint32")
                  ", threads: int, isa: str = '') -> None"),
          "Writes diverse neighbours of rows from start on, chosen from their candidates.");
    m.def("graph_reverse", &graph_reverse, "rows"_a.noconvert(), "squares"_a.noconvert(),
          "neighbours"_a.noconvert(), "alpha"_a, "most"_a, "sources"_a.noconvert(), "threads"_a,
          "isa"_a = "",
          nb::sig("def graph_reverse(" ROWS ", neighbours: " ARRAY("uint32")
                  ", alpha: float, most: int, sources: " ARRAY("uint32")
                  ", threads: int, isa: str = '') -> None"),
          "Chooses again from the neighbours of each row and the rows it is a neighbour of.");
    m.def("graph_connect", &graph_connect, "rows"_a.noconvert(), "squares"_a.noconvert(),
          "neighbours"_a.noconvert(), "entries"_a.noconvert(),
          nb::sig("def graph_connect(" ROWS ", neighbours: " ARRAY("uint32") ", entries: "
                  ARRAY("uint32") ") -> int"),
          "Replaces edges until every row can be reached from the entries; returns how many.");
}
