// Blocks of rows on several threads, with a poll now and then on the calling one.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "graph/graph.h"
#include "parallel.h"

namespace nestbit::graph {

// Calls poll() on the thread that made it, at most ten times a second.
class Poller {
public:
    explicit Poller(const Poll& poll) : poll_(poll) {}
    void operator()() {
        if (std::this_thread::get_id() != caller_) return;
        const auto now = std::chrono::steady_clock::now();
        if (now - polled_ < std::chrono::milliseconds(100)) return;
        polled_ = now;
        poll_();
    }

private:
    const Poll& poll_;
    std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point polled_ = std::chrono::steady_clock::now();
};

// Calls task(first, last) for blocks of [0, count). An exception ends the work.
template <typename Task>
void for_blocks(size_t count, size_t block, size_t threads, const Poll& poll, const Task& task) {
    Poller poller(poll);
    parallel_for((count + block - 1) / block, threads, [&](size_t b) {
        task(b * block, std::min(count, (b + 1) * block));
        poller();
    });
}

}  // namespace nestbit::graph
