#include "encode.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "buffer.h"
#include "parallel.h"

namespace nestbit {
namespace {

constexpr size_t kTilesPerTask = 8;
constexpr size_t kDecodeRows = 512;
constexpr size_t kBytesPerTask = 1 << 18;

// The codebooks as CellBooks lays them out.
class Books {
public:
    explicit Books(const EncodeRequest& request)
        : start_(request.cells.count),
          left_to_(request.cells.count),
          offset_(make_buffer<float>(request.cells.centroids * request.cells.count)),
          book_(make_buffer<float>(request.cells.centroids * request.cells.columns)),
          decoded_(make_buffer<float>(request.cells.centroids * request.cells.columns)) {
        const CellRanges& cells = request.cells;
        std::vector<uint8_t> later(cells.coordinates);
        size_t end = cells.columns;
        for (size_t c = cells.count; c-- > 0;) {
            const auto width = static_cast<size_t>(cells.width[c]);
            end -= width;
            start_[c] = end;
            uint8_t* covered = later.data() + cells.first[c];
            left_to_[c] = std::any_of(covered, covered + width, [](uint8_t b) { return b != 0; });
            overlap_ = overlap_ || left_to_[c];
            std::fill_n(covered, width, uint8_t{1});
        }
        parallel_for((cells.count + 15) / 16, request.threads, [&](size_t task) {
            const size_t last = std::min(cells.count, 16 * task + 16);
            for (size_t c = 16 * task; c < last; ++c) put(request, c);
        });
    }
    bool overlap() const { return overlap_; }
    CellBooks get(const CellRanges& cells) const {
        return {cells.count,   cells.centroids, cells.coordinates, cells.first,
                cells.width,   start_.data(),   left_to_.data(),   offset_.get(),
                book_.get(),   decoded_.get()};
    }

private:
    void put(const EncodeRequest& request, size_t c) {
        const size_t k = request.cells.centroids, columns = request.cells.columns;
        const auto width = static_cast<size_t>(request.cells.width[c]);
        float* book = book_.get() + k * start_[c];
        float* decoded = decoded_.get() + k * start_[c];
        for (size_t j = 0; j < k; ++j) {
            const float* from = request.centroids + j * columns + start_[c];
            const float* decodes = request.decoded + j * columns + start_[c];
            double square = 0;
            for (size_t w = 0; w < width; ++w) {
                square += static_cast<double>(from[w]) * static_cast<double>(from[w]);
                book[w * k + j] = from[w];
                decoded[w * k + j] = decodes[w];
            }
            offset_[c * k + j] = static_cast<float>(-square / 2);
        }
    }

