// unary: y = f(x) element by element.
//
//                 forward                               backward
//   neg           -x                                    -dy
//   abs           |x|                                   dy sign(x)
//   square        x^2                                   2 dy x
//   reciprocal    1 / x                                 -dy y^2
//   sqrt          sqrt(x)                               dy / (2 y)
//   rsqrt         1 / sqrt(x)                           -dy y^3 / 2
//   exp           e^x                                   dy y
//   expm1         e^x - 1                               dy (y + 1)
//   log           ln x                                  dy / x
//   log1p         ln(1 + x)                             dy / (1 + x)
//   sin, cos      sin x, cos x                          dy cos x, -dy sin x
//   erf           2/sqrt(pi) int_0^x e^(-t^2) dt        dy 2/sqrt(pi) e^(-x^2)
//   tanh          tanh x                                dy (1 - y^2)
//   sigmoid       1 / (1 + e^-x)                        dy y (1 - y)
//   relu          x > 0 ? x : 0                         dy [x > 0]
//   leaky_relu    x > 0 ? x : p x                       dy (x > 0 ? 1 : p)
//   elu           x > 0 ? x : p (e^x - 1)               dy (x > 0 ? 1 : p e^x)
//   silu          x sigmoid(x)                          dy s (1 + x (1 - s)), s = sigmoid(x)
//   gelu          x Phi(x), Phi the normal CDF          dy (Phi(x) + x phi(x))
//   gelu_tanh     x (1 + tanh u) / 2                    dy ((1 + tanh u) / 2 + x (1 - tanh^2 u) u' / 2)
//                 u = sqrt(2/pi) (x + 0.044715 x^3)
//   softplus      p x > q ? x : ln(1 + e^(p x)) / p     dy (p x > q ? 1 : sigmoid(p x))
//   clamp         min(max(x, p), q)                     dy [p <= x <= q]
//   sign, floor, ceil, round (to even)                  0
//   logical_not, isnan, isinf, isfinite -> bool         none: raises
//
// p and q are parameters. Integers stay integers in neg abs square relu sign clamp floor ceil round and become float32
// elsewhere. 16-bit floats are computed in float32 and rounded once. NaN stays NaN, also in sign, where PyTorch has 0.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/strided.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class UnaryOp : uint8_t {
    neg,
    abs,
    square,
    relu,
    sign,
    clamp,
    floor,
    ceil,
    round,                      // integers too
    reciprocal,
    sqrt,
    rsqrt,
    exp,
    expm1,
    log,
    log1p,
    sin,
    cos,
    erf,
    tanh,
    sigmoid,
    leaky_relu,
    elu,
    silu,
    gelu,
    gelu_tanh,
    softplus,
};
enum class TestOp : uint8_t { isnan,
                              isinf,
                              isfinite };

template <class T> struct UnaryForward {
    UnaryOp op;
    double p, q;
    const T* x;
    T* y;
    Strided<2> walk;                                  // y, x
};
template <class T> struct UnaryBackward {
    UnaryOp op;
    double p, q;
    const T *dy, *saved;                              // saved: y where unary_saves_result(op), else x
    T* dx;
    Strided<3> walk;                                  // dx, dy, saved
};
template <class T> struct UnaryTest {                 // T: float double
    TestOp op;
    const T* x;
    bool* y;
    Strided<2> walk;                                  // y, x
};

constexpr bool unary_saves_result(UnaryOp op) {
    return op == UnaryOp::reciprocal || op == UnaryOp::sqrt || op == UnaryOp::rsqrt || op == UnaryOp::exp ||
        op == UnaryOp::expm1 || op == UnaryOp::tanh || op == UnaryOp::sigmoid || op == UnaryOp::relu;
}

}  // namespace lc
LC_CPU_KERNEL(unary_forward, UnaryForward)
LC_CPU_KERNEL(unary_integer_forward, UnaryForward)
LC_CPU_KERNEL(unary_backward, UnaryBackward)
LC_CPU_KERNEL(unary_test, UnaryTest)
LC_CUDA_KERNEL(unary_forward, UnaryForward)
LC_CUDA_KERNEL(unary_integer_forward, UnaryForward)
LC_CUDA_KERNEL(unary_backward, UnaryBackward)
LC_CUDA_KERNEL(unary_test, UnaryTest)
namespace lc {

LC_API Tensor neg(const Tensor& x);
LC_API Tensor abs(const Tensor& x);
LC_API Tensor square(const Tensor& x);
LC_API Tensor reciprocal(const Tensor& x);
LC_API Tensor sqrt(const Tensor& x);
LC_API Tensor rsqrt(const Tensor& x);
LC_API Tensor exp(const Tensor& x);
LC_API Tensor expm1(const Tensor& x);
LC_API Tensor log(const Tensor& x);
LC_API Tensor log1p(const Tensor& x);
LC_API Tensor sin(const Tensor& x);
LC_API Tensor cos(const Tensor& x);
LC_API Tensor erf(const Tensor& x);
LC_API Tensor tanh(const Tensor& x);
LC_API Tensor sigmoid(const Tensor& x);
LC_API Tensor sign(const Tensor& x);
LC_API Tensor floor(const Tensor& x);
LC_API Tensor ceil(const Tensor& x);
LC_API Tensor round(const Tensor& x);
LC_API Tensor relu(const Tensor& x);
LC_API Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
LC_API Tensor elu(const Tensor& x, double alpha = 1.0);
LC_API Tensor silu(const Tensor& x);
LC_API Tensor gelu(const Tensor& x, bool tanh_approximation = false);
LC_API Tensor softplus(const Tensor& x, double beta = 1.0, double threshold = 20.0);
LC_API Tensor clamp(const Tensor& x, double min, double max);                     // infinities: no bound

LC_API Tensor logical_not(const Tensor& x);
LC_API Tensor isnan(const Tensor& x);
LC_API Tensor isinf(const Tensor& x);
LC_API Tensor isfinite(const Tensor& x);

LC_API void clamp_(const Tensor& x, double min, double max);

}  // namespace lc
