#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace nestbit {
namespace {

#if defined(__x86_64__)
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c") && __builtin_cpu_supports("popcnt");
}

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2");
}

// Linux enables the tile registers of a process only on request; the permission is inherited by
// its threads. A system that cannot be asked this way is taken not to have them.
bool has_amx() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
    if ((edx & (tile | int8)) != (tile | int8)) return false;
    constexpr long req_xcomp_perm = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, req_xcomp_perm, tile_data) == 0;
#else
    return false;
#endif
}
#elif defined(__aarch64__)
bool has_neon_dotprod() {
#if defined(__APPLE__)
    return true;
#elif defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return false;
#endif
}
#endif

std::vector<const KernelTable*> detect() {
    std::vector<const KernelTable*> tables{&kScalar};
#if defined(__x86_64__)
    if (has_avx2()) tables.push_back(&kAvx2);
    if (has_avx512()) tables.push_back(&kAvx512);
    if (has_amx()) tables.push_back(&kAmx);
#elif defined(__aarch64__)
    if (has_neon_dotprod()) tables.push_back(&kNeon);
#endif
    return tables;
}

const KernelTable& find(std::string_view name, std::string_view asked_by) {
    std::string names;
    for (const KernelTable* table : available()) {
        if (table->name == name) return *table;
        names += names.empty() ? "" : ", ";
        names += table->name;
    }
    throw std::invalid_argument(std::string(asked_by) + " asks for the instruction set '" +
                                std::string(name) + "', but this machine has: " + names);
}

}  // namespace

const std::vector<const KernelTable*>& available() {
    static const std::vector<const KernelTable*> tables = detect();
    return tables;
}

const KernelTable& table_for(std::string_view name) {
    if (!name.empty()) return find(name, "the caller");
    static const KernelTable& chosen = [&]() -> const KernelTable& {
        const char* forced = std::getenv("NESTBIT_ISA");
        return forced && *forced ? find(forced, "NESTBIT_ISA") : *available().back();
    }();
    return chosen;
}

}  // namespace nestbit
