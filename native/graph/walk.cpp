#include "walk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "../buffer.h"
#include "../kernels/target.h"
#include "../parallel.h"
#include "../queries.h"
#include "../topk.h"
#include "beam.h"
#include "row_set.h"

namespace nestbit::walking {
namespace {

// About how many rows a walk meets: some, and more for each row of its beam.
constexpr size_t kMet = 512, kMetMore = 16;
// Codes are fetched so many at a time, between other work: a core waits while more cache lines are
// asked for than it can have under way.
constexpr size_t kFetched = 8;
constexpr size_t kQueue = std::bit_ceil(kAhead + kMetAhead);

// GCC takes a function that does nothing but fetch for one without effect, and drops its calls
// where it does not inline them.
NESTBIT_INLINE inline void fetch(const void* data, size_t bytes) {
    const auto* p = static_cast<const char*>(data);
    const size_t before = reinterpret_cast<uintptr_t>(data) % 64;  // in its cache line
    for (size_t b = 0; b < before + bytes; b += 64) __builtin_prefetch(p - before + b);
}

// select() takes what is better than a threshold: with this one also those that equal `score`.
inline float just_below(float score) {
    return std::bit_cast<float>(unordered_bits(ordered(score) - 1));
}

// The neighbours of a row that were not met before.
struct News {
    std::vector<uint32_t> rows;
    std::vector<const uint8_t*> codes;
    size_t count = 0;
};

// What one thread needs for the queries it takes in turn.
class Walker {
public:
    Walker(const KernelTable& table, const WalkRequest& request)
        : table_(table), request_(request), graph_(*request.graph), wide_(graph_.op == Op::wide),
          fine_(graph_.fine.data != nullptr),
          beam_(request.beam, request.room, std::max(graph_.degree, graph_.entry_count), table.walk->merge),
          best_(wanted(request), wanted(request), 1, table.walk->merge), met_(kMet + kMetMore * request.beam) {
        const size_t rows = round_up(std::max(graph_.degree, graph_.entry_count), kRowGroup);
        sums_ = make_buffer<int32_t>(rows);
        keys_.resize(rows);
        if (fine_) {
            padded_ = round_up(graph_.fine.width, kPad);
            weights_ = make_buffer<int16_t>(padded_);
        }
        if (request.finish.values) {
            kept_.resize(request.finish.kept);
            finest_.resize(request.finish.kept);
        }
        if (graph_.factors.scale_half) scale_half_.resize(graph_.degree);
        if (graph_.factors.scale) scale_.resize(graph_.degree);
        if (graph_.factors.bias) bias_.resize(graph_.degree);
        for (News& news : news_) {
            news.rows.resize(graph_.degree);
            news.codes.resize(graph_.degree);
        }
    }

    void query(size_t q, int64_t* ids, float* scores, int64_t* counts) {
        const size_t values = graph_.width * (wide_ ? 256 : 32);
        const PreparedQueries prepared(
            table_, graph_.op, graph_.width,
            {request_.tables + q * values, static_cast<ptrdiff_t>(values), 1, values});
        tables_ = prepared.all().data;
        // The base must not be -0.
        terms_ = {request_.scales[q], request_.bases[q] + 0.0f, nullptr, nullptr, nullptr};
        if (fine_) {
            const size_t dim = graph_.fine.width;
            std::copy_n(request_.weights + q * dim, dim, weights_.get());
            std::fill(weights_.get() + dim, weights_.get() + padded_, int16_t{0});
            fine_scale_ = request_.fine_scales[q];
        }
        coming_ = nullptr;
        beam_.clear();
        best_.clear();
        met_.clear();
        scored_ = expanded_ = 0;
        start();
        follow();
        if (request_.finish.values) finish(q);
        emit(ids + q * request_.k, scores + q * request_.k);
        counts[2 * q] = static_cast<int64_t>(scored_);
        counts[2 * q + 1] = static_cast<int64_t>(expanded_);
    }

private:
    static size_t wanted(const WalkRequest& request) {
        return request.finish.values ? request.finish.kept : request.k;
    }

