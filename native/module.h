// What the files that know Python share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "dispatch.h"

namespace nb = nanobind;
using namespace nb::literals;

// Signatures as the typed stub shows them.
#define ARRAY(T) "numpy.typing.NDArray[numpy." T "]"
#define ANY_ARRAY "numpy.typing.NDArray[typing.Any]"

namespace nestbit::python {

inline void require(bool condition, const char* what) {
    if (!condition) throw nb::value_error(what);
}

template <typename T, typename... Sizes>
auto new_array(Sizes... sizes) {
    T* data = new T[std::max<size_t>(1, (sizes * ...))];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T, nb::ndim<sizeof...(Sizes)>>(data, {static_cast<size_t>(sizes)...}, owner);
}

inline const KernelTable& table_of(const std::string& isa) {
    try {
        return nestbit::table_for(isa);
    } catch (const std::invalid_argument& error) {
        throw nb::value_error(error.what());
    }
}

template <typename Array>
RowBlock row_block(const Array& rows, const char* what) {
    const size_t item = rows.itemsize();
    const bool contiguous = rows.shape(0) == 0 || rows.shape(1) == 1 || rows.stride(1) == 1;
    require(rows.shape(1) > 0 && contiguous, what);
    const void* data = rows.data();
    return {static_cast<const uint8_t*>(data), rows.stride(0) * static_cast<ptrdiff_t>(item),
            rows.shape(0), rows.shape(1) * item};
}

inline bool is_half(const auto& array) {
    constexpr auto f = static_cast<uint8_t>(nb::dlpack::dtype_code::Float);
    return array.dtype().code == f && array.dtype().bits == 16;
}

inline void check_signals() {
    const nb::gil_scoped_acquire held;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

// Adds what reads, judges and merges candidates between the scan and the hits.
void add_candidates(nb::module_& module);

// Adds what builds a graph.
void add_graph_build(nb::module_& module);

// Adds what walks one.
void add_graph_walk(nb::module_& module);

// Adds what queries of walks become.
void add_walk_queries(nb::module_& module);

}  // namespace nestbit::python
