#include "scan.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <numeric>
#include <thread>

#include "parallel.h"
#include "picked.h"
#include "session.h"
#include "topk.h"

namespace nestbit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kQueryUnit = 16;               // tiles start at multiples of this
constexpr size_t kQueryBytes = size_t{1} << 20;  // prepared queries of one pass stay in L2
constexpr size_t kKeyBytes = size_t{1} << 28;    // candidates of one pass, all threads
constexpr size_t kRowBytesPerThread = size_t{1} << 20;
constexpr auto kPollEvery = std::chrono::milliseconds(100);

using Keys = std::vector<uint64_t>;

// Part i of `parts` nearly equal parts of [0, n), cut at multiples of `unit`.
Range part_of(size_t n, size_t parts, size_t i, size_t unit) {
    const size_t units = (n + unit - 1) / unit;
    const auto cut = [&](size_t j) { return std::min(n, units * j / parts * unit); };
    return {cut(i), cut(i + 1)};
}

size_t rows_per_block(const ScanRequest& request, size_t queries) {
    // Every pass over wide tables, sixteen times as big, must serve more rows.
    if (queries >= 4) return request.op == Op::wide ? 128 : 64;
    const size_t bytes = size_t{1} << 16;
    return std::clamp<size_t>(bytes / request.rows.width / kRowGroup * kRowGroup, kRowGroup, 1024);
}

// Whether so few rows of a range are allowed that copying them beats scoring all: for one query a
// copied row costs as much as four that are read in order, for many the scores outweigh the copy.
bool are_few(size_t allowed, Range rows, size_t queries) {
    const size_t quarters = queries < 4 ? 1 : queries < 16 ? 2 : 3;
    return 4 * allowed < quarters * std::max(rows.size(), kRowGroup);
}

// One pass: a set of prepared queries against the visited rows, in parts that run in parallel.
class Pass {
public:
    Pass(const KernelTable& table, const ScanRequest& request, const VisitedRows& visited,
         Range queries, const std::function<void()>& poll)
        : table_(table),
          request_(request),
          visited_(visited),
          poll_(poll),
          queries_(queries),
          prepared_(table, request.op, request.rows.width,
                    {request.queries.data +
                         static_cast<ptrdiff_t>(queries.first) * request.queries.stride,
                     request.queries.stride, queries.size(), request.queries.length}) {
        // A row that has to be picked costs about as much as four.
        const size_t rows = std::min(visited.size(), 4 * visited.allowed());
        const size_t bytes = rows * request.rows.width;
        row_parts_ = std::clamp<size_t>(bytes / kRowBytesPerThread, 1, request.threads);
        const size_t units = (queries.size() + kQueryUnit - 1) / kQueryUnit;
        const size_t work = bytes * queries.size() / (16 * kRowBytesPerThread);
        query_parts_ = std::clamp<size_t>(std::min(request.threads / row_parts_, work), 1, units);
        found_.resize(queries.size() * row_parts_);
    }

    void run(const Emit& emit) {
        const size_t tasks = row_parts_ * query_parts_;
        parallel_for(tasks, tasks, [&](size_t task) {
            try {
                scan_part(task % row_parts_, task / row_parts_);
            } catch (...) {
                stop_.store(true, std::memory_order_relaxed);
                throw;
            }
        });
        const size_t helpers = request_.k * queries_.size() < (1 << 16) ? 1 : request_.threads;
        parallel_for(queries_.size(), helpers, [&](size_t q) { emit_query(q, emit); });
    }

private:
    // What the scan of one part owns.
    struct Part {
        Range queries;
        size_t most;   // rows of a batch, at
        size_t block;  // present at most so many
        // Those of the queries that see the present rows, counted from queries.first; where each
        // range has queries of its own, these are copied to `own`.
        std::vector<uint32_t> asked{};
        std::optional<PreparedQueries> own{};
        size_t end = 0, next = 0;  // of the present rows, and the first of those that come next
        std::vector<TopK> best{};
        Buffer<uint8_t> scratch{};
        Buffer<int32_t> dots{};
        std::optional<PickedRows> picked{};  // of a scan of some rows
        size_t batches = 0;
        Clock::time_point polled = Clock::now();
    };

    // Rows scored together: `rows.count` from `first` on, of which `masked` says that some are
    // not allowed; or those of Part::picked.
    struct Batch {
        RowBlock rows;
        size_t first;
        bool masked, picked;
    };

