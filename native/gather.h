// Rows of an open file at sorted places, as one call: neighbours are one read, what the page cache
// holds is copied at once, and the disk is told of all the rest before the first of it is waited
// for. It reads a descriptor of the caller's and keeps nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nestbit {

// An array of rows of `width` bytes from byte `start` of the file on; `out` takes the rows asked.
struct FileColumn {
    int64_t start;
    size_t width;
    uint8_t* out;
};

constexpr int kTruncated = -1;

// Copies the rows at `places`, ascending and distinct, of every column. Returns 0, the errno of
// the read that failed, or kTruncated where the file ends before a row does.
int gather_rows(int descriptor, std::span<const FileColumn> columns,
                std::span<const int64_t> places);

}  // namespace nestbit
