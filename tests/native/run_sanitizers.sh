#!/usr/bin/env bash
# Builds the kernels and their C++ tests with address and undefined-behaviour sanitizers and runs
# them for every instruction set of this machine. Usage: run_sanitizers.sh [BUILD_DIR]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build/sanitize}

for tool in cmake "${CXX:-c++}"; do
    command -v "$tool" >/dev/null || { echo "run_sanitizers.sh: $tool is missing" >&2; exit 1; }
done
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DNESTBIT_PYTHON=OFF \
    -DNESTBIT_NATIVE_TESTS=ON -DNESTBIT_SANITIZE=ON >/dev/null
cmake --build "$build" --parallel
ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
    "$build/nestbit_kernel_tests" "${@:2}"
