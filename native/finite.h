// Whether an array of floats is free of NaN and infinity.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestbit {

// The floats given as their bits: float16 or float32.
bool all_finite(const uint16_t* bits, size_t count);
bool all_finite(const uint32_t* bits, size_t count);

}  // namespace nestbit
