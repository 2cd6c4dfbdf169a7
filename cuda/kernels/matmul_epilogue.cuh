// What is done to a finished sum: bias, the value before the activation, the activation or its slope, a residual.
// Contract: cpp/ops/matmul.h
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

// The slope where s was saved: y for relu, sigmoid and tanh, else z.
template <class A> __device__ A slope(Activation f, A s) {
    constexpr double kLinear = 0x1.9884533d43651p-1, kCubic = 0.044715;      // sqrt(2 / pi)
    switch (f) {
        case Activation::relu: return s <= A(0) ? A(0) : A(1);
        case Activation::sigmoid: return s * (A(1) - s);
        case Activation::tanh: return A(1) - s * s;
        case Activation::silu: {
            const A g = A(1) / (A(1) + ::exp(-s));
            return g * (A(1) + s * (A(1) - g));
        }
        case Activation::gelu: return A(0.5) * ::erfc(-s * A(0x1.6a09e667f3bcdp-1)) + s * A(0x1.9884533d43651p-2) * ::exp(A(-0.5) * s * s);
        case Activation::gelu_tanh: {
            const A s2 = s * s, g = A(1) / (A(1) + ::exp(A(-2) * A(kLinear) * s * (A(1) + A(kCubic) * s2)));
            return g + g * (A(1) - g) * (A(2) * A(kLinear) * s * (A(1) + A(3) * A(kCubic) * s2));
        }
        default: return A(1);
    }
}
template <class A> __device__ LC_NOINLINE A slope_once(Activation f, A s) { return slope(f, s); }

// Writes sum (i, j) of an entry; offset is its place in y and before.
template <class T> __device__ __forceinline__ void finish(const MatmulForward<T>& f, acc_t<T> sum, int64_t j, int64_t offset) {
    if (f.add) {
        f.y[offset] = narrow<T>(widen(f.y[offset]) + sum);
        return;
    }
    if (f.slope_of) {
        f.y[offset] = narrow<T>(sum * slope_once(f.activation, widen(f.slope_of[offset])));
        return;
    }
    if (f.bias) sum += widen(f.bias[j]);
    if (f.before) f.before[offset] = narrow<T>(sum);
    if (f.activation != Activation::none) sum = activated(f.activation, sum);
    if (f.residual) sum += widen(f.residual[offset]);
    f.y[offset] = narrow<T>(sum);
}

}  // namespace lc::cuda
