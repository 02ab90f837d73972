// Candidates: in every leaf each row is compared with all targets, and its nearest are kept.
//
// The candidates are the best of a set of keys, which depends neither on the order in which leaves
// are merged nor on what a thread sees of the others' work: rows are only passed over where they
// are farther than a full list's last.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "graph/products.h"
#include "graph/tasks.h"
#include "topk.h"

namespace nestbit::graph {
namespace {

constexpr size_t kTile = 128;   // rows of a leaf multiplied with all its rows at once
constexpr size_t kBurst = 128;  // products looked through before the best are cut back
constexpr size_t kLocks = 4096;
constexpr float kRounding = 1e-6f;  // share by which no float score is off

class Candidates {
public:
    explicit Candidates(const CandidateLists& lists) : lists_(lists), locks_(kLocks) {}

    bool has(uint32_t row) const { return lists_.has(row); }

    // The distance beyond which no row can become a candidate of this one.
    uint32_t bound(uint32_t row) {
        const std::scoped_lock lock(locks_[row % kLocks]);
        return distance_of(lists_.of(row).back());
    }

    // Merges sorted keys. `merged` has room for a list.
    void merge(uint32_t row, std::span<const Key> more, std::vector<Key>& merged) {
        const std::scoped_lock lock(locks_[row % kLocks]);
        const std::span<Key> own = lists_.of(row);
        if (more.empty() || more[0] > own.back()) return;
        size_t a = 0, b = 0;
        for (size_t i = 0; i < own.size(); ++i) {
            const Key x = own[a], y = b < more.size() ? more[b] : kNoKey;
            merged[i] = std::min(x, y);
            a += x <= y;
            b += y <= x;
        }
        std::copy(merged.begin(), merged.end(), own.begin());
    }

private:
    const CandidateLists& lists_;
    std::vector<std::mutex> locks_;
};

class LeafWork {
public:
    LeafWork(const KernelTable& table, const Rows& rows, Candidates& candidates, size_t keep,
             size_t slots, size_t most)
        : table_(table),
          rows_(rows),
          candidates_(candidates),
          keep_(keep),
          products_(table, rows, most, kTile),
          found_(2 * (keep + 1) + 32 + kBurst),
          merged_(slots),
          bias_(most) {}

    void add(std::span<const uint32_t> members, std::span<const uint32_t> targets) {
        listed_.clear();
        for (const uint32_t row : members) {
            if (candidates_.has(row)) listed_.push_back(row);
        }
        if (targets.empty() || listed_.empty()) return;
        products_.load(targets);
        for (size_t i = 0; i < targets.size(); ++i) {
            bias_[i] = -static_cast<float>(rows_.squares[targets[i]]);
        }
        const std::span<const uint32_t> listed(listed_);
        for (size_t first = 0; first < listed.size(); first += kTile) {
            const auto tile = listed.subspan(first, std::min(kTile, listed.size() - first));
            products_.multiply(tile);
            for (size_t i = 0; i < tile.size(); ++i) add_row(tile[i], targets, products_.of(i));
        }
    }

private:
    void add_row(uint32_t row, std::span<const uint32_t> targets, const int32_t* dots) {
        const uint32_t square = rows_.squares[row];
        const size_t found = nearest(targets.size(), dots, square, candidates_.bound(row));
        size_t kept = 0;
        for (size_t j = 0; j < found; ++j) {
            const uint32_t at = nestbit::row_of(found_[j]), target = targets[at];
            if (target == row) continue;
            const uint32_t distance =
                square + rows_.squares[target] - 2 * static_cast<uint32_t>(dots[at]);
            found_[kept++] = key_of(distance, target);
        }
        std::sort(found_.begin(), found_.begin() + static_cast<ptrdiff_t>(kept));
        candidates_.merge(row, {found_.data(), std::min(kept, keep_)}, merged_);
    }

    // Puts the nearest targets, the row itself among them, in front of found_; returns how many.
    size_t nearest(size_t count, const int32_t* dots, uint32_t square, uint32_t bound) {
        const size_t k = keep_ + 1;
        // |a|^2 - d = 2ab - |b|^2, a score of which more is nearer.
        const auto own = static_cast<float>(square), farthest = static_cast<float>(bound);
        float threshold = own - farthest - kRounding * (own + farthest) - 1.0f;
        size_t found = 0;
        for (size_t from = 0; from < count; from += kBurst) {
            const Scoring scoring{2.0f, 0.0f, nullptr, nullptr, bias_.data() + from};
            found += table_.select(dots + from, std::min(kBurst, count - from), scoring, threshold,
                                   static_cast<uint32_t>(from), found_.data() + found);
            const bool last = from + kBurst >= count;
            if (found > k && (last || found >= 2 * k + 32)) {
                threshold = score_of(keep_largest(found_.data(), found, k));
                found = k;
            }
        }
        return found;
    }

    const KernelTable& table_;
    const Rows& rows_;
    Candidates& candidates_;
    size_t keep_;
    Products products_;
    std::vector<uint32_t> listed_;  // members that have a list
    std::vector<uint64_t> found_;
    std::vector<Key> merged_;
    std::vector<float> bias_;
};

}  // namespace

void add_leaves(const KernelTable& table, const Rows& rows, const Leaves& members,
                const Leaves& targets, size_t keep, const CandidateLists& lists, size_t threads,
                const Poll& poll) {
    size_t most = 1;
    for (size_t l = 0; l < targets.count(); ++l) most = std::max(most, targets.of(l).size());
    Candidates candidates(lists);
    Poller poller(poll);
    std::atomic<size_t> next{0};
    std::atomic<bool> stop{false};
    const size_t workers = std::min(threads, members.count());
    parallel_for(workers, workers, [&](size_t) {
        try {
            LeafWork work(table, rows, candidates, keep, lists.last - lists.first, most);
            for (size_t l; !stop && (l = next.fetch_add(1)) < members.count(); poller()) {
                work.add(members.of(l), targets.of(l));
            }
        } catch (...) {
            stop = true;
            throw;
        }
    });
}

}  // namespace nestbit::graph
