// Inner products of rows gathered from anywhere with other such rows.
#pragma once

#include <span>

#include "buffer.h"
#include "graph/graph.h"
#include "session.h"

namespace nestbit::graph {

// Lives on the thread that made it: some instruction sets have to be set up for a thread.
class Products {
public:
    // Of up to `tile` rows, at most kQueryTile, with up to `most` others.
    Products(const KernelTable& table, const Rows& rows, size_t most, size_t tile);

    // Copies the rows to multiply with, at most `most`.
    void load(std::span<const uint32_t> numbers);
    // Multiplies at most `tile` rows with the loaded ones.
    void multiply(std::span<const uint32_t> numbers);
    // The same with the first `count` loaded rows themselves.
    void multiply_first(size_t count);
    // Products of row i of the last call with all that are loaded.
    const int32_t* of(size_t i) const { return dots_.get() + i * ld_; }

private:
    void gather(std::span<const uint32_t> numbers, uint8_t* to) const;
    void multiply(const uint8_t* queries, size_t count);

    const KernelTable& table_;
    const Rows& rows_;
    Session session_;
    size_t stride_, ld_, count_ = 0;
    Buffer<uint8_t> loaded_, queries_, packed_, scratch_;
    Buffer<int32_t> dots_, sums_;
};

}  // namespace nestbit::graph
