// Building a graph over int8 rows: candidates from leaves, diverse neighbours, one reachable whole.
//
// Distances are squared and exact: integers below 2^32, so every step gives the same graph on every
// instruction set and for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "kernels.h"

namespace nestbit::graph {

// 4 * 127^2 * 65536 < 2^32 needs no more room than this.
inline constexpr size_t kMaxGraphDim = 65536;

// The most candidates or neighbours of a row.
inline constexpr size_t kMostCandidates = kQueryTile;

// `count` rows of `dim` values in -127..127, contiguous; squares[r] = sum of the squares of row r.
struct Rows {
    const int8_t* data;
    size_t count, dim;
    const uint32_t* squares;

    const int8_t* row(size_t r) const { return data + r * dim; }
};

// A neighbour as one integer whose order is that of distance, then row.
using Key = uint64_t;
inline constexpr Key kNoKey = ~Key{0};
inline constexpr Key key_of(uint32_t distance, uint32_t row) { return Key{distance} << 32 | row; }
inline constexpr uint32_t row_of(Key key) { return static_cast<uint32_t>(key); }
inline constexpr uint32_t distance_of(Key key) { return static_cast<uint32_t>(key >> 32); }

// Leaf l holds the rows numbers[offsets[l]] to numbers[offsets[l + 1] - 1], each once.
struct Leaves {
    std::span<const uint32_t> numbers;
    std::span<const int64_t> offsets;

    size_t count() const { return offsets.size() - 1; }
    std::span<const uint32_t> of(size_t l) const {
        const auto first = static_cast<size_t>(offsets[l]);
        return numbers.subspan(first, static_cast<size_t>(offsets[l + 1]) - first);
    }
};

// A list of each of `count` rows from `start` on: slots first .. last - 1 of `slots`. Unused slots
// hold kNoKey.
struct CandidateLists {
    Key* keys;
    size_t start, count, slots, first, last;

    bool has(size_t row) const { return row - start < count; }
    std::span<Key> of(size_t row) const {
        return {keys + (row - start) * slots + first, last - first};
    }
};

// Calls `poll` on the calling thread now and then; an exception from it ends the work.
using Poll = std::function<void()>;

// Merges the nearest `keep` targets of a leaf into the list of each of its members that has one,
// nearest first, each at most once. Both have as many leaves.
void add_leaves(const KernelTable& table, const Rows& rows, const Leaves& members,
                const Leaves& targets, size_t keep, const CandidateLists& lists, size_t threads,
                const Poll& poll);

struct PruneOptions {
    size_t degree;
    float alpha;  // of squared distances
    size_t threads;
};

// Chooses at most `degree` neighbours of each row that has a list, from its candidates in any order,
// repeated or not. Writes (lists.count, degree) numbers: first the diverse ones, by distance, then
// those that least stands before. Slots left over hold the row's own number.
void choose_neighbours(const KernelTable& table, const Rows& rows, const CandidateLists& lists,
                       const PruneOptions& options, uint32_t* neighbours, const Poll& poll);

// Chooses again from the neighbours (rows.count, degree) of each row and the rows it is a neighbour
// of, the nearest `most` of all. Where some `sources` are given, they alone count as such, and only
// their neighbours choose again.
void add_reverse(const KernelTable& table, const Rows& rows, const PruneOptions& options,
                 size_t most, std::span<const uint32_t> sources, uint32_t* neighbours,
                 const Poll& poll);

// Replaces edges so that a walk from the entries can reach every row; returns how many.
size_t connect(const Rows& rows, uint32_t* neighbours, size_t degree,
               std::span<const uint32_t> entries, const Poll& poll);

}  // namespace nestbit::graph
