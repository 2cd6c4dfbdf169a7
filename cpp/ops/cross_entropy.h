// cross_entropy: log_softmax and negative log-likelihood in one op, over dim 1 of x (dim 0 of a vector).
//
//   p[c] = exp(x[c] - m) / s,  m = max_c x[c],  s = sum_c exp(x[c] - m),  L[c] = -log p[c] = log s - (x[c] - m)
//   class indices        loss = (1 - eps) w[t] L[t] + eps/n sum_c w[c] L[c]; 0 where t == ignore_index
//   class probabilities  loss = sum_c w[c] q[c] L[c],  q[c] = (1 - eps) t[c] + eps/n
//   reduction            mean divides by the sum of w[t] over the rows not ignored (indices), by the number of rows (probabilities)
//   backward             dx[c] = g (A p[c] - B[c]) with B[c] the factor of L[c] above, A = sum_c B[c], g the gradient of the row's loss
//                        dt[c] = g w[c] (1 - eps) L[c]  (probabilities only)
//
// x is [outer, n, inner]; loss, m and s are [outer, inner]. m and s are saved, not their logarithm's sum: x[c] - m is exact
// where x is large. Nothing of x's size is kept, and backward is one pass. float32 and float64, on CUDA also 16-bit storage with
// float32 arithmetic; no gradient for weight.
#pragma once
#include <string>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct CrossEntropyProblem {
    int64_t outer, n, inner;
    const T* x;                                       // [outer, n, inner]
    const int64_t* index;                             // [outer, inner], or null:
    const T* probability;                             // [outer, n, inner]
    const T* weight;                                  // [n] or null: ones
    int64_t ignore_index;
    acc_t<T> smoothing;
};
template <class T> struct CrossEntropyForward {
    CrossEntropyProblem<T> problem;                   // in
    acc_t<T>*max, *sum, *loss;                       // out   [outer, inner] each
};
template <class T> struct CrossEntropyBackward {
    CrossEntropyProblem<T> problem;                   // in
    const acc_t<T>*max, *sum;
    const T* g;
    int64_t g_stride;                                 // 0: one gradient for all rows
    T* dx;                                            // out   or null
    T* dprobability;                                  // out   or null
    const double* total = nullptr;                    // in    on CUDA: g is divided by it; null: by nothing
};
// The reduction, where the host should not wait for its divisor: y = sum of loss / total, total = 1 or the mean's divisor.
template <class T> struct CrossEntropyTotal {
    const acc_t<T>* loss;
    int64_t rows;
    const int64_t* index;                             // null: every row counts
    const T* weight;
    int64_t ignore_index;
    bool mean;
    double* total;                                    // out
    T* y;                                             // out
};

// reduction: "none", "mean" or "sum".
LC_API Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100,
                            const std::string& reduction = "mean", double label_smoothing = 0);

}  // namespace lc

LC_CPU_KERNEL(cross_entropy_forward, CrossEntropyForward)
LC_CPU_KERNEL(cross_entropy_backward, CrossEntropyBackward)
LC_CUDA_WIDER_KERNEL(cross_entropy_forward, CrossEntropyForward)
LC_CUDA_WIDER_KERNEL(cross_entropy_backward, CrossEntropyBackward)
LC_CUDA_ONLY_KERNEL(cross_entropy_total, CrossEntropyTotal)
