// The kernels between which cuda/kernels/matmul.cu chooses.
#pragma once
#include "cpp/ops/matmul.h"
#include "cuda/kernels/matmul_plan.h"

namespace lc::cuda {

// f's batch offsets, if any, are in device memory.
template <class T> void matmul_scalar(const MatmulForward<T>& f, const CudaMatmulPlan& p);
// parts: null, or [p.parts, tiles_m * tile_m, tiles_n * tile_n], where every part's sums go instead of to y.
template <class T> void matmul_tensor(const MatmulForward<T>& f, const CudaMatmulPlan& p, float* parts);
template <class T> void matmul_hopper(const MatmulForward<T>& f, const CudaMatmulPlan& p, float* parts);

}  // namespace lc::cuda
