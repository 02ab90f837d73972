#!/usr/bin/env bash
# Runs the C++ kernel tests on CPUs this machine does not have: NEON on aarch64, AVX2 on Haswell,
# the plain kernels on an x86-64 before AVX2. Usage: run_qemu.sh [BUILD_DIR]
# Debian: apt-get install qemu-user g++-aarch64-linux-gnu
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build/qemu}

missing=
for tool in cmake "${CXX:-c++}" aarch64-linux-gnu-g++ qemu-aarch64 qemu-x86_64; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    echo "run_qemu.sh: missing:$missing (Debian: apt-get install qemu-user g++-aarch64-linux-gnu)" >&2
    exit 1
fi

build_tests() {  # DIR [CMAKE OPTIONS]
    cmake -S "$root" -B "$1" -DCMAKE_BUILD_TYPE=Release -DNESTBIT_PYTHON=OFF \
        -DNESTBIT_NATIVE_TESTS=ON -DCMAKE_EXE_LINKER_FLAGS=-static "${@:2}" >/dev/null
    cmake --build "$1" --parallel
}

# qemu warns of features of a CPU model it does not emulate; the kernels use none of them.
on() {  # QEMU CPU BINARY [INSTRUCTION SET...]
    "$1" -cpu "$2" "${@:3}" 2> >(grep -v "TCG doesn't support requested feature" >&2)
}

# Each run names the instruction set it is about: it fails where the dispatch does not find it.
build_tests "$build/aarch64" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
echo "aarch64 with dotprod:"
on qemu-aarch64 max "$build/aarch64/nestbit_kernel_tests" scalar neon
echo "aarch64 without dotprod:"
if on qemu-aarch64 cortex-a53 "$build/aarch64/nestbit_kernel_tests" neon >/dev/null; then
    echo "run_qemu.sh: NEON with dotprod was chosen on a CPU without it" >&2
    exit 1
fi
on qemu-aarch64 cortex-a53 "$build/aarch64/nestbit_kernel_tests" scalar

build_tests "$build/x86_64"
echo "x86-64 Haswell:"
on qemu-x86_64 Haswell "$build/x86_64/nestbit_kernel_tests" scalar avx2
echo "x86-64 Nehalem:"
if on qemu-x86_64 Nehalem "$build/x86_64/nestbit_kernel_tests" avx2 >/dev/null; then
    echo "run_qemu.sh: AVX2 was chosen on a CPU without it" >&2
    exit 1
fi
on qemu-x86_64 Nehalem "$build/x86_64/nestbit_kernel_tests" scalar
