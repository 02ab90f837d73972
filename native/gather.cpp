#include "gather.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "buffer.h"

namespace nestbit {
namespace {

// Rows no farther apart than this are read together: copying so much costs about as much as
// another call, and a page is read from disk in any case.
constexpr int64_t kGapBytes = 4096;
// A run with gaps passes through a buffer that stays in the cache.
constexpr int64_t kRunBytes = int64_t{1} << 18;

// places[first] to places[last - 1] of a column, one read.
struct Run {
    const FileColumn* column;
    size_t first, last;
};

class Gatherer {
public:
    Gatherer(int descriptor, std::span<const int64_t> places)
        : descriptor_(descriptor), places_(places) {}

    void plan(const FileColumn& column) {
        const auto width = static_cast<int64_t>(column.width);
        for (size_t first = 0; first < places_.size();) {
            size_t last = first + 1;
            while (last < places_.size() &&
                   (places_[last] - places_[last - 1] - 1) * width <= kGapBytes &&
                   (places_[last] + 1 - places_[first]) * width <= kRunBytes) {
                ++last;
            }
            runs_.push_back({&column, first, last});
            first = last;
        }
    }

    int read() {
        size_t waiting = 0;
        for (const Run& run : runs_) {
            if (!read_cached(run)) runs_[waiting++] = run;
        }
        runs_.resize(waiting);
        if (waiting > 1) advise();
        for (const Run& run : runs_) {
            if (const int failure = read_waiting(run)) return failure;
        }
        return 0;
    }

private:
    int64_t offset(const Run& run) const {
        return run.column->start + places_[run.first] * static_cast<int64_t>(run.column->width);
    }

    size_t bytes(const Run& run) const {
        const int64_t rows = places_[run.last - 1] + 1 - places_[run.first];
        return static_cast<size_t>(rows) * run.column->width;
    }

    bool whole(const Run& run) const {
        return bytes(run) == (run.last - run.first) * run.column->width;
    }

    // Where a run is read to: its rows' own place, or a buffer if it has gaps.
    uint8_t* target(const Run& run) {
        if (whole(run)) return run.column->out + run.first * run.column->width;
        if (bytes(run) > held_) {
            held_ = bytes(run);
            buffer_ = make_buffer<uint8_t>(held_);
        }
        return buffer_.get();
    }

    void spread(const Run& run) const {
        if (whole(run)) return;
        const size_t width = run.column->width;
        for (size_t i = run.first; i < run.last; ++i) {
            const auto row = static_cast<size_t>(places_[i] - places_[run.first]);
            std::memcpy(run.column->out + i * width, buffer_.get() + row * width, width);
        }
    }

    // Whether the page cache held all of a run.
    bool read_cached([[maybe_unused]] const Run& run) {
#ifdef RWF_NOWAIT
        if (!tries_cache_) return false;
        const iovec into{target(run), bytes(run)};
        const ssize_t got = preadv2(descriptor_, &into, 1, offset(run), RWF_NOWAIT);
        if (got == static_cast<ssize_t>(into.iov_len)) {
            spread(run);
            return true;
        }
        // A file system that knows no such read is not asked again.
        tries_cache_ = got >= 0 || errno == EAGAIN || errno == EINTR;
#endif
        return false;
    }

    void advise() const {
#ifdef POSIX_FADV_WILLNEED
        for (const Run& run : runs_) {
            posix_fadvise(descriptor_, offset(run), static_cast<off_t>(bytes(run)),
                          POSIX_FADV_WILLNEED);
        }
#endif
    }

    int read_waiting(const Run& run) {
        uint8_t* const to = target(run);
        const size_t size = bytes(run);
        for (size_t done = 0; done < size;) {
            const ssize_t got = pread(descriptor_, to + done, size - done,
                                      static_cast<off_t>(offset(run) + static_cast<int64_t>(done)));
            if (got == 0) return kTruncated;
            if (got < 0 && errno != EINTR) return errno;
            if (got > 0) done += static_cast<size_t>(got);
        }
        spread(run);
        return 0;
    }

    const int descriptor_;
    const std::span<const int64_t> places_;
    std::vector<Run> runs_;
    Buffer<uint8_t> buffer_;
    size_t held_ = 0;
    bool tries_cache_ = true;
};

}  // namespace

int gather_rows(int descriptor, std::span<const FileColumn> columns,
                std::span<const int64_t> places) {
    Gatherer gatherer(descriptor, places);
    for (const FileColumn& column : columns) gatherer.plan(column);
    return gatherer.read();
}

}  // namespace nestbit
