// The encoder of cells with NEON, 4 rows per vector, 16 at once, and the tables of queries.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cmath>
#include <cstring>

#include "neon_cells.h"
#include "target.h"

NESTBIT_TARGET_BEGIN(NESTBIT_DOTPROD)

#include "cells_encode.h"
#include "cells_tables.h"
#include "rabitq.h"

namespace nestbit::neon {
namespace {

struct Lanes {
    using Floats = float32x4_t;
    using Ints = int32x4_t;
    static constexpr size_t kLanes = 4;
    static constexpr int kGroups = 4;

    static Floats all(float x) { return vdupq_n_f32(x); }
    static Ints whole(int x) { return vdupq_n_s32(x); }
    static Floats load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, Floats x) { vst1q_f32(p, x); }
    static Floats add(Floats x, Floats y) { return vaddq_f32(x, y); }
    static Floats subtract(Floats x, Floats y) { return vsubq_f32(x, y); }
    static Floats fma(Floats x, Floats y, Floats z) { return vfmaq_f32(z, x, y); }
    static Floats divide(Floats x, Floats y) { return vdivq_f32(x, y); }
    static Floats least(Floats x, Floats y) { return vminq_f32(x, y); }
    static Floats largest(Floats x, Floats y) { return vmaxq_f32(x, y); }
    static float least_lane(Floats x) { return vminvq_f32(x); }
    static float largest_lane(Floats x) { return vmaxvq_f32(x); }
    static Ints nearest(Floats x) { return vcvtnq_s32_f32(x); }
    static void keep_larger(Floats score, Ints number, Floats& top, Ints& best) {
        const uint32x4_t larger = vcgtq_f32(score, top);
        top = vbslq_f32(larger, score, top);
        best = vbslq_s32(larger, number, best);
    }
    template <size_t K>
    static Floats lookup(const float* values, Ints chosen) {
        const float found[4] = {
            values[vgetq_lane_s32(chosen, 0)], values[vgetq_lane_s32(chosen, 1)],
            values[vgetq_lane_s32(chosen, 2)], values[vgetq_lane_s32(chosen, 3)]};
        return vld1q_f32(found);
    }
    static void store_bytes(uint8_t* p, Ints x) {
        const int16x4_t words = vmovn_s32(x);
        const uint8x8_t bytes = vmovn_u16(vreinterpretq_u16_s16(vcombine_s16(words, words)));
        const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
        std::memcpy(p, &four, 4);
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

}  // namespace nestbit::neon

NESTBIT_TARGET_END

#endif
