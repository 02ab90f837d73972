// The NEON kernels of cells, for the table of neon.cpp.
#pragma once

#include "../kernels.h"

namespace nestbit::neon {

void cells(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
           size_t ld);
void wide(const RowBlock& rows, const QueryTile& queries, uint8_t* scratch, int32_t* out,
          size_t ld);
void picked_cells(const uint8_t* const* rows, size_t count, size_t width, const uint8_t* tables,
                  int32_t* sums);
void rescore_cells(const Candidates& rows, const float* weights, float* out);
void encode(const CellBooks& books, const EncodeTile& tile, float* along, float* length2);
void tables(const TableBooks& books, const float* query, const TablesOut& out);
void rotate(const Rotation& rotation, float* row);
void grid(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial, float* along,
          float* length2);
void rescore_wide(const Candidates& rows, const float* weights, float* out);

}  // namespace nestbit::neon
