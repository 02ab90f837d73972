// Queries of walks as Python meets them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "module_cells.h"

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

}  // namespace

void nestbit::python::add_walk_queries(nb::module_& module) {
    module.def("round_queries", &round_queries, FLOAT_QUERIES_ARGUMENTS, "threads"_a, "isa"_a = "",
               nb::sig("def round_queries(" FLOAT_QUERIES_SIGNATURE ", threads: int, isa: str = '') "
                       "-> tuple[" ARRAY("uint8") ", " ARRAY("float32") ", " ARRAY("float32") ", "
                       ARRAY("int16") " | None, " ARRAY("float32") " | None, " ARRAY("float32") "]"),
               "Tables, scales and bases, weights and theirs, and the bias that all scores lack.");
}
