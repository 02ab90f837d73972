#include "graph/products.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace nestbit::graph {
namespace {

constexpr size_t kAhead = 8;  // rows fetched before they are copied

}  // namespace

Products::Products(const KernelTable& table, const Rows& rows, size_t most, size_t tile)
    : table_(table),
      rows_(rows),
      session_(table),
      stride_(round_up(rows.dim, kPad)),
      ld_(round_up(most, kRowGroup)),
      loaded_(make_buffer<uint8_t>(most * stride_)),
      queries_(make_buffer<uint8_t>(tile * stride_)),
      scratch_(make_buffer<uint8_t>(scratch_bytes(Op::bytes_i8, rows.dim, most))),
      dots_(make_buffer<int32_t>(tile * ld_)),
      sums_(make_buffer<int32_t>(tile)) {
    // The values that pad a row stay zero.
    std::memset(loaded_.get(), 0, most * stride_);
    std::memset(queries_.get(), 0, tile * stride_);
    if (table.pack_from <= tile) {
        packed_ = make_buffer<uint8_t>(table.packed_bytes(Op::bytes_i8, rows.dim, tile));
    }
}

void Products::load(std::span<const uint32_t> numbers) {
    count_ = numbers.size();
    gather(numbers, loaded_.get());
}

void Products::multiply(std::span<const uint32_t> numbers) {
    gather(numbers, queries_.get());
    multiply(queries_.get(), numbers.size());
}

void Products::multiply_first(size_t count) { multiply(loaded_.get(), count); }

void Products::gather(std::span<const uint32_t> numbers, uint8_t* to) const {
    for (size_t i = 0; i < numbers.size(); ++i, to += stride_) {
        if (i + kAhead < numbers.size()) {
            const int8_t* next = rows_.row(numbers[i + kAhead]);
            for (size_t d = 0; d < rows_.dim; d += 64) __builtin_prefetch(next + d);
        }
        std::memcpy(to, rows_.row(numbers[i]), rows_.dim);
    }
}

void Products::multiply(const uint8_t* data, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        const auto* row = reinterpret_cast<const int8_t*>(data + i * stride_);
        sums_[i] = std::accumulate(row, row + rows_.dim, int32_t{0});
    }
    QueryTile queries{data, stride_, count, sums_.get(), nullptr, nullptr};
    if (count >= table_.pack_from) {
        table_.pack(Op::bytes_i8, rows_.dim, queries, packed_.get());
        queries.packed = packed_.get();
    }
    const RowBlock block{loaded_.get(), static_cast<ptrdiff_t>(stride_), count_, rows_.dim};
    table_.score[static_cast<size_t>(Op::bytes_i8)](block, queries, scratch_.get(), dots_.get(),
                                                    ld_);
}

}  // namespace nestbit::graph
