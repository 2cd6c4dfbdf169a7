// optim_step: one step of an optimizer over a whole list of parameters, in place, in one call.
//
//   every      g += weight_decay p  (not where it is decoupled);  maximize: g = -g
//   sgd        b = momentum b + (1 - dampening) g  (first step: b = g);  d = nesterov ? g + momentum b : b;  p -= lr d
//   adam       m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2;  top = max(top, v) (amsgrad)
//              p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps);  decoupled (AdamW): p *= 1 - lr weight_decay first
//   rmsprop    v = alpha v + (1 - alpha) g^2;  a += (1 - alpha)(g - a), v - a^2 for v below (centered)
//              d = g / (sqrt(v) + eps);  b = momentum b + d (momentum);  p -= lr (b or d)
//   norm       (sum_i |g_i|^k)^(1/k) over all tensors, k = 1, 2 or infinity;  clip: g *= min(1, max_norm / (norm + 1e-6))
//
// p and g are float32, float64 or 16-bit; the state (b, m, v, ...) has the accumulating type, and 16-bit parameters may
// keep a float32 master copy that the step is taken on. A parameter without gradient, and its state, stay as they are.
// t is counted per parameter in `steps`. These ops write in place and have no gradient; parameters' versions are bumped.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

// A stretch of one tensor; a list of them is shared out among the threads.
template <class T> struct OptimChunk {
    T* p;                                             // in/out
    const T* g;                                       // in
    acc_t<T>* master;                                 // in/out   or null: the step is taken on p
    acc_t<T>* state[3];                               // in/out   or null where unused
    int64_t n;
    acc_t<T> scale, shrink;                           // per parameter; the meaning is the step's
};
template <class T> struct OptimList {
    const OptimChunk<T>* chunks;
    int64_t count, elements;
};

template <class T> struct SgdStep {
    OptimList<T> list;                                // state: b; scale: what b is multiplied with, shrink: what g is
    acc_t<T> lr, momentum, weight_decay;
    bool nesterov, maximize;
};
template <class T> struct AdamStep {
    OptimList<T> list;                                // state: m, v, top; with s = sqrt(1 - beta2^t), scale: lr s / (1 - beta1^t), shrink: eps s
    acc_t<T> lr, one_minus_beta1, beta2, one_minus_beta2, weight_decay;
    bool decoupled, maximize;
};
template <class T> struct RmspropStep {
    OptimList<T> list;                                // state: v, b, a
    acc_t<T> lr, alpha, one_minus_alpha, eps, momentum, weight_decay;
    bool maximize;
};
template <class T> struct NormParts {
    OptimList<T> list;                                // reads g
    int order;                                        // 1, 2, or 0 for the largest
    double* parts;                                    // out   [count]: the sum of |g|^order, or the largest, of each chunk
};
template <class T> struct ScaleGradients {
    OptimList<T> list;
    acc_t<T> factor;
};   // writes p
// Where the host should not wait for the norm: sum += (or the larger of it and) that of the list; norm from it; g *= factor.
template <class T> struct NormSum {
    OptimList<T> list;
    int order;
    double* sum;                                      // in/out
};
template <class T> struct NormFinish {                // T: float or double
    const double* sum;
    int order;
    T* norm;
};
template <class T> struct ClipGradients {
    OptimList<T> list;
    const float* norm32;                              // one of the two is null
    const double* norm64;
    double max_norm;
};

struct SgdOptions {
    double lr, momentum = 0, dampening = 0, weight_decay = 0;
    bool nesterov = false, maximize = false;
};
struct AdamOptions {
    double lr, beta1, beta2, eps, weight_decay = 0;
    bool amsgrad = false, decoupled = false, maximize = false;
};
struct RmspropOptions {
    double lr, alpha, eps, weight_decay = 0, momentum = 0;
    bool centered = false, maximize = false;
};

// The parameters of one step. Lists are as long as `params`, or empty where the options do not use them. `steps`
// [params] float32 counts the steps of each. A parameter that has a gradient but an undefined state makes the call return
// false, with nothing changed: the caller makes the state and calls again.
struct OptimParameters {
    const Tensors& params;
    const Tensors& masters;
    const Tensor& steps;
};
LC_API bool sgd_step(const OptimParameters&, const Tensors& momentum_buffers, const SgdOptions&);
LC_API bool adam_step(const OptimParameters&, const Tensors& exp_avgs, const Tensors& exp_avg_sqs, const Tensors& max_exp_avg_sqs,
                      const AdamOptions&);
LC_API bool rmsprop_step(const OptimParameters&, const Tensors& square_avgs, const Tensors& momentum_buffers, const Tensors& grad_avgs,
                         const RmspropOptions&);

// Rank 0, of the first tensor's accumulating type (float32 for none). order: 1, 2 or infinity.
LC_API Tensor total_norm(const Tensors& tensors, double order = 2);
LC_API void clip_by_norm_(const Tensors& tensors, const Tensor& norm, double max_norm);

}  // namespace lc

LC_CPU_KERNEL(sgd_step, SgdStep)
LC_CPU_KERNEL(adam_step, AdamStep)
LC_CPU_KERNEL(rmsprop_step, RmspropStep)
LC_CPU_KERNEL(norm_parts, NormParts)
LC_CPU_KERNEL(scale_gradients, ScaleGradients)
LC_CUDA_KERNEL(sgd_step, SgdStep)                     // one chunk per tensor
LC_CUDA_KERNEL(adam_step, AdamStep)
LC_CUDA_KERNEL(rmsprop_step, RmspropStep)
LC_CUDA_ONLY_KERNEL(norm_sum, NormSum)
LC_CUDA_ONLY_KERNEL(norm_finish, NormFinish)
LC_CUDA_ONLY_KERNEL(clip_gradients, ClipGradients)
