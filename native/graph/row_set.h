// A set of row numbers. Open addressing, at most half full, and a quarter if as many came as were
// expected, so that a row is mostly found or missed at the first look; nothing in it branches on
// which rows come, as that is never predicted.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace nestbit::walking {

class RowSet {
public:
    // Holds any rows but the largest number; `expected` of them without growing.
    explicit RowSet(size_t expected) { reserve(std::bit_ceil(std::max<size_t>(64, 4 * expected))); }

    void clear() {
        std::fill(slots_.begin(), slots_.end(), kEmpty);
        size_ = 0;
    }

    // To be called before add() is for so many rows.
    void make_room(size_t rows) {
        while (2 * (size_ + rows) > slots_.size()) grow();
    }

    // Whether it was not there.
    bool add(uint32_t row) {
        uint32_t* slot = find(row);
        const bool is_new = *slot != row;
        *slot = row;
        size_ += is_new;
        return is_new;
    }

private:
    static constexpr uint32_t kEmpty = UINT32_MAX;

    void reserve(size_t slots) {
        slots_.assign(slots, kEmpty);
        shift_ = 32 - std::countr_zero(slots);
    }

    uint32_t* find(uint32_t row) {
        const size_t mask = slots_.size() - 1;
        size_t at = row * 2654435769u >> shift_;
        // A product, lest two conditions become two branches.
        while (uint64_t{slots_[at] ^ kEmpty} * (slots_[at] ^ row) != 0) at = (at + 1) & mask;
        return &slots_[at];
    }

    void grow() {
        const std::vector<uint32_t> old = std::move(slots_);
        reserve(2 * old.size());
        for (const uint32_t row : old) {
            if (row != kEmpty) *find(row) = row;
        }
    }

    std::vector<uint32_t> slots_;
    size_t size_ = 0;
    int shift_ = 0;
};

}  // namespace nestbit::walking