    void start() {
        const size_t count = graph_.entry_count;
        table_.walk->lanes[wide_](graph_.entry_codes, round_up(count, kLanes) / kLanes, graph_.width,
                                  tables_, sums_.get());
        const Factors& f = graph_.entry_factors;
        const Scoring scoring{terms_.scale, terms_.base, f.scale, f.scale_half, f.bias};
        const size_t found = table_.select(sums_.get(), count, scoring,
                                           std::numeric_limits<float>::quiet_NaN(), 0, keys_.data());
        scored_ += found;
        const size_t starts = std::min(request_.starts, found);
        const auto first = keys_.begin();
        std::partial_sort(first, first + static_cast<ptrdiff_t>(starts),
                          first + static_cast<ptrdiff_t>(found), std::greater<>());
        met_.make_room(starts);
        size_t distinct = 0;
        for (size_t i = 0; i < starts; ++i) {
            keys_[distinct] = keys_[i];
            distinct += met_.add(graph_.entries[nestbit::row_of(keys_[i])]);
        }
        hold(graph_.entries, distinct);
    }

    // Rows are chosen and fetched, their neighbours met, and then scored, each step some rows ahead
    // of the next.
    void follow() {
        size_t chosen = 0, met = 0, done = 0;
        for (;;) {
            for (size_t at; chosen - met < kAhead && (at = beam_.next()) != Beam::kNone;) {
                const uint32_t row = beam_.expand(at);
                fetch_row(row);
                queue_[chosen++ % kQueue] = row;
            }
            if (done == chosen) break;
            if (met < chosen) {
                meet(queue_[met % kQueue], news_[met % kQueue]);
                if (++met - done < kMetAhead) {
                    fetch_news(graph_.degree);
                    continue;
                }
            }
            fetch_news(kFetched);
            const size_t slot = done++ % kQueue;
            score_news(news_[slot]);
            fetch_news(graph_.degree);
            ++expanded_;
            if (fine_ && request_.mask.has(queue_[slot])) score_finely(queue_[slot]);
        }
    }

    NESTBIT_INLINE void fetch_row(uint32_t row) const {
        fetch(graph_.neighbours + row * graph_.degree, 4 * graph_.degree);
        if (fine_) fetch(graph_.fine.data + row * graph_.fine.stride, graph_.fine.width);
    }

    void meet(uint32_t row, News& news) {
        const uint32_t* all = graph_.neighbours + row * graph_.degree;
        met_.make_room(graph_.degree);
        news.count = 0;
        for (size_t i = 0; i < graph_.degree && all[i] != row; ++i) {
            if (all[i] >= graph_.n) refuse(all[i]);
            news.rows[news.count] = all[i];
            news.count += met_.add(all[i]);
        }
        coming_ = &news;
        fetched_ = 0;
    }

    // What scoring the rows met last needs, of so many more of them.
    void fetch_news(size_t count) {
        if (!coming_) return;
        News& news = *coming_;
        const size_t last = std::min(news.count, fetched_ + count);
        for (size_t& i = fetched_; i < last; ++i) {
            const uint32_t row = news.rows[i];
            news.codes[i] = graph_.codes.data + row * graph_.codes.stride;
            fetch(news.codes[i], graph_.width);
            if (graph_.factors.scale_half) __builtin_prefetch(graph_.factors.scale_half + row);
            if (graph_.factors.scale) __builtin_prefetch(graph_.factors.scale + row);
            if (graph_.factors.bias) __builtin_prefetch(graph_.factors.bias + row);
        }
    }

    void score_news(const News& news) {
        const Factors& f = graph_.factors;
        Scoring scoring = terms_;
        const auto gather = [&](const auto* from, auto& to) {
            for (size_t i = 0; i < news.count; ++i) to[i] = from[news.rows[i]];
            return to.data();
        };
        if (f.scale_half) scoring.row_scale_half = gather(f.scale_half, scale_half_);
        if (f.scale) scoring.row_scale = gather(f.scale, scale_);
        if (f.bias) scoring.row_bias = gather(f.bias, bias_);
        for (size_t i = 0; i < news.count; i += kPicked) {
            table_.walk->picked[wide_](news.codes.data() + i, std::min(kPicked, news.count - i),
                                       graph_.width, tables_, sums_.get() + i);
        }
        fetch_news(kFetched);
        hold_best(news.rows.data(), news.count, scoring);
    }

    // Of `count` scored rows those that are good enough.
    void hold_best(const uint32_t* rows, size_t count, const Scoring& scoring) {
        const float threshold = beam_.full() ? just_below(score_of(beam_.worst()))
                                             : std::numeric_limits<float>::quiet_NaN();
        scored_ += count;
        hold(rows, table_.select(sums_.get(), count, scoring, threshold, 0, keys_.data()));
    }

