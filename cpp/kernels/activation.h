// The activations a product can end with, on one register: value, and derivative at z times an incoming gradient.
#pragma once
#include "cpp/ops/matmul.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

// Calls run(f) with f(vec<T> z) -> vec<T>, so that the choice is made once, outside loops.
template <class T, class F> LC_INLINE void with_activation(Activation activation, F&& run) {
    switch (activation) {
        case Activation::relu: return run([](vec<T> z) { return select(z > zero<T>(), z, select(z != z, z, zero<T>())); });
        default: return run([](vec<T> z) { return z; });
    }
}

}  // namespace lc::cpu::LC_ISA
