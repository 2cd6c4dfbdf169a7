// binary on CUDA. Contract and formulas: cpp/ops/binary.h
// Memory bound: forward moves 3 elements, backward 5. The op is chosen at run time, the same way by every thread.
#include "cpp/ops/binary.h"
#include <math.h>
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

// ---- device: the math -------------------------------------------------------------------------------------------------

// As Python: the remainder has the sign of the divisor.
template <class A> __device__ A remainder_of(A a, A b) {
    A r;
    if constexpr (std::is_integral_v<A>) {
        if (std::is_signed_v<A> && b == A(-1)) return A(0);
        r = A(a % b);
    } else {
        r = ::fmod(a, b);
    }
    return r != A(0) && (r < A(0)) != (b < A(0)) ? A(r + b) : r;
}
template <class A> __device__ A floor_quotient(A a, A b) {
    if constexpr (std::is_integral_v<A>) {
        if (std::is_signed_v<A> && b == A(-1)) return A(A(0) - a);
        const A q = A(a / b);
        return a % b != A(0) && (a < A(0)) != (b < A(0)) ? A(q - 1) : q;
    } else {
        if (b == A(0)) return a / b;
        const A r = ::fmod(a, b), q = (a - r) / b;    // a - r is a multiple of b up to rounding
        const A whole = r != A(0) && (r < A(0)) != (b < A(0)) ? q - A(1) : q;
        const A low = ::floor(whole);
        return low + A(whole - low > A(0.5));
    }
}
template <class A> __device__ A power(A a, A b) {
    if constexpr (std::is_integral_v<A>) {
        A y = 1;
        for (; b > A(0); b = A(b >> 1), a = A(a * a))
            if (b & 1) y = A(y * a);
        return y;
    } else {
        return ::pow(a, b);
    }
}

template <class A> __device__ A combine(BinaryOp op, A a, A b) {
    switch (op) {
        case BinaryOp::add: return A(a + b);
        case BinaryOp::sub: return A(a - b);
        case BinaryOp::mul: return A(a * b);
        case BinaryOp::pow: return power(a, b);
        case BinaryOp::maximum: return a > b || a != a ? a : b;
        case BinaryOp::minimum: return a < b || a != a ? a : b;
        case BinaryOp::remainder: return remainder_of(a, b);
        case BinaryOp::floor_divide: return floor_quotient(a, b);
        default: break;
    }
    if constexpr (std::is_integral_v<A>) {
        switch (op) {
            case BinaryOp::div:
            case BinaryOp::trunc_divide: return std::is_signed_v<A> && b == A(-1) ? A(A(0) - a) : A(a / b);
            case BinaryOp::bitwise_and: return A(a & b);
            case BinaryOp::bitwise_or: return A(a | b);
            default: return A(a ^ b);
        }
    } else {
        return op == BinaryOp::div ? a / b : ::trunc(a / b);
    }
}

template <class A> struct Pair {
    A a, b;
};
template <class A> __device__ Pair<A> gradients(BinaryOp op, A dy, A a, A b) {
    switch (op) {
        case BinaryOp::mul: return {dy * b, dy * a};
        case BinaryOp::div: {
            const A da = dy / b;
            return {da, -(da * (a / b))};
        }
        case BinaryOp::pow:
            return {dy * (b == A(0) ? A(0) : b * ::pow(a, b - A(1))), dy * (a == A(0) && b >= A(0) ? A(0) : ::pow(a, b) * ::log(a))};
        case BinaryOp::maximum:
        case BinaryOp::minimum: {
            const A shared = a == b ? dy * A(0.5) : dy;
            const bool max = op == BinaryOp::maximum;
            return {(max ? a < b : a > b) ? A(0) : shared, (max ? a > b : a < b) ? A(0) : shared};
        }
        default: return {dy, -(dy * floor_quotient(a, b))};                  // remainder
    }
}

template <class T> struct Forward {
    BinaryOp op;
    __device__ __forceinline__ T operator()(const T (&x)[2]) const {
        if constexpr (std::is_integral_v<T>) return combine<T>(op, x[0], x[1]);
        else return narrow<T>(combine<acc_t<T>>(op, widen(x[0]), widen(x[1])));
    }
};
template <class T> struct Compare {
    CompareOp op;
    __device__ __forceinline__ bool operator()(const T (&x)[2]) const {
        switch (op) {
            case CompareOp::eq: return x[0] == x[1];
            case CompareOp::ne: return x[0] != x[1];
            case CompareOp::lt: return x[0] < x[1];
            case CompareOp::le: return x[0] <= x[1];
            case CompareOp::gt: return x[0] > x[1];
            default: return x[0] >= x[1];
        }
    }
};

template <class T> __global__ __launch_bounds__(kMapThreads) void backward_kernel(BinaryBackward<T> p) {
    const int64_t i = int64_t(blockIdx.x) * kMapThreads + threadIdx.x;
    if (i >= p.walk.numel) return;
    const Offsets<4> o = locate(p.walk, i);
    const Pair<acc_t<T>> g = gradients<acc_t<T>>(p.op, widen(p.dy[o.at[1]]), widen(p.a[o.at[2]]), widen(p.b[o.at[3]]));
    if (p.da) p.da[o.at[0]] = narrow<T>(g.a);
    if (p.db) p.db[o.at[0]] = narrow<T>(g.b);
}

}  // namespace

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T> void binary_forward(const BinaryForward<T>& a) { map<T, T, 2>("binary", a.y, {{a.a, a.b}}, a.walk, Forward<T>{a.op}); }
template <class T> void compare_forward(const CompareForward<T>& a) { map<bool, T, 2>("compare", a.y, {{a.a, a.b}}, a.walk, Compare<T>{a.op}); }
template <class T> void binary_backward(const BinaryBackward<T>& a) {
    if (a.walk.numel > 0) launch("binary_backward", backward_kernel<T>, thread_each(a.walk.numel, kMapThreads), a);
}

template void binary_forward(const BinaryForward<float>&);
template void binary_forward(const BinaryForward<double>&);
template void binary_forward(const BinaryForward<bfloat16>&);
template void binary_forward(const BinaryForward<float16>&);
template void binary_forward(const BinaryForward<int64_t>&);
template void binary_forward(const BinaryForward<int32_t>&);
template void binary_forward(const BinaryForward<uint8_t>&);
template void binary_backward(const BinaryBackward<float>&);
template void binary_backward(const BinaryBackward<double>&);
template void binary_backward(const BinaryBackward<bfloat16>&);
template void binary_backward(const BinaryBackward<float16>&);
template void compare_forward(const CompareForward<float>&);
template void compare_forward(const CompareForward<double>&);
template void compare_forward(const CompareForward<int64_t>&);
template void compare_forward(const CompareForward<int32_t>&);
template void compare_forward(const CompareForward<uint8_t>&);

}  // namespace lc::cuda
