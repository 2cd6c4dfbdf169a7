// pointwise_loss: losses of one element of x against one of t, then reduced.
//
//   mse               (x - t)^2
//   l1                |x - t|
//   smooth_l1         d^2 / (2 beta) where d = |x - t| < beta, else d - beta / 2          beta 0: l1
//   huber             d^2 / 2 where d = |x - t| <= beta, else beta (d - beta / 2)
//   binary_cross_entropy              w (-t log x - (1 - t) log(1 - x)), logarithms not below -100
//   binary_cross_entropy_with_logits  w ((1 - t) x + l log(1 + exp(-x))), l = 1 + (pos_weight - 1) t
//   kl_div            t (log t - x), 0 where t = 0; log_target: exp(t) (t - x)
//
//   reduction         none, mean over the elements, sum; kl_div also batchmean, over the first size
//   backward          dx = g dloss/dx, dt = g dloss/dt
//
// The sum is taken in T within chunks of 8192 elements, in float64 across them. float32 and float64.
#pragma once
#include <string>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class PointwiseLoss : uint8_t { mse,
                                     l1,
                                     smooth_l1,
                                     huber,
                                     binary_cross_entropy,
                                     binary_cross_entropy_with_logits,
                                     kl_div,
                                     kl_div_log_target };

constexpr int64_t kLossChunk = 8192;

template <class T> struct PointwiseLossForward {
    PointwiseLoss kind;
    int64_t n;
    T beta;
    const T *x, *t, *w, *pos_weight;                  // in    w, pos_weight: [n] or null, ones
    T* y;                                             // out   [n], or null:
    double* sums;                                     // out   of every chunk
};
template <class T> struct PointwiseLossBackward {
    PointwiseLoss kind;
    int64_t n;
    T beta;
    const T *x, *t, *w, *pos_weight;                  // in
    const T* g;
    int64_t g_stride;                     // 0: one gradient for all elements
    T *dx, *dt;                                       // out   either may be null
};

LC_API Tensor mse_loss(const Tensor& x, const Tensor& t, const std::string& reduction = "mean");
LC_API Tensor l1_loss(const Tensor& x, const Tensor& t, const std::string& reduction = "mean");
LC_API Tensor smooth_l1_loss(const Tensor& x, const Tensor& t, const std::string& reduction = "mean", double beta = 1);
LC_API Tensor huber_loss(const Tensor& x, const Tensor& t, const std::string& reduction = "mean", double delta = 1);
LC_API Tensor binary_cross_entropy(const Tensor& x, const Tensor& t, const Tensor& weight = {}, const std::string& reduction = "mean");
LC_API Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& t, const Tensor& weight = {}, const std::string& reduction = "mean",
                                               const Tensor& pos_weight = {});
LC_API Tensor kl_div(const Tensor& x, const Tensor& t, const std::string& reduction = "mean", bool log_target = false);

}  // namespace lc

LC_CPU_KERNEL(pointwise_loss_forward, PointwiseLossForward)
LC_CPU_KERNEL(pointwise_loss_backward, PointwiseLossBackward)
LC_CUDA_KERNEL(pointwise_loss_forward, PointwiseLossForward)     // which checks that probabilities are
LC_CUDA_KERNEL(pointwise_loss_backward, PointwiseLossBackward)
