// The activations a product can end with, over rows: value, and derivative. Formulas: cpp/ops/linear.h
#pragma once
#include "cpp/ops/matmul.h"
#include "cpp/simd/two_steps.h"
#include "cpp/simd/vec_normal.h"

namespace lc::cpu::LC_ISA {

namespace detail {

// A function of one register; and its two steps, which float takes where rows are long enough to gain by them.
template <class T, class Of> struct RowFunction {
    Of of;
    static constexpr bool two_steps = false;
    template <class S, class Put> LC_INLINE void each(int64_t n, const S* x, Put&& put) const {
        each_vec<T>(n, [&](int64_t i, auto k) { put(i, k, of(load(x + i, k))); });
    }
};
template <class Steps> struct RowFunctionInSteps {
    static constexpr bool two_steps = true;
    template <class S, class Put> LC_INLINE void each(int64_t n, const S* x, Put&& put) const { in_two_steps<Steps>(n, x, put); }
};
template <class T, class Steps, class Of> LC_INLINE auto row_function(Of of) {
    if constexpr (sizeof(T) == 4) return RowFunctionInSteps<Steps>{};
    else return RowFunction<T, Of>{of};
}
template <class T, class Of> LC_INLINE auto row_function(Of of) { return RowFunction<T, Of>{of}; }

}  // namespace detail

// Calls run(f), f.each(n, z, put) putting act(z[i ..]) for all of a row, so that the choice is made once, outside loops.
template <class T, class F> LC_INLINE void with_activation(Activation activation, F&& run) {
    using detail::row_function;
    switch (activation) {
        case Activation::none: return run(row_function<T>([](vec<T> z) { return z; }));
        case Activation::relu: return run(row_function<T>([](vec<T> z) { return select(z <= zero<T>(), zero<T>(), z); }));
        case Activation::gelu: return run(row_function<T, GeluSteps>([](vec<T> z) { return gelu(z); }));
        case Activation::gelu_tanh: return run(row_function<T, GeluTanhSteps>([](vec<T> z) { return gelu_tanh(z); }));
        case Activation::silu: return run(row_function<T, SiluSteps>([](vec<T> z) { return silu(z); }));
        case Activation::sigmoid: return run(row_function<T, SigmoidSteps>([](vec<T> z) { return sigmoid(z); }));
        case Activation::tanh: return run(row_function<T, TanhSteps>([](vec<T> z) { return tanh(z); }));
    }
}

// The same with act' of what was saved: y or z, as activation_saves_result() says.
template <class T, class F> LC_INLINE void with_activation_slope(Activation activation, F&& run) {
    using detail::row_function;
    switch (activation) {
        case Activation::none: return run(row_function<T>([](vec<T>) { return splat(T(1)); }));
        case Activation::relu: return run(row_function<T>([](vec<T> y) { return select(y <= zero<T>(), zero<T>(), splat(T(1))); }));
        case Activation::gelu: return run(row_function<T, GeluSlopeSteps>([](vec<T> z) { return gelu_slope(z); }));
        case Activation::gelu_tanh: return run(row_function<T, GeluTanhSlopeSteps>([](vec<T> z) { return gelu_tanh_slope(z); }));
        case Activation::silu: return run(row_function<T, SiluSlopeSteps>([](vec<T> z) { return silu_slope(z); }));
        case Activation::sigmoid: return run(row_function<T>([](vec<T> y) { return y * (splat(T(1)) - y); }));
        case Activation::tanh: return run(row_function<T>([](vec<T> y) { return fma(-y, y, splat(T(1))); }));
    }
}

}  // namespace lc::cpu::LC_ISA
