// Runs every kernel of every instruction set this machine has against naive loops, at odd sizes.
//
// Built with sanitizers, and for other architectures under qemu. Every array of rows ends at a
// page that may not be read, so that a read past its end is caught even in code the sanitizers
// do not see (tile loads). Arguments: names of instruction sets
// that have to be among the available ones; exits 1 on any difference.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cases.h"
#include "dispatch.h"
#include "encode.h"
#include "rabitq.h"
#include "scan.h"
#include "tables.h"
#include "topk.h"

namespace {

using namespace nestbit;

struct Matrix {
    Block block;
    size_t count, width, stride;

    Matrix(size_t n, size_t w, size_t s)
        : block((n - 1) * s + w), count(n), width(w), stride(s) {}
    const uint8_t* row(size_t r) const { return block.get() + r * stride; }
    uint8_t* row(size_t r) { return block.get() + r * stride; }
    RowBlock rows() const { return {block.get(), static_cast<ptrdiff_t>(stride), count, width}; }
};

int bit_of(const uint8_t* row, size_t d) { return row[d / 8] >> (7 - d % 8) & 1; }

int32_t naive_score(Op op, const uint8_t* row, const uint8_t* query, size_t dim) {
    int32_t sum = 0;
    for (size_t d = 0; d < dim; ++d) {
        const int weight = op == Op::hamming ? 0 : static_cast<int8_t>(query[d]);
        switch (op) {
            case Op::hamming: sum += bit_of(row, d) != bit_of(query, d); break;
            case Op::bits: sum += bit_of(row, d) * weight; break;
            case Op::bytes_i8: sum += static_cast<int8_t>(row[d]) * weight; break;
            case Op::bytes_u8: sum += row[d] * weight; break;
            case Op::cells: sum += query[16 * d + (d % 2 ? row[d / 2] >> 4 : row[d / 2] & 15)]; break;
            case Op::wide: sum += query[256 * d + row[d]]; break;
        }
    }
    return sum;
}

float half_value(uint16_t half) {
    const int exponent = half >> 10 & 31;
    const float fraction = static_cast<float>(half & 1023);
    const float size = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    return half >> 15 ? -size : size;
}

// What a score is made of besides the sums; only cells have a base and a row scale.
struct Terms {
    std::vector<float> scales, bases, row_scale, row_bias;
    std::vector<uint16_t> row_scale_half;

    Terms(Op op, size_t n, size_t m, size_t kind) {
        std::normal_distribution<float> normal;
        const auto fill = [&](std::vector<float>& to, size_t size) {
            to.resize(size);
            for (auto& x : to) x = normal(random_engine);
        };
        fill(scales, m);
        if (op == Op::hamming) std::fill(scales.begin(), scales.end(), -1.0f);
        if (op != Op::hamming) fill(row_bias, n);
        if (!table_size(op)) return;
        if (kind % 2) fill(bases, m);
        if (kind % 3 == 1) fill(row_scale, n);
        if (kind % 3 == 2) row_scale_half.resize(n);
        for (auto& x : row_scale_half) x = static_cast<uint16_t>(random_engine() & 0xbfffu);
    }
    float score(int32_t dot, size_t q, size_t r) const {
        volatile float score = scales[q] * static_cast<float>(dot);
        if (!bases.empty()) score = score + bases[q];
        if (!row_scale.empty()) score = score * row_scale[r];
        if (!row_scale_half.empty()) score = score * half_value(row_scale_half[r]);
        if (!row_bias.empty()) score = score + row_bias[r];
        return score + 0.0f;
    }
};

template <typename T>
const T* or_null(const std::vector<T>& values) {
    return values.empty() ? nullptr : values.data();
}

// Which of n rows may be found: every row, or by `kind` those of a mask (1), of ranges (2), of
// both (3), and of ranges that not every query sees (4 more). A bit of the mask is set with a chance
// of 2 to the power of -rarity.
struct Filter {
    Block mask;
    std::vector<int64_t> ends;
    std::vector<uint8_t> visits;
    size_t kind, visit_bytes;

