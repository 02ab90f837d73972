// Runs tasks on short-lived threads: nothing survives a call, so a fork() between calls is safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace nestbit {

// Calls task(0) .. task(count - 1), each once, on up to `threads` threads, the caller's among
// them. The first exception is rethrown here. Where the system refuses a thread, fewer do the
// work.
template <typename Task>
void parallel_for(size_t count, size_t threads, const Task& task) {
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    std::mutex failing;
    const auto work = [&] {
        try {
            for (size_t i; (i = next.fetch_add(1)) < count;) task(i);
        } catch (...) {
            next.store(count);
            const std::scoped_lock lock(failing);
            if (!failure) failure = std::current_exception();
        }
    };
    std::vector<std::jthread> helpers;
    for (size_t t = 1; t < threads && t < count; ++t) {
        try {
            helpers.emplace_back(work);
        } catch (const std::system_error&) {
            break;
        }
    }
    work();
    helpers.clear();  // joins
    if (failure) std::rethrow_exception(failure);
}

}  // namespace nestbit
