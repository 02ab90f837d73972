// Plain C++ for every CPU; also the code the vector kernels are checked against.
#include <bit>
#include <cstring>

#include "../kernels.h"

namespace nestbit {
namespace {

uint64_t load_word(const uint8_t* p, size_t size) {
    uint64_t word = 0;
    std::memcpy(&word, p, size);
    return word;
}

int32_t hamming_distance(const uint8_t* row, const uint8_t* query, size_t width) {
    int32_t distance = 0;
    size_t b = 0;
    for (; b + 8 <= width; b += 8) {
        distance += std::popcount(load_word(row + b, 8) ^ load_word(query + b, 8));
    }
    if (b < width) {
        const size_t left = width - b;
        distance += std::popcount(load_word(row + b, left) ^ load_word(query + b, left));
    }
    return distance;
}

int32_t bits_dot(const uint8_t* row, const int8_t* weights, size_t width) {
    int32_t dot = 0;
    for (size_t b = 0; b < width; ++b) {
        for (int i = 0; i < 8; ++i) dot += -((row[b] >> i) & 1) & weights[8 * b + i];
    }
    return dot;
}

template <typename T>
int32_t bytes_dot(const uint8_t* row, const int8_t* weights, size_t width) {
    int32_t dot = 0;
    for (size_t d = 0; d < width; ++d) dot += static_cast<T>(row[d]) * weights[d];
    return dot;
}

int32_t cells_sum(const uint8_t* row, const uint8_t* tables, size_t width) {
    int32_t sum = 0;
    for (size_t j = 0; j < width; ++j) {
        sum += tables[low_table(j) + (row[j] & 15)] + tables[high_table(j) + (row[j] >> 4)];
    }
    return sum;
}

int32_t wide_sum(const uint8_t* row, const uint8_t* tables, size_t width) {
    int32_t sum = 0;
    for (size_t j = 0; j < width; ++j) sum += tables[256 * j + row[j]];
    return sum;
}

template <auto dot, typename Q>
void score(const RowBlock& rows, const QueryTile& queries, uint8_t*, int32_t* out, size_t ld) {
    for (size_t q = 0; q < queries.count; ++q) {
        const Q* query = reinterpret_cast<const Q*>(queries.data + q * queries.stride);
        for (size_t r = 0; r < rows.count; ++r) {
            const uint8_t* row = rows.data + static_cast<ptrdiff_t>(r) * rows.stride;
            out[q * ld + r] = dot(row, query, rows.width);
        }
    }
}

float half_to_float(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    const uint32_t rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x0400u) return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000u));
    const float tiny = static_cast<float>(rest) * 0x1p-24f;  // subnormal: exact
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(tiny));
}

size_t select(const int32_t* dots, size_t count, const Scoring& scoring, float threshold,
              uint32_t first_row, uint64_t* keys) {
    size_t found = 0;
    for (size_t r = 0; r < count; ++r) {
        float score = scoring.scale * static_cast<float>(dots[r]) + scoring.base;
        if (scoring.row_scale) score *= scoring.row_scale[r];
        if (scoring.row_scale_half) score *= half_to_float(scoring.row_scale_half[r]);
        if (scoring.row_bias) score += scoring.row_bias[r];
        score += 0.0f;  // turns -0 into 0, so that equal scores have equal keys
        if (score <= threshold) continue;
        const uint64_t high = ordered_bits(std::bit_cast<uint32_t>(score));
        keys[found++] = high << 32 | static_cast<uint32_t>(~(first_row + static_cast<uint32_t>(r)));
    }
    return found;
}

template <Element e>
float value_at(const uint8_t* row, size_t d) {
    if constexpr (e == Element::i8) {
        return static_cast<float>(static_cast<int8_t>(row[d]));
    } else if constexpr (e == Element::u8) {
        return static_cast<float>(row[d]);
    } else if constexpr (e == Element::f32) {
        float value;
        std::memcpy(&value, row + 4 * d, 4);
        return value;
    } else {
        uint16_t half;
        std::memcpy(&half, row + 2 * d, 2);
        if constexpr (e == Element::f16) return half_to_float(half);
        return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
    }
}

// Eight running sums: the error grows like that of the vector kernels, not like dim.
template <Element e>
float row_dot(const uint8_t* row, const float* weights, size_t values) {
    float sums[8] = {};
    if constexpr (e == Element::bits) {
        for (size_t b = 0; b < values; ++b) {
            for (int i = 0; i < 8; ++i) sums[i] += (row[b] >> i) & 1 ? weights[8 * b + i] : 0.0f;
        }
    } else if constexpr (e == Element::cells) {
        for (size_t j = 0; j < values; ++j, weights += 32) {
            sums[2 * j % 8] += weights[row[j] & 15];
            sums[2 * j % 8 + 1] += weights[16 + (row[j] >> 4)];
        }
    } else if constexpr (e == Element::wide) {
        size_t j = 0;
        for (; j + 8 <= values; j += 8) {
            for (size_t i = 0; i < 8; ++i) sums[i] += weights[256 * (j + i) + row[j + i]];
        }
        for (; j < values; ++j) sums[j % 8] += weights[256 * j + row[j]];
    } else {
        for (size_t d = 0; d < values; ++d) sums[d % 8] += weights[d] * value_at<e>(row, d);
    }
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

template <Element e>
void rescore(const Candidates& rows, const float* weights, float* out) {
    for (size_t c = 0; c < rows.count; ++c) {
        const uint8_t* row = rows.data + static_cast<ptrdiff_t>(rows.ids[c]) * rows.stride;
        out[c] = row_dot<e>(row, weights, rows.values);
    }
}

uint64_t read(const uint8_t* data, size_t size) {
    uint64_t sum = 0;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) sum += load_word(data + i, 8);
    return i < size ? sum + load_word(data + i, size - i) : sum;
}

}  // namespace

// scalar_encode.cpp
void encode_scalar(const CellBooks& books, const EncodeTile& tile, float* along, float* length2);
void tables_scalar(const TableBooks& books, const float* query, const TablesOut& out);
void rotate_scalar(const Rotation& rotation, float* row);
void grid_scalar(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial, float* along,
                 float* length2);

const KernelTable kScalar = {
    .name = "scalar",
    .score = {score<hamming_distance, uint8_t>, score<bits_dot, int8_t>,
              score<bytes_dot<int8_t>, int8_t>, score<bytes_dot<uint8_t>, int8_t>,
              score<cells_sum, uint8_t>, score<wide_sum, uint8_t>},
    .select = select,
    .rescore = {rescore<Element::bits>, rescore<Element::i8>, rescore<Element::u8>,
                rescore<Element::f16>, rescore<Element::bf16>, rescore<Element::f32>,
                rescore<Element::cells>, rescore<Element::wide>},
    .encode = encode_scalar,
    .tables = tables_scalar,
    .rotate = rotate_scalar,
    .grid = grid_scalar,
    .walk = &kScalarWalk,
    .read = read,
    .pack_from = SIZE_MAX,
    .packed_bytes = nullptr,
    .pack = nullptr,
    .enter = nullptr,
    .leave = nullptr,
};

}  // namespace nestbit
