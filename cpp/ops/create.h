// create: tensors out of nothing. Members: full, arange, linspace, eye (zeros and empty are Tensor's own). No gradient.
//
//   arange     y[i] = start + i * step, for i < ceil((end - start) / step)         exact for integers
//   linspace   y[i] = start + i * (end - start) / (steps - 1), counted from the nearer end, so that both are exact
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct CreateRange {               // y[i] = start + i * step
    T start, step;
    int64_t n;
    T* y;
};

}  // namespace lc
LC_CPU_KERNEL(create_range, CreateRange)              // int64_t, double
LC_CUDA_KERNEL(create_range, CreateRange)
namespace lc {

LC_API Tensor full(const Dims& sizes, const Tensor& value, DType dtype, Device device = {});       // value: 0-d
LC_API Tensor full(const Dims& sizes, double value, DType dtype = DType::float32, Device device = {});
LC_API Tensor ones(const Dims& sizes, DType dtype = DType::float32, Device device = {});
LC_API Tensor arange(int64_t start, int64_t end, int64_t step = 1, DType dtype = DType::int64, Device device = {});
LC_API Tensor arange(double start, double end, double step = 1, DType dtype = DType::float32, Device device = {});
LC_API Tensor linspace(double start, double end, int64_t steps, DType dtype = DType::float32);
LC_API Tensor eye(int64_t rows, int64_t cols, DType dtype = DType::float32, Device device = {});

}  // namespace lc
