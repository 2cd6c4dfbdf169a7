// The activations a product can end with, one register at a time: value, and derivative. Formulas: cpp/ops/linear.h
#pragma once
#include "cpp/ops/matmul.h"
#include "cpp/simd/vec_normal.h"

namespace lc::cpu::LC_ISA {

// Calls run(f) with f(vec<T> z) -> act(z), so that the choice is made once, outside loops.
template <class T, class F> LC_INLINE void with_activation(Activation activation, F&& run) {
    switch (activation) {
        case Activation::none: return run([](vec<T> z) { return z; });
        case Activation::relu: return run([](vec<T> z) { return select(z <= zero<T>(), zero<T>(), z); });
        case Activation::gelu: return run([](vec<T> z) { return gelu(z); });
        case Activation::gelu_tanh: return run([](vec<T> z) { return gelu_tanh(z); });
        case Activation::silu: return run([](vec<T> z) { return silu(z); });
        case Activation::sigmoid: return run([](vec<T> z) { return sigmoid(z); });
        case Activation::tanh: return run([](vec<T> z) { return tanh(z); });
    }
}

// Calls run(f) with f(vec<T> saved) -> act'; saved is y or z, as activation_saves_result() says.
template <class T, class F> LC_INLINE void with_activation_slope(Activation activation, F&& run) {
    switch (activation) {
        case Activation::none: return run([](vec<T>) { return splat(T(1)); });
        case Activation::relu: return run([](vec<T> y) { return select(y <= zero<T>(), zero<T>(), splat(T(1))); });
        case Activation::gelu: return run([](vec<T> z) { return gelu_slope(z); });
        case Activation::gelu_tanh: return run([](vec<T> z) { return gelu_tanh_slope(z); });
        case Activation::silu: return run([](vec<T> z) { return silu_slope(z); });
        case Activation::sigmoid: return run([](vec<T> y) { return y * (splat(T(1)) - y); });
        case Activation::tanh: return run([](vec<T> y) { return fma(-y, y, splat(T(1))); });
    }
}

}  // namespace lc::cpu::LC_ISA