    Filter(size_t n, size_t m, size_t kind, size_t rarity)
        : mask((n + 7) / 8), kind(kind), visit_bytes((m + 7) / 8) {
        for (size_t b = 0; b < (n + 7) / 8; ++b) {
            uint64_t bits = rarity ? ~uint64_t{0} : 0xff;
            for (size_t i = 0; i < rarity; ++i) bits &= random_engine();
            mask.get()[b] = static_cast<uint8_t>(bits);
        }
        for (size_t at = random_engine() % 3; at <= n; at += random_engine() % (n / 4 + 2)) {
            ends.push_back(static_cast<int64_t>(at));
        }
        if (ends.size() % 2) ends.pop_back();
        const uint64_t rare = random_engine() % 2 ? ~uint64_t{0} : random_engine() & random_engine();
        visits.resize(ends.size() / 2 * visit_bytes);
        for (uint8_t& byte : visits) byte = static_cast<uint8_t>(random_engine() & rare);
    }
    bool allows(size_t r, size_t q) const {
        bool inside = kind < 2;
        for (size_t i = 0; i < ends.size(); i += 2) {
            if (kind & 4 && !(visits[i / 2 * visit_bytes + q / 8] >> q % 8 & 1)) continue;
            inside |= ends[i] <= static_cast<int64_t>(r) && static_cast<int64_t>(r) < ends[i + 1];
        }
        return inside && (kind % 2 == 0 || mask.get()[r / 8] >> r % 8 & 1);
    }
    void put(ScanRequest& request) const {
        if (kind % 2) request.mask = Bitmap(mask.get());
        if (kind >= 2) request.ranges = ends;
        if (kind & 4) {
            request.visits = visits.data();
            request.visit_bytes = visit_bytes;
        }
    }
};

struct Hit {
    float score;
    size_t id;
    bool operator==(const Hit&) const = default;
};

std::vector<Hit> naive_best(Op op, const Matrix& rows, const Matrix& queries, size_t q, size_t dim,
                            size_t k, const Terms& terms, const Filter& filter) {
    std::vector<Hit> hits;
    for (size_t r = 0; r < rows.count; ++r) {
        if (!filter.allows(r, q)) continue;
        const int32_t dot = naive_score(op, rows.row(r), queries.row(q), dim);
        hits.push_back({terms.score(dot, q, r), r});
    }
    std::stable_sort(hits.begin(), hits.end(),
                     [](const Hit& a, const Hit& b) { return a.score > b.score; });
    if (hits.size() > k) hits.resize(k);
    return hits;
}

void test_scan(const KernelTable& table, Op op, size_t n, size_t m, size_t dim, size_t k,
               size_t threads, size_t gap, size_t filtered = 0, size_t rarity = 1) {
    const bool packed = op == Op::hamming || op == Op::bits;
    const size_t width = packed ? (dim + 7) / 8 : dim;
    const size_t compared = op == Op::bits ? dim : values_of(op, width);
    const size_t length = op == Op::hamming ? width : std::max<size_t>(1, table_size(op)) * compared;
    Matrix rows(n, width, width + gap), queries(m, length, length + gap);
    if (table_size(op)) {
        if (m > 1) std::fill_n(queries.row(m - 1), length, uint8_t{255});
    } else if (op != Op::hamming) {
        for (size_t q = 0; q < m; ++q) {
            for (size_t d = 0; d < length; ++d) {
                if (queries.row(q)[d] == 128) queries.row(q)[d] = 129;  // -128 is not a weight
            }
        }
        if (n > 1) std::fill_n(rows.row(n - 1), width, uint8_t{128});
        if (m > 1) std::fill_n(queries.row(m - 1), length, uint8_t{129});
    }
    const Terms terms(op, n, m, dim + n);
    std::vector<std::vector<Hit>> found(m);
    ScanRequest request{op, rows.rows(),
                        {queries.block.get(), static_cast<ptrdiff_t>(length + gap), m, length},
                        k, or_null(terms.scales), or_null(terms.bases),
                        or_null(terms.row_scale), or_null(terms.row_scale_half),
                        or_null(terms.row_bias), threads};
    const Filter filter(n, m, filtered, rarity);
    filter.put(request);
    scan(table, request,
         [&](size_t q, const uint64_t* keys, size_t count) {
             for (size_t i = 0; i < count; ++i) found[q].push_back({score_of(keys[i]), row_of(keys[i])});
         },
         [] {});
    for (size_t q = 0; q < m; ++q) {
        const auto expected = naive_best(op, rows, queries, q, compared, k, terms, filter);
        if (found[q] == expected) continue;
        const std::string sizes = " n=" + std::to_string(n) + " m=" + std::to_string(m) +
                                  " dim=" + std::to_string(dim) + " k=" + std::to_string(k) +
                                  " filter " + std::to_string(filtered) + " query " + std::to_string(q);
        check(false, std::string(table.name) + " scan op " + std::to_string(static_cast<int>(op)) + sizes);
        return;
    }
}

double naive_value(Element element, const uint8_t* row, size_t d) {
    uint16_t half = 0;
    float value = 0;
    switch (element) {
        case Element::bits: return bit_of(row, d);
        case Element::i8: return static_cast<int8_t>(row[d]);
        case Element::u8: return row[d];
        case Element::f16: std::memcpy(&half, row + 2 * d, 2); return half_value(half);
        case Element::bf16: std::memcpy(reinterpret_cast<uint8_t*>(&value) + 2, row + 2 * d, 2); return value;
        case Element::f32: std::memcpy(&value, row + 4 * d, 4); return value;
        case Element::cells:
        case Element::wide: break;  // these have no weights but tables
    }
    return 0;
}

void test_rescore(const KernelTable& table, Element element, size_t n, size_t m, size_t c,
                  size_t dim, size_t gap) {
    const size_t values = element == Element::bits ? (dim + 7) / 8 : dim;
    const size_t width = values * element_bytes(element);
    Matrix rows(n, width, width + gap);
    std::normal_distribution<float> normal;
    for (size_t r = 0; r < n; ++r) {  // finite floats of a plain size
        for (size_t d = 0; d < dim; ++d) {
            const float x = normal(random_engine);
            const auto half = static_cast<uint16_t>(random_engine() & 0xbfffu);  // below 2.0
            if (element == Element::f32) std::memcpy(rows.row(r) + 4 * d, &x, 4);
            if (element == Element::f16) std::memcpy(rows.row(r) + 2 * d, &half, 2);
            if (element == Element::bf16) {
                std::memcpy(rows.row(r) + 2 * d, reinterpret_cast<const uint8_t*>(&x) + 2, 2);
            }
        }
    }
    std::vector<float> weights(m * dim), out(m * c, -1.0f);
    std::vector<int64_t> ids(m * c);
    for (auto& w : weights) w = normal(random_engine);
    for (auto& id : ids) id = static_cast<int64_t>(random_engine() % n);
    rescore(table, {element, rows.block.get(), static_cast<ptrdiff_t>(rows.stride), values, ids.data(),
                    m, c, weights.data(), dim, 2}, out.data());
    for (size_t i = 0; i < m * c; ++i) {
        double sum = 0, size = 0;
        for (size_t d = 0; d < dim; ++d) {
            const double term = weights[i / c * dim + d] *
                                naive_value(element, rows.row(static_cast<size_t>(ids[i])), d);
            sum += term;
            size += std::abs(term);
        }
        if (std::abs(sum - out[i]) <= 1e-5 * size + 1e-30) continue;
        check(false, std::string(table.name) + " rescore element " +
                         std::to_string(static_cast<int>(element)) + " dim=" + std::to_string(dim) +
                         " got " + std::to_string(out[i]) + " not " + std::to_string(sum));
        return;
    }
}

void test_rescore_cells(const KernelTable& table, Element element, size_t n, size_t m, size_t c,
                        size_t width, size_t gap) {
    Matrix rows(n, width, width + gap);
    const bool wide = element == Element::wide;
    const size_t size = (wide ? 256 : 32) * width;
    std::normal_distribution<float> normal;
    std::vector<float> tables(m * size), out(m * c, -1.0f);
    std::vector<int64_t> ids(m * c);
    for (auto& x : tables) x = normal(random_engine);
    for (auto& id : ids) id = static_cast<int64_t>(random_engine() % n);
    rescore(table, {element, rows.block.get(), static_cast<ptrdiff_t>(rows.stride), width,
                    ids.data(), m, c, tables.data(), size, 2}, out.data());
    for (size_t i = 0; i < m * c; ++i) {
        const uint8_t* row = rows.row(static_cast<size_t>(ids[i]));
        double sum = 0;
        for (size_t j = 0; j < width; ++j) {
            const float* own = tables.data() + i / c * size + size / width * j;
            sum += wide ? own[row[j]] : own[row[j] & 15];
            sum += wide ? 0 : own[16 + (row[j] >> 4)];
        }
        if (std::abs(sum - out[i]) <= 1e-5 * static_cast<double>(width) + 1e-6) continue;
        check(false, std::string(table.name) + " rescore " + (wide ? "wide " : "") +
                         "cells width=" + std::to_string(width) + " got " +
                         std::to_string(out[i]) + " not " + std::to_string(sum));
        return;
    }
}

// Cells of random ranges, one over another where there are many; some centroids come twice.
void test_encode(const KernelTable& table, size_t centroids, size_t n, size_t cells, size_t r,
                 size_t threads, size_t gap) {
    std::vector<int32_t> first(cells), width(cells);
    size_t columns = 0;
    for (size_t c = 0; c < cells; ++c) {
        const size_t from = random_engine() % r;
        first[c] = static_cast<int32_t>(from);
        width[c] = static_cast<int32_t>(1 + random_engine() % std::min<size_t>(r - from, 40));
        columns += static_cast<size_t>(width[c]);
    }
    std::normal_distribution<float> normal;
    const auto fill = [&](float* to, size_t size) {
        for (size_t i = 0; i < size; ++i) to[i] = normal(random_engine);
    };
    Matrix rows(n, 4 * r, 4 * (r + gap)), books(centroids, 4 * columns, 4 * columns);
    const auto floats = [](uint8_t* p) { return reinterpret_cast<float*>(p); };
    for (size_t i = 0; i < n; ++i) fill(floats(rows.row(i)), r);
    float* book = floats(books.row(0));
    fill(book, centroids * columns);
    std::copy_n(book, columns, book + 3 * columns);
    std::vector<float> decoded(centroids * columns), along(n), length2(n), back(n * r);
    for (size_t i = 0; i < decoded.size(); ++i) decoded[i] = book[i] * 1.25f;
    const CellRanges ranges{first.data(), width.data(), cells, columns, r, centroids};
    const size_t bytes = code_bytes(cells, centroids);
    const Matrix codes(n, bytes, bytes);
    encode_cells(table,
                 {floats(rows.row(0)), static_cast<ptrdiff_t>(r + gap), n, ranges, book,
                  decoded.data(), threads},
                 codes.block.get(), along.data(), length2.data());
    decode_cells(codes.rows(), ranges, decoded.data(), threads, back.data());
    bool ok = true;
    for (size_t i = 0; i < n; ++i) {
        std::vector<float> left(floats(rows.row(i)), floats(rows.row(i)) + r), sums(r, 0.0f);
        size_t start = 0;
        for (size_t c = 0; c < cells; ++c) {
            const auto from = static_cast<size_t>(first[c]), size = static_cast<size_t>(width[c]);
            size_t best = 0;
            float top = -INFINITY;
            for (size_t j = 0; j < centroids; ++j) {
                const float* centroid = book + j * columns + start;
                double square = 0;
                for (size_t w = 0; w < size; ++w) {
                    square += static_cast<double>(centroid[w]) * static_cast<double>(centroid[w]);
                }
                auto score = static_cast<float>(-square / 2);
                for (size_t w = 0; w < size; ++w) score = std::fma(left[from + w], centroid[w], score);
                if (score > top) top = score, best = j;
            }
            const uint8_t* code = codes.row(i);
            const int found = centroids != 16 ? code[c] : c % 2 ? code[c / 2] >> 4 : code[c / 2] & 15;
            ok = ok && found == static_cast<int>(best);
            for (size_t w = 0; w < size; ++w) {
                left[from + w] -= book[best * columns + start + w];
                sums[from + w] += decoded[best * columns + start + w];
            }
            start += size;
        }
        float a = 0, b = 0;
        for (size_t w = 0; w < r; ++w) {
            a = std::fma(sums[w], floats(rows.row(i))[w], a);
            b = std::fma(sums[w], sums[w], b);
        }
        ok = ok && a == along[i] && b == length2[i];
        ok = ok && std::equal(sums.begin(), sums.end(), back.begin() + static_cast<ptrdiff_t>(i * r));
    }
    check(ok, std::string(table.name) + " encode n=" + std::to_string(n) + " cells=" +
                  std::to_string(cells) + " r=" + std::to_string(r) + " of " +
                  std::to_string(centroids));
}

void test_tables(const KernelTable& table, size_t centroids, size_t m, size_t cells, size_t r,
                 size_t threads, size_t gap) {
    std::vector<int32_t> first(cells), width(cells);
    size_t columns = 0;
    for (size_t c = 0; c < cells; ++c) {
        const size_t from = random_engine() % r;
        first[c] = static_cast<int32_t>(from);
        width[c] = static_cast<int32_t>(1 + random_engine() % std::min<size_t>(r - from, 40));
        columns += static_cast<size_t>(width[c]);
    }
    std::normal_distribution<float> normal;
    Matrix queries(m, 4 * r, 4 * (r + gap)), books(columns, 4 * centroids, 4 * centroids);
    for (Matrix* matrix : {&queries, &books}) {
        for (size_t i = 0; i < matrix->count; ++i) {
            float* row = reinterpret_cast<float*>(matrix->row(i));
            for (size_t j = 0; j < matrix->width / 4; ++j) row[j] = normal(random_engine);
        }
    }
    const size_t count = table_count(cells, centroids), size = count * centroids;
    Matrix tables(m, 4 * size, 4 * size), rounded(m, size, size);
    std::vector<float> scale(m), base(m);
    make_tables(table,
                {reinterpret_cast<float*>(queries.row(0)), static_cast<ptrdiff_t>(r + gap), m,
                 {first.data(), width.data(), cells, columns, r, centroids},
                 reinterpret_cast<float*>(books.row(0)), threads},
                reinterpret_cast<float*>(tables.row(0)), rounded.row(0), scale.data(), base.data());
    bool ok = true;
    for (size_t q = 0; q < m; ++q) {
        const float* query = reinterpret_cast<const float*>(queries.row(q));
        const float* found = reinterpret_cast<const float*>(tables.row(q));
        std::vector<float> sums(size, 0.0f), low(count, 0.0f);
        float range = 0;
        double total = 0;
        size_t start = 0;
        for (size_t c = 0; c < cells; start += static_cast<size_t>(width[c++])) {
            float* sum = sums.data() + c * centroids;
            for (size_t w = 0; w < static_cast<size_t>(width[c]); ++w) {
                const float* book = reinterpret_cast<const float*>(books.row(start + w));
                const float x = query[static_cast<size_t>(first[c]) + w];
                for (size_t j = 0; j < centroids; ++j) sum[j] = std::fma(x, book[j], sum[j]);
            }
            low[c] = *std::min_element(sum, sum + centroids);
            range = std::max(range, *std::max_element(sum, sum + centroids) - low[c]);
            total += static_cast<double>(low[c]);
        }
        ok = ok && std::equal(sums.begin(), sums.end(), found);
        ok = ok && scale[q] == range / 255.0f && base[q] == static_cast<float>(total);
        for (size_t i = 0; i < size; ++i) {
            const float steps = (sums[i] - low[i / centroids]) / scale[q];
            ok = ok && rounded.row(q)[i] == static_cast<int>(std::nearbyint(steps));
        }
    }
    check(ok, std::string(table.name) + " tables m=" + std::to_string(m) + " cells=" +
                  std::to_string(cells) + " r=" + std::to_string(r) + " of " +
                  std::to_string(centroids));
}

void test_rotate(const KernelTable& table, size_t n, size_t dim, size_t zeros, size_t rounds) {
    const size_t width = dim - std::min(zeros, dim - 1);
    std::normal_distribution<float> normal;
    Matrix rows(n, 4 * width, 4 * (width + zeros)), signs(rounds, 4 * dim, 4 * dim);
    Matrix out(n, 4 * dim, 4 * dim), back(n, 4 * dim, 4 * dim);
    const auto row = [](Matrix& m, size_t r) { return reinterpret_cast<float*>(m.row(r)); };
    for (size_t r = 0; r < n; ++r) {
        for (size_t i = 0; i < width; ++i) row(rows, r)[i] = normal(random_engine);
    }
    for (size_t i = 0; i < rounds * dim; ++i) row(signs, 0)[i] = random_engine() % 2 ? 1.0f : -1.0f;
    RotateRequest request{row(rows, 0), static_cast<ptrdiff_t>(width + zeros), n, width, dim, rounds,
                          row(signs, 0), false, 2};
    rotate_rows(table, request, row(out, 0));
    request = {row(out, 0), static_cast<ptrdiff_t>(dim), n, dim, dim, rounds, row(signs, 0), true, 1};
    rotate_rows(table, request, row(back, 0));
    size_t window = 1;
    while (2 * window <= dim) window *= 2;
    const size_t half = dim / 2;
    bool ok = true;
    for (size_t r = 0; r < n; ++r) {
        std::vector<float> x(row(rows, r), row(rows, r) + width);
        x.resize(dim, 0.0f);
        for (size_t k = 0; k < rounds; ++k) {
            for (size_t i = 0; i < dim; ++i) x[i] *= row(signs, k)[i];
            float* part = x.data() + (k % 2 ? dim - window : 0);
            for (size_t h = 1; h < window; h *= 2) {
                for (size_t i = 0; i < window; ++i) {
                    if (i & h) continue;
                    const float a = part[i], b = part[i + h];
                    part[i] = a + b, part[i + h] = a - b;
                }
            }
            for (size_t i = 0; i < window; ++i) part[i] *= 1 / std::sqrt(static_cast<float>(window));
            for (size_t i = 0; i < half && window < dim && k % 2; ++i) {
                const float a = x[i], b = x[i + dim - half];
                x[i] = (a + b) * std::sqrt(0.5f), x[i + dim - half] = (a - b) * std::sqrt(0.5f);
            }
        }
        ok = ok && std::equal(x.begin(), x.end(), row(out, r));
        for (size_t i = 0; i < dim; ++i) {
            const float before = i < width ? row(rows, r)[i] : 0.0f;
            ok = ok && std::fabs(row(back, r)[i] - before) < 1e-5f;
        }
    }
    check(ok, std::string(table.name) + " rotate n=" + std::to_string(n) + " dim=" +
                  std::to_string(dim) + " rounds=" + std::to_string(rounds));
}

// The codes are of the plain form; of the points only what cannot be otherwise is asked.
void test_grid(const KernelTable& table, size_t n, size_t r, int bits, size_t gap) {
    std::normal_distribution<float> normal;
    Matrix rows(n, 4 * r, 4 * (r + gap));
    const auto row = [&](size_t i) { return reinterpret_cast<float*>(rows.row(i)); };
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < r; ++j) row(i)[j] = normal(random_engine);
    }
    const auto planes = static_cast<size_t>(bits);
    const size_t width = (r / 4 * planes + 1) / 2;
    const Matrix codes(n, width, width), plain(n, width, width);
    std::vector<float> along(n), length2(n), plain_along(n), plain_length2(n);
    const auto stride = static_cast<ptrdiff_t>(r + gap);
    encode_grid(table, row(0), stride, n, r, bits, 2, codes.block.get(), along.data(),
                length2.data());
    encode_grid(kScalar, row(0), stride, n, r, bits, 1, plain.block.get(), plain_along.data(),
                plain_length2.data());
    bool ok = along == plain_along && length2 == plain_length2;
    for (size_t i = 0; i < n; ++i) {
        ok = ok && std::equal(codes.row(i), codes.row(i) + width, plain.row(i));
        double product = 0, square = 0;
        for (size_t j = 0; j < r; ++j) {
            int code = 0;
            for (size_t p = 0; p < planes; ++p) {
                const size_t cell = j / 4 * planes + p;
                code = 2 * code + (codes.row(i)[cell / 2] >> (cell % 2 * 4 + j % 4) & 1);
            }
            const double point = code - ((1 << bits) - 1) / 2.0;
            product += point * static_cast<double>(row(i)[j]);
            square += point * point;
            ok = ok && (bits > 1 || (code == 1) == (row(i)[j] >= 0));
        }
        ok = ok && std::fabs(product - static_cast<double>(along[i])) < 1e-4 * square;
        ok = ok && std::fabs(square - static_cast<double>(length2[i])) < 1e-5 * square;
    }
    check(ok, std::string(table.name) + " grid n=" + std::to_string(n) + " r=" + std::to_string(r) +
                  " bits=" + std::to_string(bits));
}

