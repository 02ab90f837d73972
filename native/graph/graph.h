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

// A list of each row: slots first .. last - 1 of `slots`. Unused slots hold kNoKey.
struct CandidateLists {
    Key* keys;
    size_t slots, first, last;

    std::span<Key> of(size_t row) const { return {keys + row * slots + first, last - first}; }
};

// Calls `poll` on the calling thread now and then; an exception from it ends the work.
using Poll = std::function<void()>;

// Merges the nearest `keep` targets of a leaf into the list of each of its members, nearest first,
// each at most once. Both have as many leaves.
void add_leaves(const KernelTable& table, const Rows& rows, const Leaves& members,
                const Leaves& targets, size_t keep, const CandidateLists& lists, size_t threads,
                const Poll& poll);

struct PruneOptions {
    size_t degree;
    float alpha;  // of squared distances
    size_t most;  // candidates considered with the reverse edges, the nearest of all
    size_t threads;
};

// Chooses at most `degree` neighbours of each row from its `slots` candidates, in any order and
// repeated or not, then from these and the rows that chose it. Writes (count, degree) numbers: first
// the diverse ones, by distance, then those that least stands before. Slots left over hold the
// row's own number. The candidates are overwritten.
void choose_neighbours(const KernelTable& table, const Rows& rows, Key* candidates, size_t slots,
                       const PruneOptions& options, uint32_t* neighbours, const Poll& poll);

// Replaces edges so that a walk from the entries can reach every row; returns how many.
size_t connect(const Rows& rows, uint32_t* neighbours, size_t degree,
               std::span<const uint32_t> entries, const Poll& poll);

}  // namespace nestbit::graph
