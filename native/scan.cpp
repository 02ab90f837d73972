#include "scan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "parallel.h"
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

struct Range {
    size_t first, last;
    size_t size() const { return last - first; }
};

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

// The per-thread set-up of an instruction set, for as long as this lives.
class Session {
public:
    explicit Session(const KernelTable& table) : table_(table) {
        if (table_.enter) table_.enter();
    }
    ~Session() {
        if (table_.leave) table_.leave();
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

private:
    const KernelTable& table_;
};

// One pass: a set of prepared queries against all rows, cut into parts that run in parallel.
class Pass {
public:
    Pass(const KernelTable& table, const ScanRequest& request, Range queries,
         const std::function<void()>& poll)
        : table_(table),
          request_(request),
          poll_(poll),
          queries_(queries),
          prepared_(table, request.op, request.rows.width,
                    {request.queries.data +
                         static_cast<ptrdiff_t>(queries.first) * request.queries.stride,
                     request.queries.stride, queries.size(), request.queries.length}) {
        const size_t bytes = request.rows.count * request.rows.width;
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
    void scan_part(size_t row_part, size_t query_part) {
        const Range rows = part_of(request_.rows.count, row_parts_, row_part, kRowGroup);
        const Range queries = part_of(queries_.size(), query_parts_, query_part, kQueryUnit);
        if (rows.size() == 0 || queries.size() == 0) return;
        const size_t block = rows_per_block(request_, queries.size());
        std::vector<TopK> best;
        best.reserve(queries.size());
        for (size_t q = 0; q < queries.size(); ++q) {
            best.emplace_back(std::min(request_.k, rows.size()), block);
        }
        const auto scratch =
            make_buffer<uint8_t>(scratch_bytes(request_.op, request_.rows.width, block));
        const auto dots = make_buffer<int32_t>(std::min(queries.size(), kQueryTile) * block);
        const Session session(table_);
        auto polled = Clock::now();
        for (size_t r = rows.first; r < rows.last; r += block) {
            const Range here{r, std::min(r + block, rows.last)};
            for (size_t q = queries.first; q < queries.last; q += kQueryTile) {
                const Range tile{q, std::min(q + kQueryTile, queries.last)};
                score_block(here, tile, block, scratch.get(), dots.get());
                for (size_t i = tile.first; i < tile.last; ++i) {
                    select(here, i, dots.get() + (i - tile.first) * block, best[i - queries.first]);
                }
            }
            if ((r - rows.first) / block % 64 == 63 && stopped(polled)) return;
        }
        for (size_t q = 0; q < queries.size(); ++q) {
            found_[(queries.first + q) * row_parts_ + row_part] = best[q].sorted();
        }
    }

    void score_block(Range rows, Range tile, size_t ld, uint8_t* scratch, int32_t* dots) const {
        const RowBlock block{
            request_.rows.data + static_cast<ptrdiff_t>(rows.first) * request_.rows.stride,
            request_.rows.stride, rows.size(), request_.rows.width};
        table_.score[static_cast<size_t>(request_.op)](
            block, prepared_.tile(tile.first, tile.size()), scratch, dots, ld);
    }

    void select(Range rows, size_t query, const int32_t* dots, TopK& best) const {
        // A distance is a score of scale -1: exact, as it is far below 2^24.
        const size_t q = queries_.first + query;
        const float scale = request_.op == Op::hamming ? -1.0f
                            : request_.scales          ? request_.scales[q]
                                                       : 1.0f;
        const float base = request_.bases ? request_.bases[q] + 0.0f : 0.0f;  // -0 becomes 0
        const Scoring scoring{scale, base, request_.row_scale, request_.row_scale_half,
                              request_.row_bias};
        best.add(table_.select(dots, rows.size(), scoring.from(rows.first), best.threshold(),
                               static_cast<uint32_t>(rows.first), best.end()));
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
            std::partial_sort(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(request_.k),
                              keys.end(), std::greater<>());
        }
        emit(queries_.first + q, keys.data());
        Keys().swap(keys);
    }

    const KernelTable& table_;
    const ScanRequest& request_;
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
    for (size_t q = 0; q < request.queries.count; q += per_pass) {
        Pass(table, request, {q, std::min(q + per_pass, request.queries.count)}, poll).run(emit);
        poll();
    }
}

}  // namespace nestbit