// No kernel table is behind this one, but each architecture compiles it to other vectors.
void test_encode_bytes(size_t n, size_t dim, int low, size_t gap) {
    Matrix rows(n, 4 * dim, 4 * (dim + gap));
    std::normal_distribution<float> normal;
    std::vector<float> offset(dim), inverse(dim);
    for (size_t i = 0; i < dim; ++i) {
        offset[i] = normal(random_engine);
        inverse[i] = i % 7 ? normal(random_engine) : 0.5f;
    }
    const auto row = [&](size_t r) { return reinterpret_cast<float*>(rows.row(r)); };
    for (size_t r = 0; r < n; ++r) {
        for (size_t i = 0; i < dim; ++i) row(r)[i] = 150 * normal(random_engine);
    }
    const Matrix codes(n, dim, dim);
    const size_t clipped = encode_bytes(row(0), static_cast<ptrdiff_t>(dim + gap), n, dim,
                                        offset.data(), inverse.data(), low, 2, codes.block.get());
    size_t expected = 0;
    bool ok = true;
    for (size_t r = 0; r < n; ++r) {
        for (size_t i = 0; i < dim; ++i) {
            volatile float moved = row(r)[i] - offset[i];
            volatile float scaled = moved * inverse[i];
            const int level = static_cast<int>(std::nearbyint(scaled));
            const int kept = std::clamp(level, low, low + 255);
            expected += level != kept;
            ok = ok && codes.row(r)[i] == static_cast<uint8_t>(kept);
        }
    }
    check(ok && clipped == expected, "encode bytes n=" + std::to_string(n) + " dim=" + std::to_string(dim));
}

