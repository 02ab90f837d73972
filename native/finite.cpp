#include "finite.h"

#include <algorithm>

namespace nestbit {
namespace {

// Blocks without a branch inside, which compilers turn into vectors.
template <typename T>
bool all_below(const T* bits, size_t count, T magnitude, T infinity) {
    constexpr size_t kBlock = 4096;
    for (size_t i = 0; i < count; i += kBlock) {
        const size_t end = std::min(count, i + kBlock);
        T found = 0;
        for (size_t j = i; j < end; ++j) {
            found = static_cast<T>(found | ((bits[j] & magnitude) >= infinity));
        }
        if (found) return false;
    }
    return true;
}

}  // namespace

bool all_finite(const uint16_t* bits, size_t count) {
    return all_below<uint16_t>(bits, count, 0x7fff, 0x7c00);
}

bool all_finite(const uint32_t* bits, size_t count) {
    return all_below<uint32_t>(bits, count, 0x7fffffff, 0x7f800000);
}

}  // namespace nestbit
