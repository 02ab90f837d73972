// Queries of walks as Python meets them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "module_query_map.h"

namespace {

using namespace nestbit;
using namespace nestbit::python;

nb::tuple round_queries(FLOAT_QUERIES, size_t threads, const std::string& isa) {
    const walking::FloatQueries queries =
        float_queries(z, first, width, books, bias, gain, weights, fine_bias, threads);
    const KernelTable& table = table_of(isa);
    const CellRanges& cells = queries.coarse.cells;
    const size_t m = queries.coarse.m;
    auto tables = new_array<uint8_t>(m, table_count(cells.count, cells.centroids), cells.centroids);
    auto scales = new_array<float>(m), bases = new_array<float>(m), common = new_array<float>(m);
    auto rounded = new_array<int16_t>(queries.weights ? m : 0, queries.dim);
    auto fine_scales = new_array<float>(queries.weights ? m : 0);
    const walking::RoundedQueries out{tables.data(),  scales.data(),      bases.data(),
                                      rounded.data(), fine_scales.data(), common.data()};
    size_t found = 0;
    {
        const nb::gil_scoped_release released;
        found = walking::round_queries(table, queries, out);
    }
    require(found == m, "queries must be finite");
    if (!queries.weights) {
        return nb::make_tuple(std::move(tables), std::move(scales), std::move(bases), nb::none(),
                              nb::none(), std::move(common));
    }
    return nb::make_tuple(std::move(tables), std::move(scales), std::move(bases), std::move(rounded),
                          std::move(fine_scales), std::move(common));
}

// What a map makes of embeddings: coordinates, bias, and with a finer level weights and its bias.
nb::tuple mapped(const QueryMap& map, const QueryRows& rows, size_t threads, const std::string& isa) {
    const RowBlock block = row_block(rows, "queries must be contiguous along the last axis");
    require(rows.shape(1) == map.dim(), "queries must have the map's dimensions");
    require(threads >= 1, "threads must be at least 1");
    const KernelTable& table = table_of(isa);
    const size_t m = block.count, fine = map.fine() ? m : 0;
    auto coordinates = new_array<float>(m, map.coordinates()), weights = new_array<float>(fine, map.dim());
    auto bias = new_array<float>(m), fine_bias = new_array<float>(fine);
    const walking::MappedQueries out{coordinates.data(), bias.data(), weights.data(), fine_bias.data(), nullptr, nullptr};
    {
        const nb::gil_scoped_release released;
        map(table, block, threads, out);
    }
    if (!map.fine()) return nb::make_tuple(std::move(coordinates), std::move(bias), nb::none(), nb::none());
    return nb::make_tuple(std::move(coordinates), std::move(bias), std::move(weights), std::move(fine_bias));
}

}  // namespace

void nestbit::python::add_walk_queries(nb::module_& module) {
    nb::class_<QueryMap>(module, "QueryMap", "What a codec makes of queries, of arrays that were checked.")
        .def(nb::init<bool, bool, bool, const PerQuery&, const SignRows&, bool, const CellInts&, const CellInts&,
                      const CellBook&, const std::optional<PerQuery>&, const std::optional<PerQuery>&>(),
             "unit"_a, "squared"_a, "centred"_a, "mean"_a.noconvert(), "coordinates"_a.noconvert(), "rotated"_a,
             "first"_a.noconvert(), "width"_a.noconvert(), "books"_a.noconvert(), "offset"_a.noconvert().none(),
             "step"_a.noconvert().none(),
             nb::sig("def __init__(self, unit: bool, squared: bool, centred: bool, mean: " ARRAY("float32")
                     ", coordinates: " ARRAY("float32") ", rotated: bool, first: " ARRAY("int32") ", width: "
                     ARRAY("int32") ", books: " ARRAY("float32") ", offset: " ARRAY("float32")
                     " | None, step: " ARRAY("float32") " | None) -> None"))
        .def("floats", &mapped, "rows"_a.noconvert(), "threads"_a, "isa"_a = "",
             nb::sig("def floats(self, rows: " ARRAY("float32") ", threads: int, isa: str = '') -> tuple["
                     ARRAY("float32") ", " ARRAY("float32") ", " ARRAY("float32") " | None, " ARRAY("float32")
                     " | None]"),
             "Coordinates, bias, and weights and a bias of the finer level, of embeddings.");
    module.def("round_queries", &round_queries, FLOAT_QUERIES_ARGUMENTS, "threads"_a, "isa"_a = "",
               nb::sig("def round_queries(" FLOAT_QUERIES_SIGNATURE ", threads: int, isa: str = '') "
                       "-> tuple[" ARRAY("uint8") ", " ARRAY("float32") ", " ARRAY("float32") ", "
                       ARRAY("int16") " | None, " ARRAY("float32") " | None, " ARRAY("float32") "]"),
               "Tables, scales and bases, weights and theirs, and the bias that all scores lack.");
}