    void scan_part(size_t row_part, size_t query_part) {
        const Range rows = part_of(visited_.size(), row_parts_, row_part, kRowGroup);
        const Range queries = part_of(queries_.size(), query_parts_, query_part, kQueryUnit);
        if (rows.size() == 0 || queries.size() == 0) return;
        // Ranges may be seen by fewer queries than there are, and so be read in larger blocks.
        const size_t fewest = request_.visits ? 1 : queries.size();
        const size_t most = std::min(std::max(rows_per_block(request_, fewest),
                                              rows_per_block(request_, queries.size())),
                                     round_up(rows.size(), kRowGroup));
        Part part{queries, most, most};
        part.asked.resize(queries.size());
        std::iota(part.asked.begin(), part.asked.end(), 0u);
        if (request_.visits) part.own.emplace(prepared_.room());
        part.best.reserve(queries.size());
        for (size_t q = 0; q < queries.size(); ++q) {
            part.best.emplace_back(std::min(request_.k, rows.size()), most);
        }
        part.scratch = make_buffer<uint8_t>(scratch_bytes(request_.op, request_.rows.width, most));
        part.dots = make_buffer<int32_t>(std::min(queries.size(), kQueryTile) * most);
        if (request_.mask || request_.ranges) part.picked.emplace(request_, most);
        const Session session(table_);
        bool going = true;
        visited_.for_each(rows, [&](Range here, size_t range, size_t next) {
            part.end = here.last;
            part.next = next;
            if (!request_.visits) return going = scan_run(here, part);
            if (!ask(range, part)) return true;
            // Picked rows are scored for the queries of their range.
            return going = scan_run(here, part) && scan_picked(part);
        });
        if (!going || (part.picked && !scan_picked(part))) return;
        for (size_t q = 0; q < queries.size(); ++q) {
            found_[(queries.first + q) * row_parts_ + row_part] = part.best[q].sorted();
        }
    }

    // Prepares the queries of the part that see a range; false where none does.
    bool ask(size_t range, Part& part) const {
        const uint8_t* seen = request_.visits + range * request_.visit_bytes;
        const Range queries = part.queries;
        std::vector<uint32_t>& asked = part.asked;
        asked.clear();
        for (size_t q = 0; q < queries.size(); ++q) {
            const size_t of = queries_.first + queries.first + q;
            if (seen[of / 8] >> of % 8 & 1) asked.push_back(static_cast<uint32_t>(q));
        }
        if (asked.empty()) return false;
        part.block = std::min(rows_per_block(request_, asked.size()), part.most);
        part.own->take(prepared_, queries.first, asked);
        return true;
    }

    // This and the functions it calls return false when the scan was stopped.
    bool scan_run(Range rows, Part& part) const {
        if (!request_.mask) return scan_window(rows, rows.size(), part);
        for (size_t r = rows.first; r < rows.last;) {
            const Range window{r, std::min(rows.last, (r / kWindow + 1) * kWindow)};
            if (!scan_window(window, request_.mask.count(window), part)) return false;
            r = window.last;
        }
        return true;
    }

    bool scan_window(Range rows, size_t allowed, Part& part) const {
        if (part.picked && are_few(allowed, rows, part.asked.size())) return pick(rows, part);
        // Rows reach the top k in ascending order, so those picked before come first.
        if (part.picked && !scan_picked(part)) return false;
        for (size_t r = rows.first; r < rows.last; r += part.block) {
            const Range here{r, std::min(r + part.block, rows.last)};
            const bool masked = allowed < rows.size();
            if (masked && request_.mask.count(here) == 0) continue;
            RowBlock block = request_.rows;
            block.data += static_cast<ptrdiff_t>(r) * block.stride;
            block.count = here.size();
            if (here.last == part.end) {
                block.next = request_.rows.data + static_cast<ptrdiff_t>(part.next) * block.stride;
            }
            if (!scan_batch({block, r, masked, false}, part)) return false;
        }
        return true;
    }

    bool pick(Range rows, Part& part) const {
        for (size_t r = rows.first; r < rows.last; r += 64) {
            uint64_t bits = request_.mask.word(r, rows.last);
            for (; bits; bits &= bits - 1) {
                part.picked->add(r + static_cast<size_t>(std::countr_zero(bits)));
                if (part.picked->size() == part.block && !scan_picked(part)) return false;
            }
        }
        return true;
    }

    bool scan_picked(Part& part) const {
        if (part.picked->empty()) return true;
        const bool going = scan_batch({part.picked->copy_rows(), 0, false, true}, part);
        part.picked->clear();
        return going;
    }

