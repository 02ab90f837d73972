// The tables of queries over cells, over vectors whose lanes are centroids.
//
// Included inside NESTBIT_TARGET_BEGIN, like cells_encode.h, whose `L` it takes. A value is a chain
// of fused multiply-adds over the cell's coordinates in order, and least and largest values do not
// depend on the order they are found in: tables are equal on every instruction set.
#pragma once

namespace nestbit {

template <typename L>
struct CellTables {
    using Floats = typename L::Floats;
    static constexpr size_t W = L::kLanes;

    // The tables of all cells, the least value of each, their sum, and the largest range.
    template <size_t K>
    static float values(const TableBooks& books, const float* query, const TablesOut& out) {
        // As many sums as hide the latency of a multiply-add and still stay in registers.
        constexpr size_t kSums = K / W < 8 ? K / W : 8;
        float range = 0;
        double base = 0;
        for (size_t c = 0; c < books.cells; ++c) {
            const auto width = static_cast<size_t>(books.width[c]);
            const float* book = books.books + K * books.start[c];
            const float* q = query + books.first[c];
            float* to = out.tables + K * c;
            Floats low = L::all(INFINITY), high = L::all(-INFINITY);
            for (size_t j = 0; j < K; j += kSums * W) {
                Floats sum[kSums];
                NESTBIT_UNROLL
                for (size_t t = 0; t < kSums; ++t) sum[t] = L::all(0);
                for (size_t w = 0; w < width; ++w) {
                    const Floats x = L::all(q[w]);
                    NESTBIT_UNROLL
                    for (size_t t = 0; t < kSums; ++t) {
                        sum[t] = L::fma(x, L::load(book + w * K + j + t * W), sum[t]);
                    }
                }
                NESTBIT_UNROLL
                for (size_t t = 0; t < kSums; ++t) {
                    L::store(to + j + t * W, sum[t]);
                    low = L::least(sum[t], low);
                    high = L::largest(sum[t], high);
                }
            }
            out.low[c] = L::least_lane(low);
            const float here = L::largest_lane(high) - out.low[c];
            range = here > range ? here : range;
            base += static_cast<double>(out.low[c]);
        }
        *out.base = static_cast<float>(base);
        return range;
    }

    template <size_t K>
    static void tables(const TableBooks& books, const float* query, const TablesOut& out) {
        const float scale = values<K>(books, query, out) / 255.0f;
        *out.scale = scale;
        const Floats step = L::all(scale > 0 ? scale : 1.0f), most = L::all(255.0f);
        for (size_t c = 0; c < books.cells; ++c) {
            const Floats low = L::all(out.low[c]);
            for (size_t j = 0; j < K; j += W) {
                const Floats above = L::subtract(L::load(out.tables + K * c + j), low);
                // A subnormal scale may be rounded far down.
                const Floats steps = L::least(L::divide(above, step), most);
                L::store_bytes(out.rounded + K * c + j, L::nearest(steps));
            }
        }
    }

    static void all(const TableBooks& books, const float* query, const TablesOut& out) {
        books.centroids == 16 ? tables<16>(books, query, out) : tables<256>(books, query, out);
    }
};

}  // namespace nestbit
