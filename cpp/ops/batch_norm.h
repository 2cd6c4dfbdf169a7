// batch_norm: every channel of [n, c, s] to mean 0 and variance 1 over n and s, then scaled and shifted by w and b.
//
//   forward    training:   mean[c], var[c] over the batch;   evaluation: the running ones
//              h = (x - mean[c]) / sqrt(var[c] + eps)        y = h * w[c] + b[c]
//   backward   training:   dx = w[c] rstd[c] (dy - mean dy - h * mean(dy h)), means over n and s
//              evaluation: dx = w[c] rstd[c] dy
//              dw[c] = sum dy h      db[c] = sum dy
//   running    r = (1 - momentum) r + momentum * statistic, the variance there divided by n s - 1
//
// mean = base + rest and var are float64, combined from chunks of at most 16384 elements (two passes each; CUDA: one pass in
// float64 over what is above the first element), so they are right at mean/std = 1e4 and for any number of elements.
// float32 and float64, on CUDA 16-bit types too; w and b are optional.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct BatchNormForward {
    int64_t n, c, s;                                  // x, y, dy, dx: [n, c, s]
    double eps;
    bool training;
    const T *x, *w, *b;                               // in    w, b: [c] or null
    double *base, *rest, *var;                        // [c]   out when training, else in
    T* y;                                             // out
};
template <class T> struct BatchNormBackward {
    int64_t n, c, s;
    double eps;
    bool training;
    const T *dy, *x, *w;                              // in
    const double *base, *rest, *var;
    T *dx, *dw, *db;                                  // out   each may be null
};
template <class T> struct BatchNormRunning {          // on CUDA; the CPU's is update_running_statistics()
    int64_t c;
    double count, momentum;                           // count: n * s
    const double *base, *rest, *var;                  // in
    T *mean, *variance;                               // in and out
    int64_t mean_stride, variance_stride;
};

// running_mean, running_var: both or neither; updated in place when training.
LC_API Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& w = {}, const Tensor& b = {},
                         bool training = false, double momentum = 0.1, double eps = 1e-5);

}  // namespace lc

LC_CPU_KERNEL(batch_norm_forward, BatchNormForward)
LC_CPU_KERNEL(batch_norm_backward, BatchNormBackward)
LC_CUDA_WIDER_KERNEL(batch_norm_forward, BatchNormForward)
LC_CUDA_WIDER_KERNEL(batch_norm_backward, BatchNormBackward)
LC_CUDA_ONLY_KERNEL(batch_norm_running, BatchNormRunning)
