// The search of a graph whose nodes are rows, by their codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../allowed.h"
#include "../kernels.h"

namespace nestbit::walking {

inline constexpr uint32_t kMaxRows = uint32_t{1} << 31;

// Rows are chosen, and what they need is fetched, so many rows before they are expanded; the
// choice is then a little early, which costs less than to wait for memory.
inline constexpr size_t kAhead = 2;
// The neighbours' numbers are read so many rows before their codes are scored.
inline constexpr size_t kMetAhead = 2;
static_assert(kMetAhead >= 2, "codes are fetched while the rows before are scored");

// What a row's sum of table values is multiplied with and what is added: null for 1 and 0.
struct Factors {
    const uint16_t* scale_half;  // at most one of these two
    const float* scale;
    const float* bias;
};

// Neighbours are best first; unused slots hold the row's own number.
struct Graph {
    size_t n, degree;
    Op op;         // cells or wide
    size_t width;  // bytes of a code
    const uint32_t* neighbours;  // (n, degree)
    RowBlock codes;
    Factors factors;
    // Rows to start from, with copies of their factors, and of their codes in lanes.
    const uint32_t* entries;
    size_t entry_count;
    const uint8_t* entry_codes;
    Factors entry_factors;
    // A finer level of int8 or uint8 values, or null: score = scale_q * dot + bias_r.
    RowBlock fine;
    bool fine_signed;
    const float* fine_bias;
    // A level of floats that scores the best rows of a walk anew, or null.
    RowBlock finest;
    Element finest_element;
    const float* finest_bias;
};

// The finest level scores the best `kept` rows of each query by the finer one, which there has to
// be: gain * product with the query's values + bias_q + bias_r.
struct Finish {
    size_t kept;
    const float* values;  // (m, stride), zero-padded as RescoreFn wants them; null for no such level
    size_t stride;
    const float* bias;    // (m,)
    float gain;
};

struct WalkRequest {
    const Graph* graph;
    size_t m, k, beam, room, starts;  // k <= beam <= room
    const uint8_t* tables;            // (m, table values), as the scan of cells takes them
    const float *scales, *bases;      // (m,)
    const int16_t* weights;           // (m, fine width), bounded as RowDotFn tells
    const float* fine_scales;         // (m,)
    Bitmap mask{nullptr};             // rows that may be found
    Finish finish{};                  // k <= kept <= beam
    size_t threads;
};

// From the best `starts` entries always on to the best row met that has not been expanded, until
// all of the `beam` best have been. Rows that may not be found are walked through like others, but
// do not count among the `beam` as long as no more than `room` rows are held. The k best by the
// finer level of all rows expanded are found, without it those of the beam; with `finish` the k best
// by the finest level of as many as are kept.
//
// ids and scores (m, k), best first, the rest -1 and -infinity; counts (m, 2): rows scored by their
// codes, repeats included, and rows expanded. Throws std::out_of_range for a neighbour that is no
// row.
void walk(const KernelTable& table, const WalkRequest& request, int64_t* ids, float* scores,
          int64_t* counts);

}  // namespace nestbit::walking
