// AVX2 with F16C and FMA (Haswell, Zen and later): rows straight from memory, four at a time,
// their sums reduced together.
//   hamming  popcount by nibble tables (Mula), bytes summed by vpsadbw
//   bits     bit i of the row bytes, worth 2^i, times plane i of the weights by vpmaddubsw;
//            doubling the sum between the planes makes every plane count 2^7
//   bytes    vpmaddubsw of |row| and sign(row) * weight: with |weight| <= 127 a pair is at most
//            2 * 128 * 127 < 2^15, so nothing saturates. Unsigned rows become r - 128 first.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "../kernels.h"
#include "avx2_cells.h"
#include "avx2_float.h"
#include "target.h"

NESTBIT_TARGET_BEGIN("avx2,fma,f16c,popcnt")

namespace nestbit {
namespace {

using V = __m256i;

inline V load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const V*>(p)); }

// The last `size` < 32 bytes of a row, padded with zeros.
inline V load_tail(const uint8_t* p, size_t size) {
    alignas(32) uint8_t bytes[32] = {};
    std::memcpy(bytes, p, size);
    return _mm256_load_si256(reinterpret_cast<const V*>(bytes));
}

// Lane sums of four vectors of int32.
inline __m128i sum_lanes(const V* v) {
    const V pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

// What a kernel does with 32 bytes of a row and of a query: sum += f(row, query).
struct Hamming {
    V table, nibble;
    Hamming()
        : table(_mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2,
                                 2, 3, 1, 2, 2, 3, 2, 3, 3, 4)),
          nibble(_mm256_set1_epi8(15)) {}
    V add(V sum, V row, V query) const {
        const V x = _mm256_xor_si256(row, query);
        const V low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
        const V high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
        const V ones = _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
        return _mm256_add_epi32(sum, ones);
    }
};

struct Bytes {
    V flip, one;
    explicit Bytes(bool is_signed)
        : flip(_mm256_set1_epi8(is_signed ? 0 : -128)), one(_mm256_set1_epi16(1)) {}
    V add(V sum, V row, V query) const {
        const V x = _mm256_xor_si256(row, flip);
        const V pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(query, x));
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
    }
};

struct Plane {
    V mask, one;
    explicit Plane(int bit)
        : mask(_mm256_set1_epi8(static_cast<char>(1 << bit))), one(_mm256_set1_epi16(1)) {}
    V add(V sum, V row, V query) const {
        const V pairs = _mm256_maddubs_epi16(_mm256_and_si256(row, mask), query);
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
    }
};

// Rows of a group of four, clamped to the last row; surplus results are not used.
struct Group {
    const uint8_t* p[4];
    V tail[4];
    size_t whole, left;

    Group(const RowBlock& rows, size_t first)
        : whole(rows.width / 32 * 32), left(rows.width % 32) {
        for (size_t i = 0; i < 4; ++i) {
            const size_t r = first + i < rows.count ? first + i : rows.count - 1;
            p[i] = rows.data + static_cast<ptrdiff_t>(r) * rows.stride;
            if (left) tail[i] = load_tail(p[i] + whole, left);
        }
    }

    template <typename F>
    void add(const F& f, const uint8_t* query, V* sum) const {
        for (size_t b = 0; b < whole; b += 32) {
            const V w = load(query + b);
            for (int i = 0; i < 4; ++i) sum[i] = f.add(sum[i], load(p[i] + b), w);
        }
        if (left) {
            const V w = load(query + whole);
            for (int i = 0; i < 4; ++i) sum[i] = f.add(sum[i], tail[i], w);
        }
    }
};

inline void store(int32_t* out, __m128i sums) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sums);
}

void hamming(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    const Hamming f;
    for (size_t r = 0; r < rows.count; r += 4) {
        const Group group(rows, r);
        for (size_t q = 0; q < queries.count; ++q) {
            V sum[4] = {};
            group.add(f, queries.data + q * queries.stride, sum);
            store(out + q * ld + r, sum_lanes(sum));
        }
    }
}

