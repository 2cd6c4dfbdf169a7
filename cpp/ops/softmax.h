// softmax, log_softmax: along one dim, the other dims being rows of their own.
//
//   forward    m = max_c x[c]    s = sum_c exp(x[c] - m)
//              softmax      y[c] = exp(x[c] - m) / s
//              log_softmax  y[c] = x[c] - m - log(s)
//   backward   softmax      dx[c] = y[c] * (dy[c] - sum_c dy[c] * y[c])
//              log_softmax  dx[c] = dy[c] - exp(y[c]) * sum_c dy[c]
//
// x is [outer, n, inner] with n the dim; only y is saved. float32 and float64, arithmetic in the type itself.
// A row of nothing but -inf gives NaN, as everywhere; NaN fills its row and no other.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct SoftmaxForward {
    int64_t outer, n, inner;
    bool log;                                         // log_softmax
    const T* x;                                       // in    [outer, n, inner]
    T* y;                                             // out
};
template <class T> struct SoftmaxBackward {
    int64_t outer, n, inner;
    bool log;
    const T *dy, *y;                                  // in
    T* dx;                                            // out
};

LC_API Tensor softmax(const Tensor& x, int64_t dim);
LC_API Tensor log_softmax(const Tensor& x, int64_t dim);

}  // namespace lc

LC_CPU_KERNEL(softmax_forward, SoftmaxForward)
LC_CPU_KERNEL(softmax_backward, SoftmaxBackward)
LC_CUDA_KERNEL(softmax_forward, SoftmaxForward)
LC_CUDA_KERNEL(softmax_backward, SoftmaxBackward)
