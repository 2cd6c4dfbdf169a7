// linear: a product with a weight stored [out, in], its bias and its activation, or a residual, in one pass.
//
//   forward    z[i, j]  = sum_k x[i, k] w[j, k] + b[j]        y = act(z)
//   backward   dz       = dy act'(z)
//              dx[i, k] = sum_j dz[i, j] w[j, k]   dw[j, k] = sum_i dz[i, j] x[i, k]   db[j] = sum_i dz[i, j]
//
// feed_forward: two of them, h = act(x w1' + b1), y = h w2' + b2 + r. On CUDA dz = (dy w2) act'(z) is one product: dh, at the
// hidden width, is neither written nor read. Elsewhere it is made of linear.
//
// x: [..., in], w: [out, in], b: [out] or undefined; any strides. Sums as in matmul; db adds strips of kLinearStrip rows
// in order. Saved: x, w and, with an activation, y (relu, sigmoid, tanh) or z.
//
//   act          relu        gelu        gelu_tanh                             silu          sigmoid      tanh
//   act(z)       max(z, 0)   z Phi(z)    z s(2u), u = sqrt(2/pi) (z + a z^3)   z s(z)        s(z)         tanh z
//   s(z) = 1 / (1 + exp(-z)), a = 0.044715
#pragma once
#include <string>
#include "cpp/ops/matmul.h"

namespace lc {

constexpr int64_t kLinearStrip = 64;

// dz and db from dy; rows of dy, saved and dz are contiguous.
template <class T> struct LinearBackward {
    const T *dy, *saved;                              // saved: null without activation
    T *dz, *db;                                       // dz: null without activation; db: null if not wanted
    int64_t rows, cols;
    Activation activation;
};

// What backward needs of an activation: its result, or the sum before it.
constexpr bool activation_saves_result(Activation a) {
    return a == Activation::relu || a == Activation::sigmoid || a == Activation::tanh;
}

}  // namespace lc
LC_CPU_KERNEL(linear_backward, LinearBackward)
LC_CUDA_KERNEL(linear_backward, LinearBackward)
namespace lc {

LC_API Activation parse_activation(const char* op, const std::string& name);      // "none", "relu", ...; ValueError
// residual: y plus it, without activation; on CUDA in the same pass where it has y's type and sizes.
LC_API Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b = {}, Activation activation = Activation::none, const Tensor& residual = {});
LC_API Tensor feed_forward(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, Activation activation, const Tensor& residual = {});

inline int64_t linear_flops(int64_t rows, int64_t in, int64_t out) { return matmul_flops(1, rows, out, in); }

}  // namespace lc
