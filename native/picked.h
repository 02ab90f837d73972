// Rows picked one by one, copied next to each other so that a score function takes them as a block.
#pragma once

#include <cstring>

#include "buffer.h"
#include "kernels.h"
#include "scan.h"

namespace nestbit {

class PickedRows {
public:
    PickedRows(const ScanRequest& request, size_t capacity)
        : from_(request), capacity_(capacity), numbers_(make_buffer<uint32_t>(capacity)) {
        data_ = make_buffer<uint8_t>(capacity * from_.rows.width);
        if (from_.row_scale) row_scale_ = make_buffer<float>(capacity);
        if (from_.row_scale_half) row_scale_half_ = make_buffer<uint16_t>(capacity);
        if (from_.row_bias) row_bias_ = make_buffer<float>(capacity);
    }

    bool empty() const { return count_ == 0; }
    size_t size() const { return count_; }
    void clear() { count_ = 0; }

    // At most `capacity` rows. They come in ascending order; the fetch of one begins here.
    void add(size_t row) {
        const uint8_t* data = at(row);
        for (size_t b = 0; b < from_.rows.width; b += 64) __builtin_prefetch(data + b);
        __builtin_prefetch(data + from_.rows.width - 1);
        numbers_[count_++] = static_cast<uint32_t>(row);
    }

    RowBlock copy_rows() {
        const size_t width = from_.rows.width;
        for (size_t i = 0; i < count_; ++i) {
            const size_t row = numbers_[i];
            std::memcpy(data_.get() + i * width, at(row), width);
            if (row_scale_) row_scale_[i] = from_.row_scale[row];
            if (row_scale_half_) row_scale_half_[i] = from_.row_scale_half[row];
            if (row_bias_) row_bias_[i] = from_.row_bias[row];
        }
        return {data_.get(), static_cast<ptrdiff_t>(width), count_, width};
    }

    // The factors of the copied rows.
    Scoring scoring(float scale, float base) const {
        return {scale, base, row_scale_.get(), row_scale_half_.get(), row_bias_.get()};
    }

    // Keys of rows counted among the picked ones, from 0, become keys of the rows themselves.
    void rename(uint64_t* keys, size_t count) const {
        for (size_t i = 0; i < count; ++i) {
            const uint32_t row = numbers_[~static_cast<uint32_t>(keys[i])];
            keys[i] = keys[i] >> 32 << 32 | static_cast<uint32_t>(~row);
        }
    }

private:
    const uint8_t* at(size_t row) const {
        return from_.rows.data + static_cast<ptrdiff_t>(row) * from_.rows.stride;
    }

    const ScanRequest& from_;
    size_t capacity_, count_ = 0;
    Buffer<uint32_t> numbers_;
    Buffer<uint8_t> data_;
    Buffer<float> row_scale_, row_bias_;
    Buffer<uint16_t> row_scale_half_;
};

}  // namespace nestbit
