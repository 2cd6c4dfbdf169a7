// unary on CUDA. Contract and formulas: cpp/ops/unary.h
// Memory bound: forward moves 2 elements, backward 3. The op is chosen at run time, the same way by every thread.
#include "cpp/ops/unary.h"
#include <math.h>
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

// ---- device: the math -------------------------------------------------------------------------------------------------

constexpr double kTwoOverRootPi = 0x1.20dd750429b6dp0, kRootHalf = 0x1.6a09e667f3bcdp-1, kInvRootTwoPi = 0x1.9884533d43651p-2;
constexpr double kTanhLinear = 0x1.9884533d43651p-1, kTanhCubic = 0.044715;      // sqrt(2 / pi)

template <class A> __device__ __forceinline__ A sigmoid(A x) { return A(1) / (A(1) + ::exp(-x)); }

template <class A> __device__ A apply(UnaryOp op, A x, A p, A q) {
    switch (op) {
        case UnaryOp::neg: return -x;
        case UnaryOp::abs: return ::fabs(x);
        case UnaryOp::square: return x * x;
        case UnaryOp::relu: return x < A(0) ? A(0) : x;                      // NaN stays
        case UnaryOp::sign: return x > A(0) ? A(1) : x < A(0) ? A(-1)
                                                              : x;
        case UnaryOp::clamp: {
            const A low = x < p ? p : x;
            return low > q ? q : low;
        }
        case UnaryOp::floor: return ::floor(x);
        case UnaryOp::ceil: return ::ceil(x);
        case UnaryOp::round: return ::rint(x);
        case UnaryOp::reciprocal: return A(1) / x;
        case UnaryOp::sqrt: return ::sqrt(x);
        case UnaryOp::rsqrt: return A(1) / ::sqrt(x);
        case UnaryOp::exp: return ::exp(x);
        case UnaryOp::expm1: return ::expm1(x);
        case UnaryOp::log: return ::log(x);
        case UnaryOp::log1p: return ::log1p(x);
        case UnaryOp::sin: return ::sin(x);
        case UnaryOp::cos: return ::cos(x);
        case UnaryOp::erf: return ::erf(x);
        case UnaryOp::tanh: return ::tanh(x);
        case UnaryOp::sigmoid: return sigmoid(x);
        case UnaryOp::leaky_relu: return x > A(0) ? x : x * p;
        case UnaryOp::elu: return x > A(0) ? x : p * ::expm1(x);
        case UnaryOp::silu: return x * sigmoid(x);
        case UnaryOp::gelu: return x * A(0.5) * ::erfc(-x * A(kRootHalf));
        case UnaryOp::gelu_tanh: return x * sigmoid(A(2) * A(kTanhLinear) * (x + A(kTanhCubic) * x * x * x));
        case UnaryOp::softplus: return x * p > q ? x : ::log1p(::exp(x * p)) / p;
    }
    return x;
}

// s: y where unary_saves_result(op), else x.
template <class A> __device__ A slope(UnaryOp op, A s, A p, A q) {
    switch (op) {
        case UnaryOp::neg: return A(-1);
        case UnaryOp::abs: return A(s > A(0)) - A(s < A(0));
        case UnaryOp::square: return s + s;
        case UnaryOp::relu: return s <= A(0) ? A(0) : A(1);
        case UnaryOp::clamp: return s >= p && s <= q ? A(1) : A(0);
        case UnaryOp::sign:
        case UnaryOp::floor:
        case UnaryOp::ceil:
        case UnaryOp::round: return A(0);
        case UnaryOp::reciprocal: return -(s * s);
        case UnaryOp::sqrt: return A(1) / (s + s);
        case UnaryOp::rsqrt: return A(-0.5) * (s * s * s);
        case UnaryOp::exp: return s;
        case UnaryOp::expm1: return s + A(1);
        case UnaryOp::log: return A(1) / s;
        case UnaryOp::log1p: return A(1) / (A(1) + s);
        case UnaryOp::sin: return ::cos(s);
        case UnaryOp::cos: return -::sin(s);
        case UnaryOp::erf: return A(kTwoOverRootPi) * ::exp(-(s * s));
        case UnaryOp::tanh: return A(1) - s * s;
        case UnaryOp::sigmoid: return s * (A(1) - s);
        case UnaryOp::leaky_relu: return s > A(0) ? A(1) : p;
        case UnaryOp::elu: return s > A(0) ? A(1) : p * ::exp(s);
        case UnaryOp::silu: {
            const A g = sigmoid(s);
            return g * (A(1) + s * (A(1) - g));
        }
        case UnaryOp::gelu: return A(0.5) * ::erfc(-s * A(kRootHalf)) + s * A(kInvRootTwoPi) * ::exp(A(-0.5) * s * s);
        case UnaryOp::gelu_tanh: {
            const A s2 = s * s, g = sigmoid(A(2) * A(kTanhLinear) * s * (A(1) + A(kTanhCubic) * s2));
            return g + g * (A(1) - g) * (A(2) * A(kTanhLinear) * s * (A(1) + A(3) * A(kTanhCubic) * s2));
        }
        case UnaryOp::softplus: return s * p > q ? A(1) : sigmoid(s * p);
    }
    return A(0);
}

