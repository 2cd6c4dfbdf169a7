// What is done to a finished sum: bias, the value before the activation, the activation. Contract: cpp/ops/matmul.h
#pragma once
#include <math.h>
#include "cpp/ops/matmul.h"
#include "cuda/arch/convert.cuh"

namespace lc::cuda {

// Not inlined: it would stand in a kernel once for every sum a thread holds.
template <class A> __device__ LC_NOINLINE A activated(Activation f, A z) {
    switch (f) {
        case Activation::relu: return z < A(0) ? A(0) : z;
        case Activation::gelu: return z * A(0.5) * ::erfc(-z * A(0x1.6a09e667f3bcdp-1));
        case Activation::gelu_tanh: return z / (A(1) + ::exp(A(-2 * 0x1.9884533d43651p-1) * (z + A(0.044715) * z * z * z)));
        case Activation::silu: return z / (A(1) + ::exp(-z));
        case Activation::sigmoid: return A(1) / (A(1) + ::exp(-z));
        case Activation::tanh: return ::tanh(z);
        default: return z;
    }
}

// Writes sum (i, j) of an entry; offset is its place in y and before.
template <class T> __device__ __forceinline__ void finish(const MatmulForward<T>& f, acc_t<T> sum, int64_t j, int64_t offset) {
    if (f.add) {
        f.y[offset] = narrow<T>(widen(f.y[offset]) + sum);
        return;
    }
    if (f.bias) sum += widen(f.bias[j]);
    if (f.before) f.before[offset] = narrow<T>(sum);
    f.y[offset] = narrow<T>(f.activation == Activation::none ? sum : activated(f.activation, sum));
}

}  // namespace lc::cuda
