// The kernels of the walk with NEON: tbl looks up 16 rows' cells of one row byte. Wide cells are
// looked up one by one, as in avx2_walk.cpp.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

#include "neon_cells.h"
#include "target.h"

NESTBIT_TARGET_BEGIN(NESTBIT_DOTPROD)

namespace nestbit::neon {
namespace {

constexpr size_t kColumnsAtOnce = 128;  // of two cells each: so many sums fit in 16 bits

inline void put(uint16x8_t sums, bool add, int32_t* out) {
    int32x4_t low = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(sums)));
    int32x4_t high = vreinterpretq_s32_u32(vmovl_high_u16(sums));
    if (add) {
        low = vaddq_s32(low, vld1q_s32(out));
        high = vaddq_s32(high, vld1q_s32(out + 4));
    }
    vst1q_s32(out, low);
    vst1q_s32(out + 4, high);
}

void cells_lanes(const uint8_t* codes, size_t groups, size_t width, const uint8_t* tables,
                 int32_t* sums) {
    const uint8x16_t nibble = vdupq_n_u8(15);
    for (size_t g = 0; g < groups; ++g, sums += kLanes) {
        for (size_t from = 0; from < width; from += kColumnsAtOnce) {
            const size_t end = width - from < kColumnsAtOnce ? width : from + kColumnsAtOnce;
            uint16x8_t low = vdupq_n_u16(0), high = low;
            for (size_t j = from; j < end; ++j, codes += kLanes) {
                const uint8x16_t x = vld1q_u8(codes);
                const uint8x16_t a = vqtbl1q_u8(vld1q_u8(tables + low_table(j)), vandq_u8(x, nibble));
                const uint8x16_t b = vqtbl1q_u8(vld1q_u8(tables + high_table(j)), vshrq_n_u8(x, 4));
                low = vaddw_u8(vaddw_u8(low, vget_low_u8(a)), vget_low_u8(b));
                high = vaddw_high_u8(vaddw_high_u8(high, a), b);
            }
            put(low, from > 0, sums);
            put(high, from > 0, sums + 8);
        }
    }
}

template <bool is_signed>
inline void widened(const uint8_t* p, int16x8_t* to) {
    const uint8x16_t bytes = vld1q_u8(p);
    if (is_signed) {
        const int8x16_t values = vreinterpretq_s8_u8(bytes);
        to[0] = vmovl_s8(vget_low_s8(values));
        to[1] = vmovl_high_s8(values);
    } else {
        to[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
        to[1] = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
    }
}

template <bool is_signed>
int32_t dot(const uint8_t* row, const int16_t* weights, size_t dim) {
    int32x4_t sum[4];
    for (auto& s : sum) s = vdupq_n_s32(0);
    const auto add = [&](const uint8_t* bytes, const int16_t* w) NESTBIT_INLINE {
        int16x8_t x[2];
        widened<is_signed>(bytes, x);
        NESTBIT_UNROLL
        for (int i = 0; i < 2; ++i) {
            const int16x8_t y = vld1q_s16(w + 8 * i);
            sum[2 * i] = vmlal_s16(sum[2 * i], vget_low_s16(x[i]), vget_low_s16(y));
            sum[2 * i + 1] = vmlal_high_s16(sum[2 * i + 1], x[i], y);
        }
    };
    size_t d = 0;
    for (; d + 16 <= dim; d += 16) add(row + d, weights + d);
    if (d < dim) {
        uint8_t last[16] = {};
        std::memcpy(last, row + d, dim - d);
        add(last, weights + d);
    }
    return vaddvq_s32(vaddq_s32(vaddq_s32(sum[0], sum[1]), vaddq_s32(sum[2], sum[3])));
}

}  // namespace
}  // namespace nestbit::neon

NESTBIT_TARGET_END

namespace nestbit {

const WalkKernels kNeonWalk = {
    .lanes = {neon::cells_lanes, kScalarWalk.lanes[1]},
    .picked = {neon::picked_cells, kScalarWalk.picked[1]},
    .dot = {neon::dot<true>, neon::dot<false>},
    .merge = nullptr,
    .products = nullptr,
};

}  // namespace nestbit

#endif
