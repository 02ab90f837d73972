// The encoder of cells and the tables of queries in plain C++.
#include <cmath>

#include "../kernels.h"
#include "target.h"
#include "cells_encode.h"
#include "cells_tables.h"
#include "rabitq.h"

namespace nestbit {
namespace {

struct Lanes {
    using Floats = float;
    using Ints = int;
    static constexpr size_t kLanes = 1;
    static constexpr int kGroups = 1;

    static Floats all(float x) { return x; }
    static Ints whole(int x) { return x; }
    static Floats load(const float* p) { return *p; }
    static void store(float* p, Floats x) { *p = x; }
    static Floats add(Floats x, Floats y) { return x + y; }
    static Floats subtract(Floats x, Floats y) { return x - y; }
    static Floats fma(Floats x, Floats y, Floats z) { return std::fma(x, y, z); }
    static Floats divide(Floats x, Floats y) { return x / y; }
    static Floats least(Floats x, Floats y) { return x < y ? x : y; }
    static Floats largest(Floats x, Floats y) { return x > y ? x : y; }
    static float least_lane(Floats x) { return x; }
    static float largest_lane(Floats x) { return x; }
    // Of 0 to 255: adding 1.5 * 2^23 rounds to the nearest whole number, ties to even.
    static Ints nearest(Floats x) { return static_cast<int>((x + 12582912.0f) - 12582912.0f); }
    static void keep_larger(Floats score, Ints number, Floats& top, Ints& best) {
        if (!(score > top)) return;
        top = score;
        best = number;
    }
    template <size_t K>
    static Floats lookup(const float* values, Ints chosen) {
        return values[chosen];
    }
    static void store_bytes(uint8_t* p, Ints x) { *p = static_cast<uint8_t>(x); }
};

}  // namespace

void encode_scalar(const CellBooks& books, const EncodeTile& tile, float* along, float* length2) {
    CellEncoder<Lanes>::encode(books, tile, along, length2);
}

void tables_scalar(const TableBooks& books, const float* query, const TablesOut& out) {
    CellTables<Lanes>::all(books, query, out);
}

void rotate_scalar(const Rotation& rotation, float* row) { Rabitq<Lanes>::rotate(rotation, row); }

void grid_scalar(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial, float* along,
          float* length2) {
    Rabitq<Lanes>::grid(z, r, bits, code, trial, along, length2);
}

}  // namespace nestbit
