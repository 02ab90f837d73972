// What the files that know Python share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstddef>

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

// Adds what reads, judges and merges candidates between the scan and the hits.
void add_candidates(nb::module_& module);

}  // namespace nestbit::python
