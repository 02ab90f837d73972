#include "queries.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nestbit {
namespace {

// numpy.packbits puts dimension 8b + i in bit 7 - i of byte b.
inline size_t bit_place(size_t d) { return d ^ 7; }

int32_t ones(const uint8_t* bytes, size_t size) {
    int32_t count = 0;
    for (size_t i = 0; i < size; ++i) count += std::popcount(bytes[i]);
    return count;
}

// Cell 2j has its table at low_table(j), cell 2j + 1 at high_table(j).
void place_tables(const uint8_t* from, size_t width, uint8_t* to) {
    for (size_t j = 0; j < width; ++j, from += 32) {
        std::memcpy(to + low_table(j), from, 16);
        std::memcpy(to + high_table(j), from + 16, 16);
    }
}

}  // namespace

PreparedQueries::PreparedQueries(const KernelTable& table, Op op, size_t width,
                                 const RawQueries& raw)
    : table_(table), op_(op), width_(width), sums_(raw.count) {
    const size_t stride = op == Op::cells  ? low_table(round_up(width, kCellPad))
                          : op == Op::wide ? table_size(op) * width
                          : op == Op::bits ? round_up(8 * width, kPad)
                                           : round_up(width, kPad);
    data_ = make_buffer<uint8_t>(raw.count * stride);
    std::memset(data_.get(), 0, raw.count * stride);
    for (size_t q = 0; q < raw.count; ++q) {
        const uint8_t* from = raw.data + static_cast<ptrdiff_t>(q) * raw.stride;
        uint8_t* to = data_.get() + q * stride;
        if (op == Op::bits) {
            for (size_t d = 0; d < raw.length; ++d) to[bit_place(d)] = from[d];
        } else if (op == Op::cells) {
            place_tables(from, width, to);
        } else {
            std::memcpy(to, from, raw.length);
        }
        if (op == Op::hamming) {
            sums_[q] = ones(from, raw.length);
        } else if (!table_size(op)) {
            for (size_t d = 0; d < raw.length; ++d) sums_[q] += static_cast<int8_t>(from[d]);
        }
    }
    if (op == Op::bits) {
        const size_t plane = plane_bytes(width);
        planes_ = make_buffer<uint8_t>(raw.count * 8 * plane);
        std::memset(planes_.get(), 0, raw.count * 8 * plane);
        for (size_t q = 0; q < raw.count; ++q) {
            const uint8_t* from = data_.get() + q * stride;
            uint8_t* to = planes_.get() + q * 8 * plane;
            for (size_t d = 0; d < 8 * width; ++d) to[d % 8 * plane + d / 8] = from[d];
        }
    }
    tile_ = {data_.get(), stride, raw.count, sums_.data(), planes_.get(), nullptr};
    if (!table_size(op) && raw.count >= table.pack_from) {
        packed_ = make_buffer<uint8_t>(table.packed_bytes(op, width, raw.count));
        table.pack(op, width, tile_, packed_.get());
        tile_.packed = packed_.get();
    }
}

PreparedQueries PreparedQueries::room() const {
    PreparedQueries made(table_, op_, width_);
    const size_t count = sums_.size();
    made.sums_.resize(count);
    made.data_ = make_buffer<uint8_t>(count * tile_.stride);
    if (planes_) made.planes_ = make_buffer<uint8_t>(count * 8 * plane_bytes(width_));
    if (packed_) made.packed_ = make_buffer<uint8_t>(table_.packed_bytes(op_, width_, count));
    made.tile_ = {made.data_.get(), tile_.stride, 0, made.sums_.data(), made.planes_.get(), nullptr};
    return made;
}

void PreparedQueries::take(const PreparedQueries& from, size_t first,
                           std::span<const uint32_t> chosen) {
    const size_t stride = tile_.stride, planes = 8 * plane_bytes(width_);
    for (size_t i = 0; i < chosen.size(); ++i) {
        const size_t q = first + chosen[i];
        std::memcpy(data_.get() + i * stride, from.data_.get() + q * stride, stride);
        if (planes_) {
            std::memcpy(planes_.get() + i * planes, from.planes_.get() + q * planes, planes);
        }
        sums_[i] = from.sums_[q];
    }
    tile_.count = chosen.size();
    tile_.packed = nullptr;
    if (packed_ && chosen.size() >= table_.pack_from) {
        table_.pack(op_, width_, tile_, packed_.get());
        tile_.packed = packed_.get();
    }
}

QueryTile PreparedQueries::tile(size_t first, size_t count) const {
    QueryTile part = tile_;
    part.data += first * part.stride;
    part.count = count;
    part.sums += first;
    if (part.planes) part.planes += first * 8 * plane_bytes(width_);
    if (part.packed) part.packed += table_.packed_bytes(op_, width_, first);
    return part;
}

void prepare_weights(Element element, const float* raw, size_t dim, float* prepared, size_t size) {
    std::fill(prepared, prepared + size, 0.0f);
    for (size_t d = 0; d < dim; ++d) {
        prepared[element == Element::bits ? bit_place(d) : d] = raw[d];
    }
}

}  // namespace nestbit
