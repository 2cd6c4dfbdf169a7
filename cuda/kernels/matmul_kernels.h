// The kernels between which cuda/kernels/matmul.cu chooses.
#pragma once
#include "cpp/ops/matmul.h"
#include "cuda/kernels/matmul_plan.h"

namespace lc::cuda {

// f's batch offsets, if any, are in device memory.
template <class T> void matmul_scalar(const MatmulForward<T>& f, const CudaMatmulPlan& p);
template <class T> void matmul_tensor(const MatmulForward<T>& f, const CudaMatmulPlan& p);
template <class T> void matmul_hopper(const MatmulForward<T>& f, const CudaMatmulPlan& p);

}  // namespace lc::cuda
