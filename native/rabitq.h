// What RaBitQ makes of rows: a random rotation, then codes on a uniform grid in bit planes.
#pragma once

#include "kernels.h"

namespace nestbit {

// rows (n, width) to out (n, dim), dim >= width: zeros are put after every row before it is
// rotated. signs (rounds, dim) are 1 or -1. In each round: the signs, then the normalised Hadamard
// transform of the largest power of two of dimensions, the first and the last in turns; if these
// are not all, then after the last the sums and differences of the two halves times √½. `inverse`
// undoes that.
struct RotateRequest {
    const float* rows;
    ptrdiff_t stride;  // of a row, in floats
    size_t n, width, dim, rounds;
    const float* signs;
    bool inverse;
    size_t threads;
};
void rotate_rows(const KernelTable& table, const RotateRequest& request, float* out);

// codes (n, ceil(r / 4 * bits / 2)) of rows z (n, r), r a multiple of 4: cells of four bits, for
// each four coordinates their planes, the highest first. along (n,) = <point, z> and length2 (n,)
// = |point|^2 of the points code - (2^bits - 1) / 2. `stride` in floats.
void encode_grid(const KernelTable& table, const float* z, ptrdiff_t stride, size_t n, size_t r,
                 int bits, size_t threads, uint8_t* codes, float* along, float* length2);

}  // namespace nestbit
