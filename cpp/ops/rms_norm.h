// rms_norm: every row to unit root-mean-square, then scaled by a learned w.
//
//   forward    rstd[r] = 1 / sqrt(mean_c x[r,c]^2 + eps)
//              y[r,c]  = x[r,c] * rstd[r] * w[c]
//   backward   g[r,c]  = dy[r,c] * w[c]      h[r,c] = x[r,c] * rstd[r]
//              dx[r,c] = rstd[r] * (g[r,c] - h[r,c] * mean_c g[r,c] h[r,c])
//              dw[c]   = sum_r dy[r,c] h[r,c]
//
// add_rms_norm: s = x + residual, or x, and the norm of s, as add_layer_norm.
// float32, float64, and 16-bit storage with float32 arithmetic. w is optional.
#pragma once
#include <optional>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct RmsNormForward {
    int64_t rows, cols;                               // x, y, dy, dx: [rows, cols]
    acc_t<T> eps;
    const T *x, *w;                                   // in    w: [cols] or null
    T* y;                                             // out
    acc_t<T>* rstd;                                   // out   [rows], saved
    const T* residual = nullptr;                      // in    on CUDA: normalizes x + residual, which goes to sum
    T* sum = nullptr;                                 // out
};
template <class T> struct RmsNormBackward {
    int64_t rows, cols;
    const T *dy, *x, *w;                              // in
    const acc_t<T>* rstd;
    T *dx, *dw;                                       // out   dw may be null
    const T* dsum = nullptr;                          // in    on CUDA: added to dx
};

// Normalizes over the last normalized_shape.size() dims. eps: none means the spacing of the dtype at 1.
LC_API Tensor rms_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& w = {}, std::optional<double> eps = {});
LC_API Tensors add_rms_norm(const Tensor& x, const Tensor& residual, const Dims& normalized_shape, const Tensor& w = {}, std::optional<double> eps = {});

}  // namespace lc

LC_CPU_KERNEL(rms_norm_forward, RmsNormForward)
LC_CPU_KERNEL(rms_norm_backward, RmsNormBackward)
LC_CUDA_KERNEL(rms_norm_forward, RmsNormForward)
LC_CUDA_KERNEL(rms_norm_backward, RmsNormBackward)
