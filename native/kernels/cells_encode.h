// The encoder of cells, over vectors whose lanes are rows.
//
// Included inside NESTBIT_TARGET_BEGIN, so that it is compiled for that instruction set. `L`, a
// type of an unnamed namespace of the including file, names the vectors and their operations; no
// two files share an instance of these templates.
//
// With rows in the lanes nothing is ever summed across lanes: a score is the same chain of fused
// multiply-adds on every instruction set, -|c|^2/2 first, then the coordinates in order. That
// makes the codes equal everywhere, and the choice of the best of 16 or 256 centroids a compare
// and two blends. kGroups vectors of rows share the load of a centroid, kAtOnce centroids that of
// the rows.
#pragma once

namespace nestbit {

template <typename L>
struct CellEncoder {
    using Floats = typename L::Floats;
    using Ints = typename L::Ints;
    static constexpr int G = L::kGroups;
    static constexpr int kAtOnce = 4;
    static constexpr size_t kRows = G * L::kLanes;
    static_assert(kEncodeRows % kRows == 0);

    // The best centroid for each of kRows rows: the first of those with the largest score. A
    // score that is not a number is never the best.
    template <size_t K>
    static inline NESTBIT_INLINE void nearest(const float* z, const float* book,
                                              const float* offset, size_t width, Ints* best) {
        Floats top[G];
        NESTBIT_UNROLL
        for (int g = 0; g < G; ++g) {
            top[g] = L::all(-INFINITY);
            best[g] = L::whole(0);
        }
        for (size_t j = 0; j < K; j += kAtOnce) {
            Floats score[kAtOnce][G];
            NESTBIT_UNROLL
            for (int t = 0; t < kAtOnce; ++t) {
                NESTBIT_UNROLL
                for (int g = 0; g < G; ++g) score[t][g] = L::all(offset[j + t]);
            }
            for (size_t w = 0; w < width; ++w) {
                Floats x[G];
                NESTBIT_UNROLL
                for (int g = 0; g < G; ++g) x[g] = L::load(z + w * kEncodeRows + g * L::kLanes);
                NESTBIT_UNROLL
                for (int t = 0; t < kAtOnce; ++t) {
                    const Floats c = L::all(book[w * K + j + t]);
                    NESTBIT_UNROLL
                    for (int g = 0; g < G; ++g) score[t][g] = L::fma(x[g], c, score[t][g]);
                }
            }
            NESTBIT_UNROLL
            for (int t = 0; t < kAtOnce; ++t) {
                const Ints number = L::whole(static_cast<int>(j) + t);
                NESTBIT_UNROLL
                for (int g = 0; g < G; ++g) L::keep_larger(score[t][g], number, top[g], best[g]);
            }
        }
    }

    template <size_t K>
    static void cells(const CellBooks& books, const EncodeTile& tile) {
        for (size_t c = 0; c < books.cells; ++c) {
            const auto width = static_cast<size_t>(books.width[c]);
            const float* book = books.book + K * books.start[c];
            const float* decoded = books.decoded + K * books.start[c];
            for (size_t r = 0; r < tile.count; r += kRows) {
                const size_t at = static_cast<size_t>(books.first[c]) * kEncodeRows + r;
                float *left = tile.left + at, *sums = tile.sums + at;
                Ints best[G];
                nearest<K>(left, book, books.offset + K * c, width, best);
                NESTBIT_UNROLL
                for (int g = 0; g < G; ++g) {
                    const size_t lane = static_cast<size_t>(g) * L::kLanes;
                    L::store_bytes(tile.found + c * kEncodeRows + r + lane, best[g]);
                    for (size_t w = 0; w < width; ++w) {
                        float* sum = sums + w * kEncodeRows + lane;
                        const Floats d = L::template lookup<K>(decoded + w * K, best[g]);
                        L::store(sum, L::add(L::load(sum), d));
                    }
                    for (size_t w = 0; w < width && books.left_to[c]; ++w) {
                        float* rest = left + w * kEncodeRows + lane;
                        const Floats d = L::template lookup<K>(book + w * K, best[g]);
                        L::store(rest, L::subtract(L::load(rest), d));
                    }
                }
            }
        }
    }

    static void encode(const CellBooks& books, const EncodeTile& tile, float* along,
                       float* length2) {
        books.centroids == 16 ? cells<16>(books, tile) : cells<256>(books, tile);
        for (size_t r = 0; r < tile.count; r += kRows) {
            Floats a[G], b[G];
            NESTBIT_UNROLL
            for (int g = 0; g < G; ++g) a[g] = b[g] = L::all(0);
            for (size_t i = 0; i < books.coordinates; ++i) {
                NESTBIT_UNROLL
                for (int g = 0; g < G; ++g) {
                    const size_t at = i * kEncodeRows + r + static_cast<size_t>(g) * L::kLanes;
                    const Floats sum = L::load(tile.sums + at);
                    a[g] = L::fma(sum, L::load(tile.z + at), a[g]);
                    b[g] = L::fma(sum, sum, b[g]);
                }
            }
            NESTBIT_UNROLL
            for (int g = 0; g < G; ++g) {
                const size_t at = r + static_cast<size_t>(g) * L::kLanes;
                L::store(along + at, a[g]);
                L::store(length2 + at, b[g]);
            }
        }
    }
};

}  // namespace nestbit
