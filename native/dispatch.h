// Which instruction sets this CPU can run, and the one chosen.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels.h"

namespace nestbit {

// Tables this CPU and operating system can run, plainest first.
const std::vector<const KernelTable*>& available();

// The table called `name`; for an empty name the one of the environment variable NESTBIT_ISA,
// or else the best. Throws std::invalid_argument, listing the available names.
const KernelTable& table_for(std::string_view name);

}  // namespace nestbit