template <class T> struct Forward {
    UnaryOp op;
    acc_t<T> p, q;
    __device__ __forceinline__ T operator()(const T (&x)[1]) const { return narrow<T>(apply<acc_t<T>>(op, widen(x[0]), p, q)); }
};
template <class T> struct Backward {
    UnaryOp op;
    acc_t<T> p, q;
    __device__ __forceinline__ T operator()(const T (&x)[2]) const { return narrow<T>(widen(x[0]) * slope<acc_t<T>>(op, widen(x[1]), p, q)); }
};
template <class T> struct Integer {
    UnaryOp op;
    T low, high;
    __device__ __forceinline__ T operator()(const T (&v)[1]) const {
        const T x = v[0];
        switch (op) {
            case UnaryOp::neg: return T(0) - x;
            case UnaryOp::abs: return x < T(0) ? T(0) - x : x;
            case UnaryOp::square: return x * x;
            case UnaryOp::relu: return x > T(0) ? x : T(0);
            case UnaryOp::sign: return T((x > T(0)) - (x < T(0)));
            case UnaryOp::clamp: {
                const T up = x < low ? low : x;
                return up > high ? high : up;
            }
            default: return x;                        // floor, ceil, round
        }
    }
};
template <class T> struct Test {
    TestOp op;
    __device__ __forceinline__ bool operator()(const T (&x)[1]) const {
        if (op == TestOp::isnan) return x[0] != x[0];
        const bool finite = x[0] - x[0] == T(0);
        return op == TestOp::isfinite ? finite : !finite && x[0] == x[0];
    }
};

// A bound as an integer: outside the type's range it does not bind.
template <class T> T bound(double x) {
    constexpr T lowest = std::is_signed_v<T> ? T(T(1) << (8 * sizeof(T) - 1)) : T(0), highest = T(~lowest);
    return x <= double(lowest) ? lowest : x >= double(highest) ? highest
                                                               : T(x);
}

}  // namespace

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T> void unary_forward(const UnaryForward<T>& a) {
    map<T, T, 1>("unary", a.y, {{a.x}}, a.walk, Forward<T>{a.op, acc_t<T>(a.p), acc_t<T>(a.q)});
}
template <class T> void unary_integer_forward(const UnaryForward<T>& a) {
    map<T, T, 1>("unary", a.y, {{a.x}}, a.walk, Integer<T>{a.op, bound<T>(a.p), bound<T>(a.q)});
}
template <class T> void unary_backward(const UnaryBackward<T>& a) {
    map<T, T, 2>("unary_backward", a.dx, {{a.dy, a.saved}}, a.walk, Backward<T>{a.op, acc_t<T>(a.p), acc_t<T>(a.q)});
}
template <class T> void unary_test(const UnaryTest<T>& a) { map<bool, T, 1>("unary_test", a.y, {{a.x}}, a.walk, Test<T>{a.op}); }

template void unary_forward(const UnaryForward<float>&);
template void unary_forward(const UnaryForward<double>&);
template void unary_forward(const UnaryForward<bfloat16>&);
template void unary_forward(const UnaryForward<float16>&);
template void unary_integer_forward(const UnaryForward<int64_t>&);
template void unary_integer_forward(const UnaryForward<int32_t>&);
template void unary_integer_forward(const UnaryForward<uint8_t>&);
template void unary_backward(const UnaryBackward<float>&);
template void unary_backward(const UnaryBackward<double>&);
template void unary_backward(const UnaryBackward<bfloat16>&);
template void unary_backward(const UnaryBackward<float16>&);
template void unary_test(const UnaryTest<float>&);
template void unary_test(const UnaryTest<double>&);

}  // namespace lc::cuda
