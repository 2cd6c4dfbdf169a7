// Functions of long chains, F::second(x, F::first(x)), over many registers: both steps in loops of their own.
#pragma once
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {

// put(i, k, f(x[i ..])) in order. x is read again after earlier puts: they may overwrite it. (8 or 32 registers at a time: no faster.)
template <class Steps, class S, class Put> LC_INLINE void in_two_steps(int64_t n, const S* x, Put&& put) {
    constexpr int w = lanes<float>, together = 16;
    decltype(Steps::first(vec<float>{})) between[together];
    int64_t i = 0;
    while (i + w <= n) {
        const int64_t count = n - i < together * w ? (n - i) / w : together;
        for (int64_t j = 0; j < count; ++j) between[j] = Steps::first(load(x + i + j * w));
        for (int64_t j = 0; j < count; ++j, i += w) put(i, full, Steps::second(load(x + i), between[j]));
    }
    if (i < n) put(i, int(n - i), both_steps<Steps>(load(x + i, int(n - i))));
}

}  // namespace lc::cpu::LC_ISA
