#include "misses.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <vector>

namespace nestbit {
namespace {

constexpr double kTiny = std::numeric_limits<double>::min();
// Candidates whose coarse scores tell how much one pair of the prior weighs.
constexpr size_t kUnitOf = 100;
constexpr size_t kPoints = 24;  // ranks at which the misses are summed

// A rank that stands for those of `weight` rows.
struct Point {
    size_t rank;
    double weight;
};

// Ranks from `count` to n, in steps of one factor, none of them twice.
std::vector<Point> points_beyond(size_t count, size_t n) {
    std::vector<Point> points;
    const auto low = static_cast<double>(count), factor = static_cast<double>(n) / low;
    for (size_t i = 1, edge = count; i <= kPoints && edge < n; ++i) {
        const double exact = low * std::pow(factor, static_cast<double>(i) / kPoints);
        const size_t next = i == kPoints ? n : static_cast<size_t>(std::nearbyint(exact));
        if (next <= edge) continue;
        const double middle = std::sqrt(static_cast<double>(edge) * static_cast<double>(next - 1));
        points.push_back({static_cast<size_t>(middle), static_cast<double>(next - edge)});
        edge = next;
    }
    return points;
}

// Φ(z): Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17.
double normal_share(double z) {
    const double t = 1 / (1 + 0.2316419 * std::abs(z));
    const double series = t * (0.319381530 +
                               t * (-0.356563782 +
                                    t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    const double tail = std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi) * series;
    return z > 0 ? 1 - tail : tail;
}

// Share of rows more than `away` deviations above the line, as measured: 0 below the grid, falling
// by e^3 a deviation beyond it.
double tail_share(double away, const FinePrior& prior) {
    const auto& at = prior.tail_at;
    if (std::isnan(away)) return away;
    if (away < at.front()) return 0;
    if (away >= at.back()) return std::exp(prior.log_tail.back() - 3 * (away - at.back()));
    const auto above = std::upper_bound(at.begin(), at.end(), away);
    const auto i = static_cast<size_t>(above - at.begin()) - 1;
    const double slope = (prior.log_tail[i + 1] - prior.log_tail[i]) / (at[i + 1] - at[i]);
    return std::exp(prior.log_tail[i] + slope * (away - at[i]));
}

double mean(std::span<const float> values) {
    double sum = 0;
    for (const float value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

double spread(std::span<const float> values) {
    const double centre = mean(values);
    double sum = 0;
    for (const float value : values) sum += (value - centre) * (value - centre);
    return sum / static_cast<double>(values.size());
}

// The score at a rank that may lie between two, counted from 0.
double score_at(std::span<const float> scores, double rank, std::vector<float>& scratch) {
    scratch.assign(scores.begin(), scores.end());
    // NaN, of altered factors, has no order; the line's mean carries it into the result.
    for (float& score : scratch) {
        if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();
    }
    const auto below = static_cast<size_t>(rank);
    const auto at = scratch.begin() + static_cast<ptrdiff_t>(below);
    std::nth_element(scratch.begin(), at, scratch.end(), std::greater<>());
    const double share = rank - static_cast<double>(below);
    if (share == 0) return *at;
    return (1 - share) * *at + share * *std::max_element(at + 1, scratch.end());
}

// Fine over coarse scores: through (x, y), with its variance and Σ(x - x̄)².
struct Line {
    double x, y, slope, variance, square;
};

Line fit_line(std::span<const float> coarse, std::span<const float> fine, double unit,
              const FinePrior* prior, double deviation) {
    const double x = mean(coarse), y = mean(fine);
    double square = 0, product = 0;
    for (size_t i = 0; i < fine.size(); ++i) {
        square += (coarse[i] - x) * (coarse[i] - x);
        product += (coarse[i] - x) * (fine[i] - y);
    }
    if (prior) {
        square += prior->pairs * unit;
        product += prior->pairs * unit * prior->slope;
    }
    const double slope = product / std::max(square, kTiny);
    double energy = 0;
    for (size_t i = 0; i < fine.size(); ++i) {
        const double residual = (fine[i] - y) - slope * (coarse[i] - x);
        energy += residual * residual;
    }
    const double pairs = static_cast<double>(fine.size()) - 2;
    const double variance = prior ? (energy + prior->pairs * deviation * deviation) /
                                        (pairs + prior->pairs)
                                  : energy / std::max(pairs, 1.0);
    return {x, y, slope, variance, square};
}

}  // namespace

void expected_misses(const MissesRequest& request, std::span<const int64_t> queries, double* out) {
    const FinePrior* prior = request.prior;
    const size_t width = request.width, count = request.count;
    const std::vector<Point> points = points_beyond(count, request.n);
    std::vector<float> scratch;
    for (size_t i = 0; i < queries.size(); ++i) {
        const auto q = static_cast<size_t>(queries[i]);
        const std::span<const float> coarse(request.coarse + q * request.stride, width);
        const std::span<const float> fine(request.fine + q * request.stride, count);
        const double deviation = prior ? prior->deviations[q] : 0.0;
        const double unit = spread(coarse.first(std::min(width, kUnitOf)));
        const Line line = fit_line(coarse.first(count), fine, unit, prior, deviation);
        const double threshold = score_at(fine, request.rank, scratch);
        // Ranks beyond the scanned ones go on with the fall per doubling of the last half.
        const double fall = static_cast<double>(coarse[width >= 2 ? width / 2 - 1 : 0]) -
                            static_cast<double>(coarse[width - 1]);
        double expected = 0;
        for (const auto& [rank, weight] : points) {
            double score = coarse[std::min(rank, width - 1)];
            if (rank >= width) {
                score -= fall * std::log2(static_cast<double>(rank + 1) / static_cast<double>(width));
            }
            // The variance of a prediction grows with the distance from the line's data.
            const double away = score - line.x;
            const double variance = line.variance * (1 + 1 / static_cast<double>(count) +
                                                     away * away / std::max(line.square, kTiny));
            const double z = (line.y + line.slope * away - threshold) /
                             std::sqrt(std::max(variance, kTiny));
            double share = (1 - request.outliers) * normal_share(z) +
                           request.outliers * normal_share(z / 2);
            if (prior && !prior->tail_at.empty()) share = std::max(share, tail_share(-z, *prior));
            expected += weight * share;
        }
        out[i] = expected;
    }
}

}  // namespace nestbit
