// Diverse neighbours: of the candidates, nearest first, those that no chosen one stands before.
//
// The rule is RobustPrune of Vamana (Subramanya et al., "DiskANN", 2019); where it chooses too few,
// those least hidden follow. All distances it asks for come from one product of the candidates with
// themselves. It is applied twice: to the candidates of each row, and to what it chose together with
// the rows that chose it.
#include <algorithm>
#include <limits>
#include <vector>

#include "graph/products.h"
#include "graph/tasks.h"

namespace nestbit::graph {
namespace {

constexpr size_t kRowsPerTask = 512;
constexpr float kChosen = std::numeric_limits<float>::infinity();

class Pruner {
public:
    Pruner(const KernelTable& table, const Rows& rows, const PruneOptions& options, size_t most)
        : rows_(rows), options_(options), products_(table, rows, most, most), hidden_(most) {}

    // At most `degree` of at most `most` sorted candidates.
    std::span<const Key> prune(std::span<const Key> found) {
        chosen_.clear();
        if (found.empty()) return chosen_;
        numbers_.clear();
        for (const Key key : found) numbers_.push_back(row_of(key));
        products_.load(numbers_);
        products_.multiply_first(found.size());
        std::fill_n(hidden_.begin(), found.size(), 0.0f);
        for (size_t i = 0; i < found.size() && chosen_.size() < options_.degree; ++i) {
            // Of d(r, c) / d(p, c) >= alpha: p stands before c.
            if (hidden_[i] < options_.alpha) choose(i, found);
        }
        const auto end = hidden_.begin() + static_cast<ptrdiff_t>(found.size());
        while (chosen_.size() < std::min(found.size(), options_.degree)) {
            const auto least = std::min_element(hidden_.begin(), end) - hidden_.begin();
            choose(static_cast<size_t>(least), found);
        }
        return chosen_;
    }

private:
    void choose(size_t i, std::span<const Key> found) {
        chosen_.push_back(found[i]);
        const int32_t* dots = products_.of(i);
        const uint32_t square = rows_.squares[numbers_[i]];
        for (size_t j = i + 1; j < found.size(); ++j) {
            const uint32_t apart =
                square + rows_.squares[numbers_[j]] - 2 * static_cast<uint32_t>(dots[j]);
            // Half a unit keeps the quotient of equal rows finite.
            const float hidden =
                static_cast<float>(distance_of(found[j])) / (static_cast<float>(apart) + 0.5f);
            hidden_[j] = std::max(hidden_[j], hidden);
        }
        hidden_[i] = kChosen;
    }

    const Rows& rows_;
    const PruneOptions& options_;
    Products products_;
    std::vector<uint32_t> numbers_;
    std::vector<float> hidden_;
    std::vector<Key> chosen_;
};

// The nearest `most` keys, sorted, each once and without unused ones.
void tidy(std::vector<Key>& keys, size_t most) {
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    if (!keys.empty() && keys.back() == kNoKey) keys.pop_back();
    keys.resize(std::min(keys.size(), most));
}

// The edges that lead to each row, as keys of their sources.
class Reverse {
public:
    Reverse(const Key* chosen, const std::vector<uint16_t>& counts, size_t slots)
        : starts_(counts.size() + 2) {
        const auto for_each = [&](const auto& use) {
            for (size_t r = 0; r < counts.size(); ++r) {
                for (size_t i = 0; i < counts[r]; ++i) use(r, chosen[r * slots + i]);
            }
        };
        for_each([&](size_t, Key key) { ++starts_[row_of(key) + 2]; });
        for (size_t r = 2; r < starts_.size(); ++r) starts_[r] += starts_[r - 1];
        keys_.resize(starts_.back());
        for_each([&](size_t r, Key key) {
            keys_[starts_[row_of(key) + 1]++] = key_of(distance_of(key), static_cast<uint32_t>(r));
        });
    }

    std::span<const Key> to(size_t row) const {
        return {keys_.data() + starts_[row], starts_[row + 1] - starts_[row]};
    }

private:
    std::vector<uint64_t> starts_;
    std::vector<Key> keys_;
};

}  // namespace

void choose_neighbours(const KernelTable& table, const Rows& rows, Key* candidates, size_t slots,
                       const PruneOptions& options, uint32_t* neighbours, const Poll& poll) {
    std::vector<uint16_t> counts(rows.count);
    for_blocks(rows.count, kRowsPerTask, options.threads, poll, [&](size_t first, size_t last) {
        Pruner pruner(table, rows, options, slots);
        std::vector<Key> all;
        for (size_t r = first; r < last; ++r) {
            Key* own = candidates + r * slots;
            all.assign(own, own + slots);
            tidy(all, slots);
            const std::span<const Key> chosen = pruner.prune(all);
            counts[r] = static_cast<uint16_t>(chosen.size());
            std::copy(chosen.begin(), chosen.end(), own);
        }
    });
    const Reverse reverse(candidates, counts, slots);
    const size_t degree = options.degree;
    for_blocks(rows.count, kRowsPerTask, options.threads, poll, [&](size_t first, size_t last) {
        Pruner pruner(table, rows, options, options.most);
        std::vector<Key> all;
        for (size_t r = first; r < last; ++r) {
            const Key* own = candidates + r * slots;
            const std::span<const Key> sources = reverse.to(r);
            all.assign(own, own + counts[r]);
            all.insert(all.end(), sources.begin(), sources.end());
            tidy(all, options.most);
            uint32_t* out = neighbours + r * degree;
            std::fill_n(out, degree, static_cast<uint32_t>(r));
            for (const Key key : pruner.prune(all)) *out++ = row_of(key);
        }
    });
}

}  // namespace nestbit::graph
