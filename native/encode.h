// Encoding of float rows: into cells and back, and into bytes.
#pragma once

#include "kernels.h"

namespace nestbit {

// Cells over `coordinates`: cell c covers first[c] to first[c] + width[c]. Its columns of the
// (centroids, columns) matrices follow those of the cell before it.
struct CellRanges {
    const int32_t* first;
    const int32_t* width;
    size_t count;
    size_t columns;      // the sum of the widths
    size_t coordinates;
    size_t centroids;    // of a cell: 16 or 256
};

// Bytes of a row's code: two cells a byte, the even one in the low half, or one byte a cell.
inline constexpr size_t code_bytes(size_t cells, size_t centroids) {
    return centroids == 16 ? (cells + 1) / 2 : cells;
}

struct EncodeRequest {
    const float* rows;       // (n, coordinates)
    ptrdiff_t stride;        // of a row, in floats
    size_t n;
    CellRanges cells;
    const float* centroids;  // (centroids, columns): what the cells compare and take off
    const float* decoded;    // as many: what the centroids decode to
    size_t threads;
};

// codes (n, code_bytes), along (n,) = <decoded row, row> and length2 (n,) = |decoded row|^2, each
// a chain of fused multiply-adds over the coordinates in order: equal on every instruction set.
void encode_cells(const KernelTable& table, const EncodeRequest& request, uint8_t* codes,
                  float* along, float* length2);

// out (n, coordinates): the sums of the `decoded` centroids of the codes, cell after cell. Rows of
// codes are `codes.stride` bytes apart.
void decode_cells(const RowBlock& codes, const CellRanges& cells, const float* decoded,
                  size_t threads, float* out);

// 256 equal steps per dimension. codes (n, dim) = rint((row - offset) * inverse), clipped to `low`
// .. low + 255 and stored in its lowest byte; every operation is rounded. Returns how many values
// were clipped. A value that is not a number becomes `low`. `stride` in floats.
size_t encode_bytes(const float* rows, ptrdiff_t stride, size_t n, size_t dim, const float* offset,
                    const float* inverse, int low, size_t threads, uint8_t* codes);

}  // namespace nestbit