void test_read(const KernelTable& table, size_t size) {
    const Block block(size);
    uint64_t sum = 0;
    for (size_t i = 0; i < size; ++i) sum += uint64_t{block.get()[i]} << (8 * (i % 8));
    check(table.read(block.get(), size) == sum, std::string(table.name) + " read " + std::to_string(size));
}

// The sums of rows in lanes and of rows anywhere, and dots with weights of 16 bits.
void test_walk(const KernelTable& table, Op op, size_t n, size_t width) {
    const bool wide = op == Op::wide;
    const std::string what = std::string(table.name) + " walk of " + std::to_string(n) + " x " +
                             std::to_string(width) + (wide ? " wide" : "");
    const size_t values = width * (wide ? 256 : 32), groups = round_up(n, kLanes) / kLanes;
    const Block raw(values);
    const PreparedQueries prepared(table, op, width,
                                   {raw.get(), static_cast<ptrdiff_t>(values), 1, values});
    std::vector<Block> rows;
    std::vector<const uint8_t*> pointers;
    for (size_t r = 0; r < n; ++r) pointers.push_back(rows.emplace_back(width).get());
    Block lanes(groups * kLanes * width);
    std::memset(lanes.get(), 0, groups * kLanes * width);
    for (size_t r = 0; r < n; ++r) {
        for (size_t j = 0; j < width; ++j) {
            lanes.get()[(r / kLanes * width + j) * kLanes + r % kLanes] = pointers[r][j];
        }
    }
    std::vector<int32_t> sums(groups * kLanes, -1), picked(groups * kLanes, -1);
    table.walk->lanes[wide](lanes.get(), groups, width, prepared.all().data, sums.data());
    for (size_t r = 0; r < n; r += kPicked) {
        table.walk->picked[wide](pointers.data() + r, std::min(kPicked, n - r), width,
                                 prepared.all().data, picked.data() + r);
    }
    for (size_t r = 0; r < n; ++r) {
        const int32_t sum = naive_score(op, pointers[r], raw.get(), wide ? width : 2 * width);
        check(sums[r] == sum, what + " in lanes");
        check(picked[r] == sum, what + " picked");
    }
    const int32_t most = std::min<int32_t>(INT16_MAX, kMaxProduct / static_cast<int32_t>(width));
    std::uniform_int_distribution<int> weight(-most, most);
    std::vector<int16_t> weights(round_up(width, kPad));
    for (size_t j = 0; j < width; ++j) weights[j] = static_cast<int16_t>(weight(random_engine));
    for (const uint8_t* row : pointers) {
        int32_t as_signed = 0, as_unsigned = 0;
        for (size_t j = 0; j < width; ++j) {
            as_signed += static_cast<int8_t>(row[j]) * weights[j];
            as_unsigned += row[j] * weights[j];
        }
        check(table.walk->dot[0](row, weights.data(), width) == as_signed, what + " int8");
        check(table.walk->dot[1](row, weights.data(), width) == as_unsigned, what + " uint8");
    }
}