    bool scan_batch(const Batch& batch, Part& part) const {
        const size_t count = part.asked.size();
        for (size_t q = 0; q < count; q += kQueryTile) {
            const size_t last = std::min(q + kQueryTile, count);
            const QueryTile tile = part.own ? part.own->tile(q, last - q)
                                            : prepared_.tile(part.queries.first + q, last - q);
            table_.score[static_cast<size_t>(request_.op)](batch.rows, tile, part.scratch.get(),
                                                           part.dots.get(), part.block);
            for (size_t i = q; i < last; ++i) {
                select(batch, part.asked[i], part.dots.get() + (i - q) * part.block, part);
            }
        }
        return ++part.batches % 64 != 0 || !stopped(part.polled);
    }

    // `query` counts from the part's first.
    void select(const Batch& batch, size_t query, const int32_t* dots, Part& part) const {
        // A distance is a score of scale -1: exact, as it is far below 2^24.
        const size_t q = queries_.first + part.queries.first + query;
        const float scale = request_.op == Op::hamming ? -1.0f
                            : request_.scales          ? request_.scales[q]
                                                       : 1.0f;
        const float base = request_.bases ? request_.bases[q] + 0.0f : 0.0f;  // -0 becomes 0
        const Scoring scoring = batch.picked
                                    ? part.picked->scoring(scale, base)
                                    : Scoring{scale, base, request_.row_scale,
                                              request_.row_scale_half, request_.row_bias}
                                          .from(batch.first);
        TopK& best = part.best[query];
        uint64_t* keys = best.end();
        size_t found = table_.select(dots, batch.rows.count, scoring, best.threshold(),
                                     static_cast<uint32_t>(batch.first), keys);
        if (batch.picked) part.picked->rename(keys, found);
        if (batch.masked) found = keep_allowed(keys, found);
        best.add(found);
    }

    size_t keep_allowed(uint64_t* keys, size_t found) const {
        size_t kept = 0;
        for (size_t i = 0; i < found; ++i) {
            const uint64_t key = keys[i];
            keys[kept] = key;
            kept += request_.mask.has(row_of(key));
        }
        return kept;
    }

    // Whether another thread has failed; on the calling thread also polls, which may throw.
    bool stopped(Clock::time_point& polled) const {
        if (std::this_thread::get_id() == caller_ && Clock::now() - polled >= kPollEvery) {
            poll_();
            polled = Clock::now();
        }
        return stop_.load(std::memory_order_relaxed);
    }

    void emit_query(size_t q, const Emit& emit) {
        Keys& keys = found_[q * row_parts_];
        if (row_parts_ > 1) {
            for (size_t part = 1; part < row_parts_; ++part) {
                const Keys& more = found_[q * row_parts_ + part];
                keys.insert(keys.end(), more.begin(), more.end());
            }
            const size_t count = std::min(request_.k, keys.size());
            std::partial_sort(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(count),
                              keys.end(), std::greater<>());
        }
        emit(queries_.first + q, keys.data(), std::min(request_.k, keys.size()));
        Keys().swap(keys);
    }

    const KernelTable& table_;
    const ScanRequest& request_;
    const VisitedRows& visited_;
    const std::function<void()>& poll_;
    const Range queries_;
    const PreparedQueries prepared_;
    size_t row_parts_, query_parts_;
    std::vector<Keys> found_;  // [query][row part], best first
    const std::thread::id caller_ = std::this_thread::get_id();
    std::atomic<bool> stop_{false};
};

}  // namespace

void scan(const KernelTable& table, const ScanRequest& request, const Emit& emit,
          const std::function<void()>& poll) {
    const size_t values = values_of(request.op, request.rows.width);
    const size_t stride = round_up(std::max<size_t>(1, table_size(request.op)) * values, kPad);
    const size_t keys = 8 * request.threads * (2 * request.k + 2048);
    const size_t fits = std::min(kQueryBytes / stride, kKeyBytes / keys);
    const size_t per_pass = std::max(kQueryUnit, fits / kQueryUnit * kQueryUnit);
    const VisitedRows visited(request.rows.count, request.mask, request.ranges,
                              request.visits != nullptr);
    for (size_t q = 0; q < request.queries.count; q += per_pass) {
        const Range queries{q, std::min(q + per_pass, request.queries.count)};
        Pass(table, request, visited, queries, poll).run(emit);
        poll();
    }
}

}  // namespace nestbit