    std::vector<size_t> start_;
    std::vector<uint8_t> left_to_;
    Buffer<float> offset_, book_, decoded_;
    bool overlap_ = false;
};

// Four coordinates of four rows. Store by store it would take half the time of encoding.
void transpose_four(const float* rows, ptrdiff_t stride, float* to) {
#if defined(__x86_64__)
    __m128 a = _mm_loadu_ps(rows), b = _mm_loadu_ps(rows + stride);
    __m128 c = _mm_loadu_ps(rows + 2 * stride), d = _mm_loadu_ps(rows + 3 * stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_store_ps(to, a);
    _mm_store_ps(to + kEncodeRows, b);
    _mm_store_ps(to + 2 * kEncodeRows, c);
    _mm_store_ps(to + 3 * kEncodeRows, d);
#elif defined(__aarch64__)
    const float32x4_t a = vld1q_f32(rows), b = vld1q_f32(rows + stride);
    const float32x4_t c = vld1q_f32(rows + 2 * stride), d = vld1q_f32(rows + 3 * stride);
    const float32x4_t ac = vzip1q_f32(a, c), ac2 = vzip2q_f32(a, c);
    const float32x4_t bd = vzip1q_f32(b, d), bd2 = vzip2q_f32(b, d);
    vst1q_f32(to, vzip1q_f32(ac, bd));
    vst1q_f32(to + kEncodeRows, vzip2q_f32(ac, bd));
    vst1q_f32(to + 2 * kEncodeRows, vzip1q_f32(ac2, bd2));
    vst1q_f32(to + 3 * kEncodeRows, vzip2q_f32(ac2, bd2));
#else
    for (size_t r = 0; r < 4; ++r, rows += stride, ++to) {
        for (size_t i = 0; i < 4; ++i) to[i * kEncodeRows] = rows[i];
    }
#endif
}

// to[i * kEncodeRows + r] = row r's coordinate i; missing rows are zero. `to` is aligned.
void transpose(const float* rows, ptrdiff_t stride, size_t count, size_t coordinates, float* to) {
    const auto row = [&](size_t r) { return rows + static_cast<ptrdiff_t>(r) * stride; };
    const size_t fours = count / 4 * 4, whole = coordinates / 4 * 4;
    constexpr size_t kLine = 16;  // floats: what is read and written stays in the nearest cache
    for (size_t from = 0; from < whole; from += kLine) {
        const size_t end = std::min(whole, from + kLine);
        for (size_t r = 0; r < fours; r += 4) {
            for (size_t i = from; i < end; i += 4) {
                transpose_four(row(r) + i, stride, to + i * kEncodeRows + r);
            }
        }
    }
    for (size_t r = 0; r < count; ++r) {
        for (size_t i = r < fours ? whole : 0; i < coordinates; ++i) {
            to[i * kEncodeRows + r] = row(r)[i];
        }
    }
    for (size_t i = 0; i < coordinates && count < kEncodeRows; ++i) {
        std::fill_n(to + i * kEncodeRows + count, kEncodeRows - count, 0.0f);
    }
}

// Without branches or calls, so that it becomes vector code for any CPU. Beyond one step outside
// the range nothing tells values apart; within it, adding 1.5 * 2^23 rounds to the nearest whole
// number, ties to even.
size_t row_bytes(const float* row, size_t dim, const float* offset, const float* inverse,
                 float low, uint8_t* codes) {
    constexpr float kRound = 12582912.0f;
    const float high = low + 255, below = low - 1, above = high + 1;
    uint32_t clipped = 0;
    for (size_t i = 0; i < dim; ++i) {
        float x = (row[i] - offset[i]) * inverse[i];
        x = x > below ? x : below;
        x = x < above ? x : above;
        x = (x + kRound) - kRound;
        clipped += (x < low) | (x > high);
        x = x > low ? x : low;
        x = x < high ? x : high;
        codes[i] = static_cast<uint8_t>(static_cast<int32_t>(x));
    }
    return clipped;
}

// found[c * kEncodeRows + r] to rows of codes.
void pack(const uint8_t* found, const CellRanges& cells, size_t count, uint8_t* codes) {
    const size_t width = code_bytes(cells.count, cells.centroids);
    constexpr size_t kBlock = 64;
    uint8_t bytes[kBlock][kEncodeRows];
    for (size_t b = 0; b < width; b += kBlock) {
        const size_t end = std::min(width, b + kBlock);
        for (size_t j = b; j < end; ++j) {
            uint8_t* to = bytes[j - b];
            if (cells.centroids != 16) {
                std::memcpy(to, found + j * kEncodeRows, kEncodeRows);
                continue;
            }
            const uint8_t* low = found + 2 * j * kEncodeRows;
            const bool pair = 2 * j + 1 < cells.count;
            for (size_t r = 0; r < kEncodeRows; ++r) {
                const uint8_t high = pair ? low[kEncodeRows + r] : uint8_t{0};
                to[r] = static_cast<uint8_t>(low[r] | high << 4);
            }
        }
        for (size_t r = 0; r < count; ++r) {
            for (size_t j = b; j < end; ++j) codes[r * width + j] = bytes[j - b][r];
        }
    }
}

}  // namespace

void encode_cells(const KernelTable& table, const EncodeRequest& request, uint8_t* codes,
                  float* along, float* length2) {
    const CellRanges& cells = request.cells;
    if (request.n == 0) return;
    const Books books(request);
    const CellBooks laid = books.get(cells);
    const size_t width = code_bytes(cells.count, cells.centroids);
    const size_t plane = cells.coordinates * kEncodeRows;
    const size_t tiles = (request.n + kEncodeRows - 1) / kEncodeRows;
    // No more tiles a task than leave every thread one.
    const size_t most = (tiles + request.threads - 1) / request.threads;
    const size_t per_task = std::min(kTilesPerTask, most);
    parallel_for((tiles + per_task - 1) / per_task, request.threads, [&](size_t task) {
        const Buffer<float> floats = make_buffer<float>((books.overlap() ? 3 : 2) * plane);
        const Buffer<uint8_t> found = make_buffer<uint8_t>(cells.count * kEncodeRows);
        const size_t last = std::min(tiles, (task + 1) * per_task);
        for (size_t tile = task * per_task; tile < last; ++tile) {
            const size_t row = tile * kEncodeRows;
            const size_t count = std::min(kEncodeRows, request.n - row);
            float* z = floats.get();
            float* left = books.overlap() ? z + 2 * plane : z;
            transpose(request.rows + static_cast<ptrdiff_t>(row) * request.stride, request.stride,
                      count, cells.coordinates, z);
            if (left != z) std::copy_n(z, plane, left);
            std::fill_n(z + plane, plane, 0.0f);
            const EncodeTile here{z, left, z + plane, found.get(), count};
            float sums[2][kEncodeRows];
            table.encode(laid, here, sums[0], sums[1]);
            std::copy_n(sums[0], count, along + row);
            std::copy_n(sums[1], count, length2 + row);
            pack(found.get(), cells, count, codes + row * width);
        }
    });
}

void decode_cells(const RowBlock& codes, const CellRanges& cells, const float* decoded,
                  size_t threads, float* out) {
    const size_t tasks = (codes.count + kDecodeRows - 1) / kDecodeRows;
    parallel_for(tasks, threads, [&](size_t task) {
        const size_t last = std::min(codes.count, (task + 1) * kDecodeRows);
        for (size_t r = task * kDecodeRows; r < last; ++r) {
            const uint8_t* code = codes.data + static_cast<ptrdiff_t>(r) * codes.stride;
            float* row = out + r * cells.coordinates;
            std::fill_n(row, cells.coordinates, 0.0f);
            size_t start = 0;
            for (size_t c = 0; c < cells.count; ++c) {
                const size_t width = static_cast<size_t>(cells.width[c]);
                const size_t chosen = cells.centroids != 16 ? code[c]
                                      : c % 2               ? code[c / 2] >> 4
                                                            : code[c / 2] & 15;
                const float* from = decoded + chosen * cells.columns + start;
                float* to = row + cells.first[c];
                for (size_t w = 0; w < width; ++w) to[w] += from[w];
                start += width;
            }
        }
    });
}

size_t encode_bytes(const float* rows, ptrdiff_t stride, size_t n, size_t dim, const float* offset,
                    const float* inverse, int low, size_t threads, uint8_t* codes) {
    const size_t step = std::max<size_t>(1, kBytesPerTask / dim);
    std::atomic<size_t> clipped{0};
    parallel_for((n + step - 1) / step, threads, [&](size_t task) {
        size_t found = 0;
        const size_t last = std::min(n, (task + 1) * step);
        for (size_t r = task * step; r < last; ++r) {
            found += row_bytes(rows + static_cast<ptrdiff_t>(r) * stride, dim, offset, inverse,
                               static_cast<float>(low), codes + r * dim);
        }
        clipped += found;
    });
    return clipped;
}

}  // namespace nestbit