// Keys that join a beam of `room` of which `held` places are taken; some are marked as expanded.
void test_merge(const KernelTable& table, size_t room, size_t held, size_t count) {
    const std::string what = std::string(table.name) + " beam of " + std::to_string(room) + " with " +
                             std::to_string(held) + " and " + std::to_string(count);
    std::vector<uint64_t> all;
    while (all.size() < held + count) {
        const uint64_t key = (uint64_t{random_engine()} << 32 | random_engine()) >> (all.size() % 40);
        if (key > 1 && std::find(all.begin(), all.end(), key) == all.end()) all.push_back(key);
    }
    const size_t space = round_up(room, kMerged);
    Block keys(8 * space), from(8 * count);
    std::sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(held), std::greater<>());
    std::memset(keys.get(), 0, 8 * space);
    std::memcpy(keys.get(), all.data(), 8 * held);
    std::memcpy(from.get(), all.data() + held, 8 * count);
    const auto* merged = reinterpret_cast<uint64_t*>(keys.get());
    const size_t next = table.walk->merge(reinterpret_cast<uint64_t*>(keys.get()), room,
                                          reinterpret_cast<const uint64_t*>(from.get()), count);
    std::sort(all.begin(), all.end(), std::greater<>());
    all.resize(std::max(space, all.size()));
    size_t even = 0;
    while (even < space && all[even] & 1) ++even;
    check(std::equal(all.begin(), all.begin() + static_cast<ptrdiff_t>(room), merged), what);
    check(even < space ? next == even : next >= space, what + ", next");
}

