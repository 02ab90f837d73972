// The best k of a stream of keys. A key is one uint64 whose order is the whole order of results
// (score descending, then row ascending), so comparing keys is comparing results.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "kernels.h"

namespace nestbit {

inline float score_of(uint64_t key) {
    return std::bit_cast<float>(unordered_bits(static_cast<uint32_t>(key >> 32)));
}
inline uint32_t row_of(uint64_t key) { return ~static_cast<uint32_t>(key); }

// Moves the k largest of `n` distinct keys to the front, k <= n; returns the smallest of them.
// Quickselect whose partition has no branch to mispredict: about three times as fast here as
// std::nth_element.
inline uint64_t keep_largest(uint64_t* keys, size_t n, size_t k) {
    uint64_t* const kth = keys + (k - 1);
    uint64_t *first = keys, *last = keys + n;
    while (last - first > 24) {
        const ptrdiff_t size = last - first;
        const uint64_t a = first[size / 4], b = first[size / 2], c = first[size / 4 * 3];
        // The median of three distinct keys: neither side of the partition is empty.
        const uint64_t pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
        uint64_t* larger = first;
        for (uint64_t* p = first; p < last; ++p) {
            const uint64_t key = *p;
            *p = *larger;
            *larger = key;
            larger += key > pivot;
        }
        (kth < larger ? last : first) = larger;
    }
    std::nth_element(first, kth, last, std::greater<>());
    return *kth;
}

// Keys are appended at end() and counted with add(); once the buffer holds about 2k of them it
// is cut back to the best k, whose worst score becomes the threshold. Rows arrive in ascending
// order, so a later row with the threshold's score can never enter: a strict compare is exact.
class TopK {
public:
    // `burst`: the most keys a single append may bring.
    TopK(size_t k, size_t burst) : k_(k), cut_at_(2 * k + 32), keys_(cut_at_ + burst) {}

    uint64_t* end() { return keys_.data() + size_; }
    float threshold() const { return threshold_; }

    void add(size_t count) {
        size_ += count;
        if (size_ >= cut_at_) cut();
    }

    // Best first.
    std::vector<uint64_t> sorted() {
        cut();
        keys_.resize(size_);
        std::sort(keys_.begin(), keys_.end(), std::greater<>());
        return std::move(keys_);
    }

private:
    void cut() {
        if (size_ <= k_) return;
        const uint64_t worst = keep_largest(keys_.data(), size_, k_);
        size_ = k_;
        threshold_ = score_of(worst);
    }

    size_t k_, cut_at_, size_ = 0;
    float threshold_ = std::numeric_limits<float>::quiet_NaN();  // takes everything
    std::vector<uint64_t> keys_;
};

}  // namespace nestbit
