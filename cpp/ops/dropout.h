// dropout: y = x z, where every z is 0 with probability p and 1 / (1 - p) else.
//
//   forward    z[i] = [word_i >= p 2^32] / (1 - p), word_i the i-th random word of the key
//   backward   dx[i] = dy[i] z[i]
//
// z is not stored: backward makes it anew from the key. dropout1d and dropout2d draw one z per batch entry and channel.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/random.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct DropoutForward {            // backward is the same map, of dy
    RandomKey key;
    uint32_t threshold;                               // word below: dropped
    double scale;
    const T* x;
    T* y;
    int64_t n;
};

}  // namespace lc
LC_CPU_KERNEL(dropout_forward, DropoutForward)
LC_CUDA_KERNEL(dropout_forward, DropoutForward)
namespace lc {

LC_API Tensor dropout(const Tensor& x, double p = 0.5, bool training = true);
LC_API Tensor feature_dropout(const char* name, const Tensor& x, double p, bool training, int spatial);   // x: [(n), c, spatial...]

}  // namespace lc