// Products of every row with every query, the same whatever comes with them.
void test_products(const KernelTable& table, size_t n, size_t m, size_t dim) {
    const std::string what = std::string(table.name) + " products of " + std::to_string(n) + " x " +
                             std::to_string(dim) + " with " + std::to_string(m);
    std::normal_distribution<float> normal;
    Block rows(4 * n * dim), queries(4 * m * dim), out(4 * m * n);
    auto* const x = reinterpret_cast<float*>(rows.get());
    auto* const y = reinterpret_cast<float*>(queries.get());
    auto* const found = reinterpret_cast<float*>(out.get());
    std::generate_n(x, n * dim, [&] { return normal(random_engine); });
    std::generate_n(y, m * dim, [&] { return normal(random_engine); });
    table.walk->products(x, dim, n, y, dim, m, found, n);
    for (size_t q = 0; q < m; ++q) {
        for (size_t r = 0; r < n; ++r) {
            double sum = 0, size = 0;
            for (size_t d = 0; d < dim; ++d) {
                sum += double{x[r * dim + d]} * double{y[q * dim + d]};
                size += std::fabs(double{x[r * dim + d]} * double{y[q * dim + d]});
            }
            check(std::fabs(found[q * n + r] - sum) <= 1e-6 * size, what);
            float alone;
            table.walk->products(x + r * dim, dim, 1, y + q * dim, dim, 1, &alone, 1);
            check(alone == found[q * n + r], what + ", one by one");
        }
    }
}

