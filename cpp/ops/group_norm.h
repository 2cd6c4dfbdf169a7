// group_norm: every group of channels of one sample to mean 0 and variance 1, then every channel scaled and shifted.
//
//   forward    x is [n, c, s]; group g of sample n holds c / groups channels, d = c / groups * s elements
//              h = (x - mean[n,g]) / sqrt(var[n,g] + eps)        y = h * w[c] + b[c]
//   backward   t = dy * w[c]
//              dx = rstd[n,g] (t - mean t - h * mean(t h)), means over the group
//              dw[c] = sum_{n,s} dy h      db[c] = sum_{n,s} dy
//
// mean is kept as base + rest, so x - mean is right at mean/std = 1e4. w and b are optional. float32 and
// float64, on CUDA 16-bit types too.
// instance_norm is the case of one channel a group.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct GroupNormForward {
    int64_t n, c, s, groups;                          // x, y, dy, dx: [n, c, s]
    double eps;
    const T *x, *w, *b;                               // in    w, b: [c] or null
    T* y;                                             // out
    double *base, *rest, *var;                        // out   [n, groups]
};
template <class T> struct GroupNormBackward {
    int64_t n, c, s, groups;
    double eps;
    const T *dy, *x, *w;                              // in
    const double *base, *rest, *var;
    T *dx, *dw, *db;                                  // out   dw, db may be null
};

LC_API Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& w = {}, const Tensor& b = {}, double eps = 1e-5);

// The same, telling the statistics: float64 [3, n, groups], base, rest and var. op names the errors.
struct GroupNormResult {
    Tensor y, statistics;
};
LC_API GroupNormResult group_norm_with_statistics(const char* op, const Tensor& x, int64_t num_groups, const Tensor& w, const Tensor& b, double eps);

}  // namespace lc

LC_CPU_KERNEL(group_norm_forward, GroupNormForward)
LC_CPU_KERNEL(group_norm_backward, GroupNormBackward)
LC_CUDA_WIDER_KERNEL(group_norm_forward, GroupNormForward)
LC_CUDA_WIDER_KERNEL(group_norm_backward, GroupNormBackward)
