// AVX-512 with VNNI and VPOPCNTDQ (Ice Lake, Zen 4 and later; all have
// VBMI): top-k, reading, and the table.
#if defined(__x86_64__)

#include "avx512.h"

NESTBIT_TARGET_BEGIN(NESTBIT_AVX512)

namespace nestbit::avx512 {

namespace {

enum class RowScale { none, f32, f16 };

template <RowScale kind>
inline size_t select_rows(const int32_t* dots, size_t count, const Scoring& scoring,
                          float threshold, uint32_t first_row, uint64_t* keys) {
    const __m512 scale = _mm512_set1_ps(scoring.scale), base = _mm512_set1_ps(scoring.base);
    const __m512 limit = _mm512_set1_ps(threshold);
    const float* bias = scoring.row_bias;
    const V sign = _mm512_set1_epi32(INT32_MIN);
    const V rows = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int32_t>(first_row)),
                                    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
                                                      13, 14, 15));
    size_t found = 0;
    for (size_t r = 0; r < count; r += 16) {
        const auto valid = static_cast<__mmask16>(first_bytes(count - r));
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(valid, dots + r));
        const __m512 shift = bias ? _mm512_maskz_loadu_ps(valid, bias + r) : _mm512_setzero_ps();
        // As the base is not -0, this sum is not, nor its sum with the shift.
        __m512 score = _mm512_add_ps(_mm512_mul_ps(dot, scale), base);
        if constexpr (kind == RowScale::f32) {
            score = _mm512_mul_ps(score, _mm512_maskz_loadu_ps(valid, scoring.row_scale + r));
        } else if constexpr (kind == RowScale::f16) {
            const __m256i half = _mm256_maskz_loadu_epi16(valid, scoring.row_scale_half + r);
            score = _mm512_mul_ps(score, _mm512_cvtph_ps(half));
        }
        score = _mm512_add_ps(score, shift);
        if constexpr (kind != RowScale::none) {
            score = _mm512_add_ps(score, _mm512_setzero_ps());  // turns -0 into 0
        }
        const __mmask16 taken = _mm512_mask_cmp_ps_mask(valid, score, limit, _CMP_NLE_UQ);
        if (!taken) continue;
        const V raw = _mm512_castps_si512(score);
        const V order = _mm512_xor_si512(raw, _mm512_or_si512(_mm512_srai_epi32(raw, 31), sign));
        const V ids = _mm512_add_epi32(rows, _mm512_set1_epi32(static_cast<int32_t>(r)));
        alignas(64) uint32_t high[16], low[16];
        const int hits = __builtin_popcount(taken);
        _mm512_store_si512(high, _mm512_maskz_compress_epi32(taken, order));
        _mm512_store_si512(low, _mm512_maskz_compress_epi32(taken, ids));
        for (int i = 0; i < hits; ++i) {
            keys[found++] = static_cast<uint64_t>(high[i]) << 32 | static_cast<uint32_t>(~low[i]);
        }
    }
    return found;
}

}  // namespace

size_t select(const int32_t* dots, size_t count, const Scoring& scoring, float threshold,
              uint32_t first_row, uint64_t* keys) {
    const auto rows = scoring.row_scale        ? select_rows<RowScale::f32>
                      : scoring.row_scale_half ? select_rows<RowScale::f16>
                                               : select_rows<RowScale::none>;
    return rows(dots, count, scoring, threshold, first_row, keys);
}

uint64_t read(const uint8_t* data, size_t size) {
    V sum[4];
    for (auto& s : sum) s = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 256 <= size; i += 256) {
        for (size_t j = 0; j < 4; ++j) {
            sum[j] = _mm512_add_epi64(sum[j], _mm512_loadu_si512(data + i + 64 * j));
        }
    }
    for (; i < size; i += 64) {
        sum[0] = _mm512_add_epi64(sum[0], load_tail(data + i, first_bytes(size - i)));
    }
    alignas(64) uint64_t lanes[8];
    _mm512_store_si512(lanes, _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]),
                                               _mm512_add_epi64(sum[2], sum[3])));
    uint64_t total = 0;
    for (const uint64_t lane : lanes) total += lane;
    return total;
}

}  // namespace nestbit::avx512

NESTBIT_TARGET_END

namespace nestbit {
namespace {

// Fewest queries for which transposing the rows pays.
constexpr size_t kMany = 4;

void hamming(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
             size_t ld) {
    if (queries.count < kMany) return avx512::hamming_few(rows, queries, out, ld);
    avx512::hamming_many(rows, queries, scratch, out, ld);
}

void bits(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
          size_t ld) {
    if (queries.count < kMany) return avx512::bits_few(rows, queries, out, ld);
    avx512::bits_many(rows, queries, scratch, out, ld);
}

template <bool is_signed>
void bytes(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
           size_t ld) {
    if (queries.count < kMany) return avx512::bytes_few(rows, queries, is_signed, out, ld);
    avx512::bytes_many(rows, queries, is_signed, scratch, out, ld);
}

}  // namespace

const KernelTable kAvx512 = {
    .name = "avx512",
    .score = {hamming, bits, bytes<true>, bytes<false>, avx512::cells, avx512::wide},
    .select = avx512::select,
    .rescore = {avx512::rescore_bits, avx512::rescore_i8, avx512::rescore_u8, avx512::rescore_f16,
                avx512::rescore_bf16, avx512::rescore_f32, avx512::rescore_cells,
                avx512::rescore_wide},
    .encode = avx512::encode,
    .tables = avx512::tables,
    .rotate = avx512::rotate,
    .grid = avx512::grid,
    .walk = &kAvx512Walk,
    .read = avx512::read,
    .pack_from = SIZE_MAX,
    .packed_bytes = nullptr,
    .pack = nullptr,
    .enter = nullptr,
    .leave = nullptr,
};

}  // namespace nestbit

#endif
