// layer_norm: every row to mean 0 and variance 1, then scaled and shifted by learned w and b.
//
//   forward    mean[r] = mean_c x[r,c]      rstd[r] = 1 / sqrt(mean_c (x[r,c] - mean[r])^2 + eps)
//              h[r,c]  = (x[r,c] - mean[r]) * rstd[r]
//              y[r,c]  = h[r,c] * w[c] + b[c]
//   backward   g[r,c]  = dy[r,c] * w[c]
//              dx[r,c] = rstd[r] * (g[r,c] - mean_c g[r,c] - h[r,c] * mean_c g[r,c] h[r,c])
//              dw[c]   = sum_r dy[r,c] h[r,c]      db[c] = sum_r dy[r,c]
//
// mean is kept as a sum of two numbers, base + rest: base is the mean as one pass rounds it, rest what a second pass finds
// missing. So x - base - rest is as good at mean/std = 1e4 as at 0. base, rest and rstd are saved.
// add_layer_norm: s = x + residual, or x, and the norm of s. On CUDA one pass each way, dx = dresidual = (the above) + ds;
// elsewhere it is made of add and layer_norm.
// float32, float64, and 16-bit storage with float32 arithmetic. w and b are optional.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct LayerNormForward {
    int64_t rows, cols;                               // x, y, dy, dx: [rows, cols]
    acc_t<T> eps;
    const T *x, *w, *b;                               // in    w, b: [cols] or null
    T* y;                                             // out
    acc_t<T>*base, *rest, *rstd;                     // out   [rows]
    const T* residual = nullptr;                      // in    on CUDA: normalizes x + residual, which goes to sum
    T* sum = nullptr;                                 // out
};
template <class T> struct LayerNormBackward {
    int64_t rows, cols;
    const T *dy, *x, *w;                              // in    w: [cols] or null
    const acc_t<T>*base, *rest, *rstd;
    T *dx, *dw, *db;                                  // out   dw and db both or neither
    const T* dsum = nullptr;                          // in    on CUDA: added to dx
};

// Normalizes over the last normalized_shape.size() dims.
LC_API Tensor layer_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& w = {}, const Tensor& b = {}, double eps = 1e-5);
// (s, layer_norm(s)); without a residual s is x, passed through so that its other use's gradient is added in the norm's.
LC_API Tensors add_layer_norm(const Tensor& x, const Tensor& residual, const Dims& normalized_shape, const Tensor& w = {}, const Tensor& b = {}, double eps = 1e-5);

}  // namespace lc

LC_CPU_KERNEL(layer_norm_forward, LayerNormForward)
LC_CPU_KERNEL(layer_norm_backward, LayerNormBackward)
LC_CUDA_KERNEL(layer_norm_forward, LayerNormForward)
LC_CUDA_KERNEL(layer_norm_backward, LayerNormBackward)
