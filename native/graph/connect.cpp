// Reachability: every row can be reached from the entries, or gets an edge from a row near it.
//
// The edges by which a search from the entries first met each row form a forest. Only edges outside
// it are replaced, so that no row that was reached is lost (as NSG spans its tree: Fu et al., 2019).
#include <algorithm>
#include <numeric>
#include <vector>

#include "graph/graph.h"
#include "graph/tasks.h"

namespace nestbit::graph {
namespace {

constexpr size_t kStarts = 4;  // nearest entries from which a row's surroundings are sought
constexpr size_t kBeam = 32;

class Forest {
public:
    Forest(const Rows& rows, uint32_t* neighbours, size_t degree, std::span<const uint32_t> entries)
        : rows_(rows),
          neighbours_(neighbours),
          degree_(degree),
          entries_(entries),
          reached_(rows.count),
          of_forest_(rows.count * degree),
          visited_(rows.count) {
        for (const uint32_t entry : entries) spread(entry);
    }

    bool reached(uint32_t row) const { return reached_[row]; }

    // Gives an unreached row an edge that leads to it, and reaches what it leads to.
    void attach(uint32_t row) {
        for (const uint32_t fellow : list(row)) {
            if (reached_[fellow] && lead(fellow, row)) return;
        }
        for (const Key key : around(row)) {
            if (lead(row_of(key), row)) return;
        }
        for (uint32_t other = 0; other < rows_.count; ++other) {
            if (reached_[other] && lead(other, row)) return;
        }
    }

private:
    std::span<uint32_t> list(uint32_t row) { return {neighbours_ + row * degree_, degree_}; }

    // Reaches a row and all that can be reached from it.
    void spread(uint32_t row) {
        if (reached_[row]) return;
        reached_[row] = true;
        waiting_.assign(1, row);
        while (!waiting_.empty()) {
            const uint32_t here = waiting_.back();
            waiting_.pop_back();
            for (size_t i = 0; i < degree_; ++i) {
                const uint32_t next = neighbours_[here * degree_ + i];
                if (reached_[next]) continue;
                reached_[next] = of_forest_[here * degree_ + i] = true;
                waiting_.push_back(next);
            }
        }
    }

    // Puts `to` in the last slot of `from` that the forest can spare.
    bool lead(uint32_t from, uint32_t to) {
        for (size_t i = degree_; i-- > 0;) {
            if (of_forest_[from * degree_ + i]) continue;
            neighbours_[from * degree_ + i] = to;
            of_forest_[from * degree_ + i] = true;
            spread(to);
            return true;
        }
        return false;
    }

    uint32_t distance(uint32_t a, uint32_t b) const {
        const int32_t dot =
            std::inner_product(rows_.row(a), rows_.row(a) + rows_.dim, rows_.row(b), int32_t{0});
        return rows_.squares[a] + rows_.squares[b] - 2 * static_cast<uint32_t>(dot);
    }

    // Reached rows near an unreached one, by a best-first search from the nearest entries.
    std::vector<Key> around(uint32_t row) {
        std::vector<Key> best, open;
        for (const uint32_t entry : entries_) open.push_back(key_of(distance(row, entry), entry));
        std::sort(open.begin(), open.end());
        open.resize(std::min(open.size(), kStarts));
        ++walk_;
        for (const Key key : open) visited_[row_of(key)] = walk_;
        best = open;
        while (!open.empty()) {
            const auto nearest = std::min_element(open.begin(), open.end());
            const Key here = *nearest;
            open.erase(nearest);
            if (best.size() == kBeam && here > best.back()) break;
            for (const uint32_t next : list(row_of(here))) {
                if (visited_[next] == walk_) continue;
                visited_[next] = walk_;
                const Key key = key_of(distance(row, next), next);
                open.push_back(key);
                best.insert(std::upper_bound(best.begin(), best.end(), key), key);
            }
            best.resize(std::min(best.size(), kBeam));
        }
        return best;
    }

    const Rows& rows_;
    uint32_t* neighbours_;
    size_t degree_;
    std::span<const uint32_t> entries_;
    std::vector<bool> reached_, of_forest_;
    std::vector<uint32_t> visited_, waiting_;
    uint32_t walk_ = 0;
};

}  // namespace

size_t connect(const Rows& rows, uint32_t* neighbours, size_t degree,
               std::span<const uint32_t> entries, const Poll& poll) {
    Forest forest(rows, neighbours, degree, entries);
    Poller poller(poll);
    size_t attached = 0;
    for (uint32_t row = 0; row < rows.count; ++row) {
        if (forest.reached(row)) continue;
        forest.attach(row);
        ++attached;
        poller();
    }
    return attached;
}

}  // namespace nestbit::graph
