#include "allowed.h"

#include <bit>
#include <cstring>

namespace nestbit {

uint64_t Bitmap::word(size_t first, size_t last) const {
    const size_t count = std::min<size_t>(64, last - first);
    uint64_t bits = ~uint64_t{0};
    if (bytes_) {
        const uint8_t* from = bytes_ + first / 8;
        const size_t shift = first % 8, bytes = (shift + count + 7) / 8;  // at most 9
        bits = 0;
        if (bytes >= 8) {
            std::memcpy(&bits, from, 8);
        } else {
            std::memcpy(&bits, from, bytes);
        }
        bits >>= shift;
        if (bytes == 9) bits |= uint64_t{from[8]} << (64 - shift);
    }
    return count == 64 ? bits : bits & ((uint64_t{1} << count) - 1);
}

size_t Bitmap::count(Range rows) const {
    size_t total = 0;
    for (size_t r = rows.first; r < rows.last; r += 64) {
        total += static_cast<size_t>(std::popcount(word(r, rows.last)));
    }
    return total;
}

VisitedRows::VisitedRows(size_t n, const Bitmap& mask,
                         std::optional<std::span<const int64_t>> ranges, bool apart)
    : apart_(apart) {
    const int64_t all[] = {0, static_cast<int64_t>(n)};
    const std::span<const int64_t> ends = ranges ? *ranges : std::span<const int64_t>(all);
    for (size_t i = 0; i < ends.size(); i += 2) {
        const Range range{static_cast<size_t>(ends[i]), static_cast<size_t>(ends[i + 1])};
        if (!mask) append(range, range.size(), i / 2);
        for (size_t r = range.first; mask && r < range.last;) {
            const Range window{r, std::min(range.last, (r / kWindow + 1) * kWindow)};
            append(window, mask.count(window), i / 2);
            r = window.last;
        }
    }
}

void VisitedRows::append(Range rows, size_t allowed, size_t range) {
    if (allowed == 0) return;
    if (!runs_.empty() && runs_.back().rows.last == rows.first &&
        (!apart_ || runs_.back().range == range)) {
        runs_.back().rows.last = rows.last;
    } else {
        runs_.push_back({size_, rows, range});
    }
    size_ += rows.size();
    allowed_ += allowed;
}

}  // namespace nestbit
