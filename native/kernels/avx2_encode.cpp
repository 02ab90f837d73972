// The encoder of cells with AVX2, 8 rows per vector, 16 at once, and the tables of queries.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>

#include "avx2_cells.h"
#include "target.h"

NESTBIT_TARGET_BEGIN("avx2,fma,f16c,popcnt")

#include "cells_encode.h"
#include "cells_tables.h"
#include "rabitq.h"

namespace nestbit::avx2 {
namespace {

struct Lanes {
    using Floats = __m256;
    using Ints = __m256i;
    static constexpr size_t kLanes = 8;
    static constexpr int kGroups = 2;

    static Floats all(float x) { return _mm256_set1_ps(x); }
    static Ints whole(int x) { return _mm256_set1_epi32(x); }
    static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
    static Floats add(Floats x, Floats y) { return _mm256_add_ps(x, y); }
    static Floats subtract(Floats x, Floats y) { return _mm256_sub_ps(x, y); }
    static Floats fma(Floats x, Floats y, Floats z) { return _mm256_fmadd_ps(x, y, z); }
    static Floats divide(Floats x, Floats y) { return _mm256_div_ps(x, y); }
    static Floats least(Floats x, Floats y) { return _mm256_min_ps(x, y); }
    static Floats largest(Floats x, Floats y) { return _mm256_max_ps(x, y); }
    static float least_lane(Floats x) {
        __m128 four = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        four = _mm_min_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_min_ss(four, _mm_movehdup_ps(four)));
    }
    static float largest_lane(Floats x) {
        __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        four = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    }
    static Ints nearest(Floats x) { return _mm256_cvtps_epi32(x); }
    static void keep_larger(Floats score, Ints number, Floats& top, Ints& best) {
        const Floats larger = _mm256_cmp_ps(score, top, _CMP_GT_OQ);
        top = _mm256_blendv_ps(top, score, larger);
        best = _mm256_blendv_epi8(best, number, _mm256_castps_si256(larger));
    }
    template <size_t K>
    static Floats lookup(const float* values, Ints chosen) {
        return _mm256_i32gather_ps(values, chosen, 4);
    }
    static void store_bytes(uint8_t* p, Ints x) {
        const __m128i low = _mm256_castsi256_si128(x), high = _mm256_extracti128_si256(x, 1);
        const __m128i words = _mm_packus_epi32(low, high);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
};

}  // namespace

void encode(const CellBooks& books, const EncodeTile& tile, float* along, float* length2) {
    CellEncoder<Lanes>::encode(books, tile, along, length2);
}

void tables(const TableBooks& books, const float* query, const TablesOut& out) {
    CellTables<Lanes>::all(books, query, out);
}

void rotate(const Rotation& rotation, float* row) { Rabitq<Lanes>::rotate(rotation, row); }

void grid(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial, float* along,
          float* length2) {
    Rabitq<Lanes>::grid(z, r, bits, code, trial, along, length2);
}

}  // namespace nestbit::avx2

NESTBIT_TARGET_END

#endif