template <bool is_signed>
void bytes(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    const Bytes f(is_signed);
    for (size_t r = 0; r < rows.count; r += 4) {
        const Group group(rows, r);
        for (size_t q = 0; q < queries.count; ++q) {
            V sum[4] = {};
            group.add(f, queries.data + q * queries.stride, sum);
            // r - 128 was summed for unsigned rows. Zero padding is -128 there, times weight 0.
            const __m128i missing = _mm_set1_epi32(is_signed ? 0 : 128 * queries.sums[q]);
            store(out + q * ld + r, _mm_add_epi32(sum_lanes(sum), missing));
        }
    }
}

void bits(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    const size_t plane = plane_bytes(rows.width);
    for (size_t r = 0; r < rows.count; r += 4) {
        const Group group(rows, r);
        for (size_t q = 0; q < queries.count; ++q) {
            V sum[4] = {};
            for (int bit = 0; bit < 8; ++bit) {
                for (auto& s : sum) s = _mm256_add_epi32(s, s);
                const size_t at = 8 * q + static_cast<size_t>(bit);
                group.add(Plane(bit), queries.planes + at * plane, sum);
            }
            store(out + q * ld + r, _mm_srai_epi32(sum_lanes(sum), 7));
        }
    }
}

size_t select(const int32_t* dots, size_t count, const Scoring& scoring, float threshold,
              uint32_t first_row, uint64_t* keys) {
    const __m256 scale = _mm256_set1_ps(scoring.scale), base = _mm256_set1_ps(scoring.base);
    const __m256 limit = _mm256_set1_ps(threshold);
    size_t found = 0, r = 0;
    for (; r + 8 <= count; r += 8) {
        const __m256 dot = _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const V*>(dots + r)));
        __m256 score = _mm256_add_ps(_mm256_mul_ps(dot, scale), base);
        if (scoring.row_scale) {
            score = _mm256_mul_ps(score, _mm256_loadu_ps(scoring.row_scale + r));
        }
        if (scoring.row_scale_half) {
            const auto* half = reinterpret_cast<const __m128i*>(scoring.row_scale_half + r);
            score = _mm256_mul_ps(score, _mm256_cvtph_ps(_mm_loadu_si128(half)));
        }
        if (scoring.row_bias) score = _mm256_add_ps(score, _mm256_loadu_ps(scoring.row_bias + r));
        score = _mm256_add_ps(score, _mm256_setzero_ps());  // turns -0 into 0
        int taken = _mm256_movemask_ps(_mm256_cmp_ps(score, limit, _CMP_NLE_UQ));
        if (!taken) continue;
        alignas(32) uint32_t raw[8];
        _mm256_store_si256(reinterpret_cast<V*>(raw), _mm256_castps_si256(score));
        for (; taken; taken &= taken - 1) {
            const auto i = static_cast<uint32_t>(__builtin_ctz(static_cast<unsigned>(taken)));
            const uint32_t row = first_row + static_cast<uint32_t>(r) + i;
            keys[found++] = static_cast<uint64_t>(ordered_bits(raw[i])) << 32 |
                            static_cast<uint32_t>(~row);
        }
    }
    return found + kScalar.select(dots + r, count - r, scoring.from(r), threshold,
                                  first_row + static_cast<uint32_t>(r), keys + found);
}

uint64_t read(const uint8_t* data, size_t size) {
    V sum[4] = {};
    size_t i = 0;
    for (; i + 128 <= size; i += 128) {
        for (size_t j = 0; j < 4; ++j) sum[j] = _mm256_add_epi64(sum[j], load(data + i + 32 * j));
    }
    alignas(32) uint64_t lanes[4];
    const V all = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
    _mm256_store_si256(reinterpret_cast<V*>(lanes), all);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + kScalar.read(data + i, size - i);
}

}  // namespace

const KernelTable kAvx2 = {
    .name = "avx2",
    .score = {hamming, bits, bytes<true>, bytes<false>, avx2::cells, avx2::wide},
    .select = select,
    .rescore = {avx2::rescore_bits, avx2::rescore_i8, avx2::rescore_u8, avx2::rescore_f16,
                avx2::rescore_bf16, avx2::rescore_f32, avx2::rescore_cells,
                avx2::rescore_wide},
    .encode = avx2::encode,
    .tables = avx2::tables,
    .rotate = avx2::rotate,
    .grid = avx2::grid,
    .walk = &kAvx2Walk,
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
