// NEON with the dot-product instructions (Armv8.2 and later): rows straight from memory, four at
// a time, their sums reduced together.
//   hamming  vcnt, bytes summed pairwise
//   bits     bit i of the row bytes, worth 2^i, times plane i of the weights by sdot; doubling the
//            sum between the planes makes every plane count 2^7. As a signed byte bit 7 is worth
//            -128, so its plane is subtracted.
//   bytes    sdot; unsigned rows become r - 128 first, made good by 128 * sum(weights)
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

#include "../kernels.h"
#include "neon_cells.h"
#include "target.h"

NESTBIT_TARGET_BEGIN(NESTBIT_DOTPROD)

namespace nestbit {
namespace {

using V = int32x4_t;

// The last `size` < 16 bytes of a row, padded with zeros.
inline uint8x16_t load_tail(const uint8_t* p, size_t size) {
    uint8_t bytes[16] = {};
    std::memcpy(bytes, p, size);
    return vld1q_u8(bytes);
}

// Lane sums of four vectors.
inline V sum_lanes(const V* v) { return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3])); }

// What a kernel does with 16 bytes of a row and of a query: sum += f(row, query).
struct Hamming {
    V add(V sum, uint8x16_t row, uint8x16_t query) const {
        const uint16x8_t pairs = vpaddlq_u8(vcntq_u8(veorq_u8(row, query)));
        return vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(sum), pairs));
    }
};

struct Bytes {
    uint8x16_t flip;
    V add(V sum, uint8x16_t row, uint8x16_t query) const {
        const int8x16_t x = vreinterpretq_s8_u8(veorq_u8(row, flip));
        return vdotq_s32(sum, x, vreinterpretq_s8_u8(query));
    }
};

struct Plane {
    uint8x16_t mask;
    V add(V sum, uint8x16_t row, uint8x16_t query) const {
        const int8x16_t x = vreinterpretq_s8_u8(vandq_u8(row, mask));
        return vdotq_s32(sum, x, vreinterpretq_s8_u8(query));
    }
};

// Rows of a group of four, clamped to the last row; surplus results are not used.
struct Group {
    const uint8_t* p[4];
    uint8x16_t tail[4];
    size_t whole, left;

    Group(const RowBlock& rows, size_t first)
        : whole(rows.width / 16 * 16), left(rows.width % 16) {
        for (size_t i = 0; i < 4; ++i) {
            const size_t r = first + i < rows.count ? first + i : rows.count - 1;
            p[i] = rows.data + static_cast<ptrdiff_t>(r) * rows.stride;
            if (left) tail[i] = load_tail(p[i] + whole, left);
        }
    }

    template <typename F>
    void add(const F& f, const uint8_t* query, V* sum) const {
        for (size_t b = 0; b < whole; b += 16) {
            const uint8x16_t w = vld1q_u8(query + b);
            for (int i = 0; i < 4; ++i) sum[i] = f.add(sum[i], vld1q_u8(p[i] + b), w);
        }
        if (left) {
            const uint8x16_t w = vld1q_u8(query + whole);
            for (int i = 0; i < 4; ++i) sum[i] = f.add(sum[i], tail[i], w);
        }
    }
};

void hamming(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    for (size_t r = 0; r < rows.count; r += 4) {
        const Group group(rows, r);
        for (size_t q = 0; q < queries.count; ++q) {
            V sum[4] = {};
            group.add(Hamming{}, queries.data + q * queries.stride, sum);
            vst1q_s32(out + q * ld + r, sum_lanes(sum));
        }
    }
}

template <bool is_signed>
void bytes(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    const Bytes f{vdupq_n_u8(is_signed ? 0 : 128)};
    for (size_t r = 0; r < rows.count; r += 4) {
        const Group group(rows, r);
        for (size_t q = 0; q < queries.count; ++q) {
            V sum[4] = {};
            group.add(f, queries.data + q * queries.stride, sum);
            const V missing = vdupq_n_s32(is_signed ? 0 : 128 * queries.sums[q]);
            vst1q_s32(out + q * ld + r, vaddq_s32(sum_lanes(sum), missing));
        }
    }
}

void bits(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    const size_t plane = plane_bytes(rows.width);
    for (size_t r = 0; r < rows.count; r += 4) {
        const Group group(rows, r);
        for (size_t q = 0; q < queries.count; ++q) {
            const uint8_t* weights = queries.planes + q * 8 * plane;
            V sum[4] = {}, last[4] = {};
            for (int bit = 0; bit < 7; ++bit, weights += plane) {
                group.add(Plane{vdupq_n_u8(static_cast<uint8_t>(1 << bit))}, weights, sum);
                for (auto& s : sum) s = vaddq_s32(s, s);
            }
            group.add(Plane{vdupq_n_u8(128)}, weights, last);
            for (int i = 0; i < 4; ++i) sum[i] = vsubq_s32(sum[i], last[i]);
            vst1q_s32(out + q * ld + r, vshrq_n_s32(sum_lanes(sum), 7));
        }
    }
}

