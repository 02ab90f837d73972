// Fetching of rows ahead of their use, for the AVX-512 kernels of cells.
#pragma once

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {

inline constexpr size_t kRows = 16;  // rows that are transposed together
inline constexpr int kL1 = 3, kL2 = 2;  // caches to fetch into, as localities of __builtin_prefetch

// Fetches rows into a cache while those before them are worked on, a few lines for each group
// of four bytes of 16 rows: fetches that come together queue up, even four make the scan of long
// rows half as slow again; the waits keep the compiler from bringing them together. An address
// past the last row is harmless.
template <int locality>
struct FetchRows {
    uintptr_t row, stride;
    size_t width, at, lines;

    static inline FetchRows from(const RowBlock& rows, size_t first) {
        const auto stride = static_cast<uintptr_t>(rows.stride);
        const size_t groups = (rows.width + 3) / 4, lines = kRows * ((rows.width + 63) / 64);
        return {reinterpret_cast<uintptr_t>(rows.data) + first * stride, stride, rows.width, 0,
                (lines + groups - 1) / groups};
    }
    void group() {
        for (size_t i = 0; i < lines; ++i) {
            __builtin_prefetch(reinterpret_cast<const void*>(row + at), 0, locality);
            at += 64;
            if (at < width) continue;
            row += stride;
            at = 0;
        }
    }
    void wait_for(V& v) { __asm__ volatile("" : "+r"(row), "+v"(v)); }
    void wait_for_stores() { __asm__ volatile("" : "+r"(row) : : "memory"); }
};

// The same for rows without gaps, and beyond the last of them for what is read next.
template <int locality>
struct FetchBytes {
    uintptr_t line, end, next;

    static inline FetchBytes from(const RowBlock& rows, size_t first) {
        const auto begin = reinterpret_cast<uintptr_t>(rows.data);
        const uintptr_t end = begin + rows.count * rows.width, line = begin + first * rows.width;
        if (!rows.next) return {line, UINTPTR_MAX, 0};
        const auto next = reinterpret_cast<uintptr_t>(rows.next);
        if (line < end) return {line, end, next};
        return {next + (line - end), UINTPTR_MAX, 0};
    }
    void group() {
        __builtin_prefetch(reinterpret_cast<const void*>(line), 0, locality);
        line += 64;
        if (line >= end) [[unlikely]] {
            line = next;
            end = UINTPTR_MAX;
        }
    }
    void wait_for(V& v) { __asm__ volatile("" : "+r"(line), "+v"(v)); }
    void wait_for_stores() { __asm__ volatile("" : "+r"(line) : : "memory"); }
};

static inline bool without_gaps(const RowBlock& rows) {
    return rows.stride == static_cast<ptrdiff_t>(rows.width);
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END
