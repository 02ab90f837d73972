// The AVX2 rescoring kernels, for the table of avx2.cpp.
#pragma once

#include "../kernels.h"

namespace nestbit::avx2 {

void rescore_bits(const Candidates& rows, const float* weights, float* out);
void rescore_i8(const Candidates& rows, const float* weights, float* out);
void rescore_u8(const Candidates& rows, const float* weights, float* out);
void rescore_f16(const Candidates& rows, const float* weights, float* out);
void rescore_bf16(const Candidates& rows, const float* weights, float* out);
void rescore_f32(const Candidates& rows, const float* weights, float* out);

}  // namespace nestbit::avx2