size_t select(const int32_t* dots, size_t count, const Scoring& scoring, float threshold,
              uint32_t first_row, uint64_t* keys) {
    const float32x4_t scale = vdupq_n_f32(scoring.scale), base = vdupq_n_f32(scoring.base);
    const float32x4_t limit = vdupq_n_f32(threshold);
    size_t found = 0, r = 0;
    for (; r + 4 <= count; r += 4) {
        float32x4_t score = vaddq_f32(vmulq_f32(vcvtq_f32_s32(vld1q_s32(dots + r)), scale), base);
        if (scoring.row_scale) score = vmulq_f32(score, vld1q_f32(scoring.row_scale + r));
        if (scoring.row_scale_half) {
            const float16x4_t half = vreinterpret_f16_u16(vld1_u16(scoring.row_scale_half + r));
            score = vmulq_f32(score, vcvt_f32_f16(half));
        }
        if (scoring.row_bias) score = vaddq_f32(score, vld1q_f32(scoring.row_bias + r));
        score = vaddq_f32(score, vdupq_n_f32(0.0f));  // turns -0 into 0
        // All four at most the threshold: none is taken. A NaN threshold takes every row.
        if (vminvq_u32(vcleq_f32(score, limit)) != 0) continue;
        found += kScalar.select(dots + r, 4, scoring.from(r), threshold,
                                first_row + static_cast<uint32_t>(r), keys + found);
    }
    return found + kScalar.select(dots + r, count - r, scoring.from(r), threshold,
                                  first_row + static_cast<uint32_t>(r), keys + found);
}

// ---- rescoring --------------------------------------------------------------------------------

// Eight values from `p` on as floats.
template <Element e>
inline float32x4x2_t load8(const uint8_t* p) {
    if constexpr (e == Element::i8) {
        const int16x8_t x = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(p)));
        return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(x)))}};
    } else if constexpr (e == Element::u8) {
        const uint16x8_t x = vmovl_u8(vld1_u8(p));
        return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(x))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(x)))}};
    } else if constexpr (e == Element::f32) {
        return {{vreinterpretq_f32_u8(vld1q_u8(p)), vreinterpretq_f32_u8(vld1q_u8(p + 16))}};
    } else {
        const uint16x8_t x = vreinterpretq_u16_u8(vld1q_u8(p));
        if constexpr (e == Element::f16) {
            return {{vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(x))),
                     vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(x)))}};
        }
        return {{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(x), 16)),
                 vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(x), 16))}};
    }
}

template <Element e>
inline float dot(const uint8_t* row, const float* weights, size_t values) {
    constexpr size_t size = element_bytes(e);
    float32x4_t low = vdupq_n_f32(0.0f), high = low;
    size_t d = 0;
    for (; d + 8 <= values; d += 8) {
        const float32x4x2_t x = load8<e>(row + d * size);
        low = vfmaq_f32(low, x.val[0], vld1q_f32(weights + d));
        high = vfmaq_f32(high, x.val[1], vld1q_f32(weights + d + 4));
    }
    if (d < values) {
        uint8_t rest[32] = {};
        std::memcpy(rest, row + d * size, (values - d) * size);
        const float32x4x2_t x = load8<e>(rest);
        low = vfmaq_f32(low, x.val[0], vld1q_f32(weights + d));
        high = vfmaq_f32(high, x.val[1], vld1q_f32(weights + d + 4));
    }
    return vaddvq_f32(vaddq_f32(low, high));
}

template <>
inline float dot<Element::bits>(const uint8_t* row, const float* weights, size_t width) {
    constexpr uint32_t values[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint32x4_t bits_low = vld1q_u32(values), bits_high = vld1q_u32(values + 4);
    float32x4_t low = vdupq_n_f32(0.0f), high = low;
    for (size_t b = 0; b < width; ++b) {
        const uint32x4_t byte = vdupq_n_u32(row[b]);
        const uint32x4_t x = vreinterpretq_u32_f32(vld1q_f32(weights + 8 * b));
        const uint32x4_t y = vreinterpretq_u32_f32(vld1q_f32(weights + 8 * b + 4));
        low = vaddq_f32(low, vreinterpretq_f32_u32(vandq_u32(vtstq_u32(byte, bits_low), x)));
        high = vaddq_f32(high, vreinterpretq_f32_u32(vandq_u32(vtstq_u32(byte, bits_high), y)));
    }
    return vaddvq_f32(vaddq_f32(low, high));
}

template <Element e>
void rescore(const Candidates& rows, const float* weights, float* out) {
    constexpr size_t kAhead = 4;
    const size_t bytes = rows.values * element_bytes(e);
    for (size_t c = 0; c < rows.count; ++c) {
        if (c + kAhead < rows.count) {
            const uint8_t* next = rows.data + rows.ids[c + kAhead] * rows.stride;
            for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(next + b);
        }
        out[c] = dot<e>(rows.data + rows.ids[c] * rows.stride, weights, rows.values);
    }
}

uint64_t read(const uint8_t* data, size_t size) {
    uint64x2_t sum[4] = {};
    size_t i = 0;
    for (; i + 64 <= size; i += 64) {
        for (size_t j = 0; j < 4; ++j) {
            sum[j] = vaddq_u64(sum[j], vreinterpretq_u64_u8(vld1q_u8(data + i + 16 * j)));
        }
    }
    const uint64x2_t all = vaddq_u64(vaddq_u64(sum[0], sum[1]), vaddq_u64(sum[2], sum[3]));
    return vaddvq_u64(all) + kScalar.read(data + i, size - i);
}

}  // namespace

const KernelTable kNeon = {
    .name = "neon",
    .score = {hamming, bits, bytes<true>, bytes<false>, neon::cells, neon::wide},
    .select = select,
    .rescore = {rescore<Element::bits>, rescore<Element::i8>, rescore<Element::u8>,
                rescore<Element::f16>, rescore<Element::bf16>, rescore<Element::f32>,
                neon::rescore_cells, neon::rescore_wide},
    .encode = neon::encode,
    .tables = neon::tables,
    .rotate = neon::rotate,
    .grid = neon::grid,
    .walk = &kNeonWalk,
    .read = read,
    .pack_from = SIZE_MAX,
    .packed_bytes = nullptr,
    .pack = nullptr,
    .enter = nullptr,
    .leave = nullptr,
};

}  // namespace nestbit

NESTBIT_TARGET_END

#endif