    // The first `found` of keys_, in which rows are their places in `rows`.
    void hold(const uint32_t* rows, size_t found) {
        for (size_t i = 0; i < found; ++i) {
            keys_[i] = key_of(static_cast<uint32_t>(keys_[i] >> 32), rows[nestbit::row_of(keys_[i])]);
        }
        beam_.insert(keys_.data(), found,
                     [&](uint64_t key) { return request_.mask.has(row_of(key)); });
    }

    void score_finely(uint32_t row) {
        const uint8_t* code = graph_.fine.data + row * graph_.fine.stride;
        const int32_t dot =
            table_.walk->dot[graph_.fine_signed ? 0 : 1](code, weights_.get(), graph_.fine.width);
        float score = fine_scale_ * static_cast<float>(dot);
        if (graph_.fine_bias) score += graph_.fine_bias[row];
        uint64_t key = key_of(ordered(score), row);
        if (best_.full() && key < best_.worst()) return;
        best_.insert(&key, 1, [](uint64_t) { return true; });
    }

    // The rows of best_ ordered by the finest level.
    void finish(size_t q) {
        const Finish& by = request_.finish;
        const size_t count = best_.size();
        for (size_t i = 0; i < count; ++i) kept_[i] = row_of(best_[i]);
        const Candidates rows{graph_.finest.data, graph_.finest.stride,
                              graph_.finest.width / element_bytes(graph_.finest_element), kept_.data(), count};
        table_.rescore[static_cast<size_t>(graph_.finest_element)](rows, by.values + q * by.stride,
                                                                   finest_.data());
        best_.clear();
        for (size_t i = 0; i < count; ++i) {
            float score = by.gain * finest_[i] + by.bias[q];
            if (graph_.finest_bias) score += graph_.finest_bias[kept_[i]];
            uint64_t key = key_of(ordered(score), static_cast<uint32_t>(kept_[i]));
            best_.insert(&key, 1, [](uint64_t) { return true; });
        }
    }

    void emit(int64_t* ids, float* scores) const {
        const Beam& from = fine_ ? best_ : beam_;
        size_t count = 0;
        for (size_t i = 0; i < from.size() && count < request_.k; ++i) {
            const uint32_t row = row_of(from[i]);
            if (!request_.mask.has(row)) continue;
            ids[count] = row;
            scores[count++] = score_of(from[i]);
        }
        std::fill(ids + count, ids + request_.k, int64_t{-1});
        std::fill(scores + count, scores + request_.k, -std::numeric_limits<float>::infinity());
    }

    [[noreturn]] void refuse(uint32_t row) const {
        throw std::out_of_range("the graph of " + std::to_string(graph_.n) +
                                " rows has a neighbour " + std::to_string(row));
    }

    const KernelTable& table_;
    const WalkRequest& request_;
    const Graph& graph_;
    const bool wide_, fine_;
    Beam beam_, best_;
    RowSet met_;
    Buffer<int32_t> sums_;
    std::vector<uint64_t> keys_;
    size_t padded_ = 0;
    Buffer<int16_t> weights_;
    std::vector<uint16_t> scale_half_;
    std::vector<float> scale_, bias_, finest_;
    std::vector<int64_t> kept_;
    std::array<uint32_t, kQueue> queue_{};
    std::array<News, kQueue> news_;
    News* coming_ = nullptr;  // the rows met last, of which so many were fetched
    size_t fetched_ = 0;
    // Of the query.
    const uint8_t* tables_ = nullptr;
    Scoring terms_{};
    float fine_scale_ = 0;
    size_t scored_ = 0, expanded_ = 0;
};

}  // namespace

void walk(const KernelTable& table, const WalkRequest& request, int64_t* ids, float* scores,
          int64_t* counts) {
    if (request.m == 0) return;
    // A few tasks a thread: queries take unequal time, and a task has its own buffers.
    constexpr size_t kTasksPerThread = 4;
    const size_t threads = std::min(request.threads, request.m);
    const size_t tasks = threads == 1 ? 1 : kTasksPerThread * threads;
    const size_t step = (request.m + tasks - 1) / tasks;
    parallel_for((request.m + step - 1) / step, threads, [&](size_t task) {
        Walker walker(table, request);
        const size_t last = std::min(request.m, (task + 1) * step);
        for (size_t q = task * step; q < last; ++q) walker.query(q, ids, scores, counts);
    });
}

}  // namespace nestbit::walking
