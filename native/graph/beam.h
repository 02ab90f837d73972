// The best rows a walk has met, in order.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "walk.h"

namespace nestbit::walking {

// A key orders rows by score, then by smaller number. Its lowest bit tells whether the row has been
// expanded and orders nothing, as no row is held twice; kMaxRows leaves it free.
inline uint64_t key_of(uint32_t ordered_score, uint32_t row) {
    return uint64_t{ordered_score} << 32 | (kMaxRows - 1 - row) << 1;
}
inline uint32_t row_of(uint64_t key) { return kMaxRows - 1 - (static_cast<uint32_t>(key) >> 1); }
inline float score_of(uint64_t key) {
    return std::bit_cast<float>(unordered_bits(static_cast<uint32_t>(key >> 32)));
}
inline uint32_t ordered(float score) { return ordered_bits(std::bit_cast<uint32_t>(score + 0.0f)); }

// The best of all keys that were inserted, best first: as many as have `wanted` that count among
// them, of which the last is one, or `room` if those are fewer. Rows that a filter leaves out do not
// count, and none is inserted twice. What comes in together or one by one makes no difference.
class Beam {
public:
    // `batch`: the most keys inserted at once. `merge` puts them in where wanted == room: what
    // counts then makes no difference.
    Beam(size_t wanted, size_t room, size_t batch, MergeFn merge)
        : wanted_(wanted), room_(room), merge_(wanted == room && room <= kMostMerged ? merge : nullptr),
          keys_(std::max(room + batch + 1, round_up(room + 1, kMerged))), places_(batch) {}

    void clear() {
        if (merge_) std::fill(keys_.begin(), keys_.end(), kEnd);
        keys_[size_ = counting_ = next_ = 0] = kEnd;
    }
    size_t size() const { return size_; }
    uint64_t operator[](size_t i) const { return keys_[i]; }
    bool full() const { return counting_ == wanted_ || size_ == room_; }
    uint64_t worst() const { return keys_[size_ - 1]; }

    // `counts(key)` tells whether a key's row counts.
    template <typename Counts>
    void insert(uint64_t* from, size_t count, const Counts& counts) {
        uint64_t* const keys = keys_.data();
        if (count == 0) return;
        if (merge_) {
            next_ = merge_(keys, room_, from, count);
            std::fill(keys + room_, keys + round_up(room_, kMerged), kEnd);
            counting_ = size_ = std::min(room_, size_ + count);
            return;
        }
        for (size_t i = 0; i < count; ++i) places_[i] = places_before(from[i]);
        sort(from, count);
        next_ = std::min(next_, places_[0]);
        size_t end = size_;
        for (size_t i = count; i-- > 0; end = places_[i]) {
            uint64_t* const place = keys + places_[i];
            std::memmove(place + i + 1, place, (end - places_[i]) * sizeof(uint64_t));
            place[i] = from[i];
            counting_ += counts(from[i]);
        }
        size_ += count;
        while (size_ > room_ || counting_ > wanted_ ||
               (counting_ == wanted_ && !counts(keys[size_ - 1]))) {
            counting_ -= counts(keys[--size_]);
        }
        keys[size_] = kEnd;
    }

    // The place of the best row that has not been expanded, or kNone.
    static constexpr size_t kNone = SIZE_MAX;
    size_t next() {
        while (next_ < size_ && keys_[next_] & 1) ++next_;
        return next_ < size_ ? next_ : kNone;
    }
    uint32_t expand(size_t at) {
        keys_[at] |= 1;
        return row_of(keys_[at]);
    }

private:
    static constexpr uint64_t kEnd = 0;  // no key: its score would be a NaN

    // How many keys are better, without a branch that depends on them: it would be mispredicted.
    size_t places_before(uint64_t key) const {
        const uint64_t* from = keys_.data();
        size_t left = size_;
        while (left > 1) {
            const size_t half = left / 2;
            from += half & (size_t{0} - static_cast<size_t>(from[half - 1] > key));
            left -= half;
        }
        return static_cast<size_t>(from - keys_.data()) + (left && *from > key);
    }

    // A few keys with their places_, best first.
    void sort(uint64_t* keys, size_t count) {
        for (size_t i = 1; i < count; ++i) {
            const uint64_t key = keys[i];
            const size_t place = places_[i];
            size_t to = i;
            for (; to > 0 && keys[to - 1] < key; --to) {
                keys[to] = keys[to - 1];
                places_[to] = places_[to - 1];
            }
            keys[to] = key;
            places_[to] = place;
        }
    }

    size_t wanted_, room_, size_ = 0, counting_ = 0, next_ = 0;
    MergeFn merge_;
    std::vector<uint64_t> keys_;  // kEnd after the last
    std::vector<size_t> places_;
};

}  // namespace nestbit::walking