void test_table(const KernelTable& table) {
    for (const size_t room : {1, 7, 8, 31, 32, 33, 64, 65, 96, 100, 128}) {
        for (const size_t count : {1, 3, 32, 130}) {
            if (!table.walk->merge) break;
            for (const size_t held : {size_t{0}, room / 2, room}) test_merge(table, room, held, count);
        }
    }
    for (const size_t dim : {1, 15, 16, 17, 64, 100}) {
        for (const size_t m : {1, 3, 4, 5, 8}) {
            for (const size_t n : {1, 2, 7, 8, 9, 17}) {
                if (table.walk->products) test_products(table, n, m, dim);
            }
        }
    }
    const size_t filters[] = {1, 2, 3, 6, 7};
    const size_t dims[] = {1, 2, 5, 7, 8, 13, 40, 63, 64, 65, 100, 127, 128, 384, 512, 1000, 1024, 1025};
    const size_t counts[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130};
    const size_t queries[] = {1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 32, 33, 48, 64, 70};
    size_t i = 0;
    for (const size_t dim : dims) {
        for (const size_t n : counts) {
            const size_t m = queries[i++ % std::size(queries)];
            const size_t k = i % 3 ? 1 + i % n : n;
            for (const Op op : {Op::hamming, Op::bits, Op::bytes_i8, Op::bytes_u8, Op::cells,
                                Op::wide}) {
                test_scan(table, op, n, m, dim, k, 1 + i % 2, i % 4 * 3);
                test_scan(table, op, n, m, dim, k, 1, i % 4 * 3, filters[i % 5], i % 4);
            }
        }
        for (const Element e : {Element::bits, Element::i8, Element::u8, Element::f16,
                                Element::bf16, Element::f32}) {
            test_rescore(table, e, 9, 3, 11, dim, i++ % 3 * 5);
        }
        for (const Element e : {Element::cells, Element::wide}) {
            test_rescore_cells(table, e, 9, 3, 1 + i % 40, dim, i % 3 * 5);
        }
    }
    for (const size_t dim : dims) {
        for (const size_t rounds : {1, 3, 6}) test_rotate(table, 1 + i++ % 5, dim, i % 4, rounds);
        for (const int bits : {1, 2, 3, 8}) test_grid(table, 1 + i++ % 5, 4 * dim, bits, i % 3);
        test_grid(table, 2, 4 * (1 + dim / 7), 4, 1);
    }
    for (const size_t m : {1, 20, 300}) {
        for (const Op op : {Op::hamming, Op::bits, Op::bytes_i8, Op::bytes_u8, Op::cells, Op::wide}) {
            test_scan(table, op, 40, m, table_size(op) ? 700 : 4000, 3, 2, 1);
        }
    }
    // Several windows: rows that are scored in place, picked, skipped, and parts for two threads.
    for (const size_t m : {1, 5, 20}) {
        for (const size_t rarity : {0, 1, 2, 4, 8, 12}) {
            for (const Op op : {Op::hamming, Op::bits, Op::bytes_i8, Op::bytes_u8, Op::cells,
                                Op::wide}) {
                test_scan(table, op, 3500, m, 70, 1 + 30 * m, 1, 1, filters[i % 5], rarity);
                ++i;
            }
        }
        test_scan(table, Op::cells, 3500, m, 1024, 10, 3, 0, filters[m % 5], 1);
        test_scan(table, Op::cells, 3500, m, 1024, 10, 3, 0, 6, 1);
    }
    for (const size_t n : {1, 3, 16, 17, 63, 65, 150}) {
        for (const size_t r : {1, 5, 17, 50}) {
            test_encode(table, 16, n, 1 + i++ % 7, r, 1 + i % 2, i % 3);
            test_encode(table, 256, n, 1 + i % 3, r, 1 + i % 2, i % 3);
            test_tables(table, 16, 1 + n % 9, 1 + i % 7, r, 1 + i % 2, i % 3);
            test_tables(table, 256, 1 + n % 5, 1 + i % 3, r, 1 + i % 2, i % 3);
        }
    }
    for (const size_t n : {1, 2, 15, 16, 17, 32, 33, 64, 65, 130}) {
        for (const size_t width : {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 64, 100, 128, 129, 255,
                                   256, 257, 300, 513, 700}) {
            test_walk(table, Op::cells, n, width);
            test_walk(table, Op::wide, n, width);
        }
    }
    for (size_t size = 0; size < 600; size += 1 + size / 9) test_read(table, size);
}

}  // namespace

std::mt19937_64 random_engine(7);
int failures = 0;

void check(bool ok, const std::string& what) {
    if (ok) return;
    std::printf("FAILED: %s\n", what.c_str());
    if (++failures > 20) std::exit(1);
}

int main(int argc, char** argv) {
    try {
        for (int i = 1; i < argc; ++i) table_for(argv[i]);
    } catch (const std::invalid_argument& error) {
        std::printf("FAILED: %s\n", error.what());
        return 1;
    }
    for (const size_t dim : {1, 3, 7, 8, 16, 17, 33, 1000}) {
        for (const int low : {-128, 0}) test_encode_bytes(1 + dim % 300, dim, low, dim % 3);
    }
    for (const KernelTable* table : available()) {
        test_table(*table);
        test_searches(*table);
        std::printf("%s: %s\n", table->name, failures ? "FAILED" : "ok");
        std::fflush(stdout);
    }
    return failures ? 1 : 0;
}
