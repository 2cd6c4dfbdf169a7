// tril: one side of a matrix, the other zero. Members: tril, triu.
//
//   forward    tril: y[i, j] = x[i, j] where j <= i + diagonal, else 0      triu: where j >= i + diagonal
//   backward   dx = the same side of dy
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct TrilForward {
    const T* x;
    int64_t matrices, rows, cols, diagonal;
    bool upper;
    T* y;                                             // [matrices, rows, cols]
};

LC_API Tensor tril(const Tensor& x, int64_t diagonal = 0);
LC_API Tensor triu(const Tensor& x, int64_t diagonal = 0);

}  // namespace lc

LC_CPU_KERNEL(tril_forward, TrilForward)              // any T of 1, 2, 4, 8 bytes
LC_CUDA_KERNEL(tril_forward, TrilForward)
