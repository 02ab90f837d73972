// Diverse neighbours: of the candidates, nearest first, those that no chosen one stands before.
//
// The rule is RobustPrune of Vamana (Subramanya et al., "DiskANN", 2019); where it chooses too few,
// those least hidden follow. All distances it asks for come from one product of the candidates with
// themselves. It is applied twice: to the candidates of each row, and to what it chose together with
// the rows that chose it. Between the two only numbers are kept; distances are found again.
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

// Of some rows, or all if that is none, those that chose each row.
class Sources {
public:
    Sources(const uint32_t* neighbours, size_t count, size_t degree,
            std::span<const uint32_t> some)
        : starts_(count + 2) {
        const size_t from = some.empty() ? count : some.size();
        const auto for_each = [&](const auto& use) {
            for (size_t i = 0; i < from; ++i) {
                const size_t r = some.empty() ? i : some[i];
                for (const uint32_t to : used(neighbours + r * degree, degree, r)) use(r, to);
            }
        };
        for_each([&](size_t, uint32_t to) { ++starts_[to + 2]; });
        for (size_t r = 2; r < starts_.size(); ++r) starts_[r] += starts_[r - 1];
        rows_.resize(starts_.back());
        for_each([&](size_t r, uint32_t to) {
            rows_[starts_[to + 1]++] = static_cast<uint32_t>(r);
        });
    }

    std::span<const uint32_t> of(size_t row) const {
        return {rows_.data() + starts_[row], starts_[row + 1] - starts_[row]};
    }

    // Neighbours of a row, up to the slots that hold its own number.
    static std::span<const uint32_t> used(const uint32_t* list, size_t degree, size_t row) {
        return {list, std::find(list, list + degree, static_cast<uint32_t>(row))};
    }

private:
    std::vector<uint64_t> starts_;
    std::vector<uint32_t> rows_;
};

// Keys of rows as seen from another.
class Distances {
public:
    Distances(const KernelTable& table, const Rows& rows)
        : rows_(rows), products_(table, rows, kAtOnce, 1) {}

    void append(uint32_t from, std::span<const uint32_t> numbers, std::vector<Key>& keys) {
        for (; !numbers.empty(); numbers = numbers.subspan(std::min(kAtOnce, numbers.size()))) {
            const auto some = numbers.first(std::min(kAtOnce, numbers.size()));
            products_.load(some);
            products_.multiply({&from, 1});
            for (size_t i = 0; i < some.size(); ++i) {
                const uint32_t twice = 2 * static_cast<uint32_t>(products_.of(0)[i]);
                keys.push_back(
                    key_of(rows_.squares[from] + rows_.squares[some[i]] - twice, some[i]));
            }
        }
    }

private:
    static constexpr size_t kAtOnce = 128;
    const Rows& rows_;
    Products products_;
};

// Writes the numbers of chosen rows, and the row's own into the slots left over.
void write(std::span<const Key> chosen, size_t row, size_t degree, uint32_t* out) {
    std::fill_n(out, degree, static_cast<uint32_t>(row));
    for (const Key key : chosen) *out++ = row_of(key);
}

}  // namespace

void choose_neighbours(const KernelTable& table, const Rows& rows, const CandidateLists& lists,
                       const PruneOptions& options, uint32_t* neighbours, const Poll& poll) {
    const size_t slots = lists.last - lists.first, degree = options.degree;
    for_blocks(lists.count, kRowsPerTask, options.threads, poll, [&](size_t first, size_t last) {
        Pruner pruner(table, rows, options, slots);
        std::vector<Key> all;
        for (size_t i = first; i < last; ++i) {
            const std::span<const Key> own = lists.of(lists.start + i);
            all.assign(own.begin(), own.end());
            tidy(all, slots);
            write(pruner.prune(all), lists.start + i, degree, neighbours + i * degree);
        }
    });
}

void add_reverse(const KernelTable& table, const Rows& rows, const PruneOptions& options,
                 size_t most, std::span<const uint32_t> some, uint32_t* neighbours,
                 const Poll& poll) {
    const size_t degree = options.degree;
    const Sources sources(neighbours, rows.count, degree, some);
    for_blocks(rows.count, kRowsPerTask, options.threads, poll, [&](size_t first, size_t last) {
        Pruner pruner(table, rows, options, most);
        Distances distances(table, rows);
        std::vector<Key> all;
        for (size_t r = first; r < last; ++r) {
            if (!some.empty() && sources.of(r).empty()) continue;
            uint32_t* const own = neighbours + r * degree;
            const auto row = static_cast<uint32_t>(r);
            all.clear();
            distances.append(row, Sources::used(own, degree, r), all);
            distances.append(row, sources.of(r), all);
            tidy(all, most);
            write(pruner.prune(all), r, degree, own);
        }
    });
}

}  // namespace nestbit::graph
