// A 64-byte aligned array of plain values that is not initialised.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace nestbit {

struct AlignedDelete {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
};

template <typename T>
using Buffer = std::unique_ptr<T[], AlignedDelete>;

template <typename T>
Buffer<T> make_buffer(size_t count) {
    return Buffer<T>(static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64})));
}

}  // namespace nestbit
