// The encoder of cells with AVX-512, 16 rows per vector, 64 at once, and the tables of queries.
#if defined(__x86_64__)

#include <cmath>

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

#include "cells_encode.h"
#include "cells_tables.h"
#include "rabitq.h"

namespace nestbit::avx512 {
namespace {

struct Lanes {
    using Floats = __m512;
    using Ints = __m512i;
    static constexpr size_t kLanes = 16;
    static constexpr int kGroups = 4;

    static Floats all(float x) { return _mm512_set1_ps(x); }
    static Ints whole(int x) { return _mm512_set1_epi32(x); }
    static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
    static Floats add(Floats x, Floats y) { return _mm512_add_ps(x, y); }
    static Floats subtract(Floats x, Floats y) { return _mm512_sub_ps(x, y); }
    static Floats fma(Floats x, Floats y, Floats z) { return _mm512_fmadd_ps(x, y, z); }
    static Floats divide(Floats x, Floats y) { return _mm512_div_ps(x, y); }
    static Floats least(Floats x, Floats y) { return _mm512_min_ps(x, y); }
    static Floats largest(Floats x, Floats y) { return _mm512_max_ps(x, y); }
    static float least_lane(Floats x) { return _mm512_reduce_min_ps(x); }
    static float largest_lane(Floats x) { return _mm512_reduce_max_ps(x); }
    static Ints nearest(Floats x) { return _mm512_cvtps_epi32(x); }
    static void keep_larger(Floats score, Ints number, Floats& top, Ints& best) {
        const __mmask16 larger = _mm512_cmp_ps_mask(score, top, _CMP_GT_OQ);
        top = _mm512_mask_mov_ps(top, larger, score);
        best = _mm512_mask_mov_epi32(best, larger, number);
    }
    template <size_t K>
    static Floats lookup(const float* values, Ints chosen) {
        if constexpr (K == 16) return _mm512_permutexvar_ps(chosen, _mm512_loadu_ps(values));
        return _mm512_i32gather_ps(chosen, values, 4);
    }
    static void store_bytes(uint8_t* p, Ints x) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
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

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

#endif
