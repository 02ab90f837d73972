// Which rows a scan may find: those of some ranges, of a bitmap, of both, or all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nestbit {

struct Range {
    size_t first, last;
    size_t size() const { return last - first; }
};

// Bit r % 8 of byte r / 8 tells whether row r may be found. Without bytes every row may.
class Bitmap {
public:
    explicit Bitmap(const uint8_t* bytes) : bytes_(bytes) {}

    explicit operator bool() const { return bytes_ != nullptr; }
    bool has(size_t row) const { return !bytes_ || (bytes_[row / 8] >> row % 8 & 1); }
    // Rows first, first + 1, ... as bits 0, 1, ...; zero for those from first + 64 or last on.
    uint64_t word(size_t first, size_t last) const;
    size_t count(Range rows) const;

private:
    const uint8_t* bytes_;
};

// Rows are let in or left out by windows, which start at multiples of this many.
inline constexpr size_t kWindow = 1024;

// The rows a scan visits, ascending: the ranges less the windows that have no allowed row. A
// position counts visited rows from 0; parts of equal length in positions are equal work.
class VisitedRows {
public:
    // `ranges`: first and last of each, sorted and apart; nothing means all n rows. Kept `apart`,
    // neighbouring ranges are visited one by one.
    VisitedRows(size_t n, const Bitmap& mask, std::optional<std::span<const int64_t>> ranges,
                bool apart = false);

    size_t size() const { return size_; }
    size_t allowed() const { return allowed_; }

    // Calls visit(rows, number of the range, first row that comes next) for the rows at these
    // positions until it returns false. The number is that of the first of ranges that are not kept
    // apart; next to the last comes the end of its own.
    template <typename Visit>
    void for_each(Range positions, const Visit& visit) const {
        auto run = std::upper_bound(
            runs_.begin(), runs_.end(), positions.first,
            [](size_t position, const Run& other) { return position < other.position; });
        for (size_t at = positions.first; at < positions.last; ++run) {
            const Run& here = *(run - 1);
            const size_t first = here.rows.first + (at - here.position);
            const size_t size = std::min(here.rows.last - first, positions.last - at);
            const size_t last = first + size;
            const size_t next = last == here.rows.last && run != runs_.end() ? run->rows.first : last;
            if (!visit(Range{first, last}, here.range, next)) return;
            at += size;
        }
    }

private:
    struct Run {
        size_t position;
        Range rows;
        size_t range;
    };
    void append(Range rows, size_t allowed, size_t range);

    std::vector<Run> runs_;
    size_t size_ = 0, allowed_ = 0;
    bool apart_;
};

}  // namespace nestbit
