// What a row of a softmax, or of a reduction, is walked with: folds by halves, extremes, an exp without its range check.
#pragma once
#include <utility>
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {

// f of a register's halves, of their halves, and so on: fold()'s tree, in registers. f takes vectors of any width, then numbers.
template <class V, class F, size_t... i> LC_INLINE auto fold_halves(V v, F f, std::index_sequence<i...>) {
    if constexpr (sizeof...(i) == 1) return f(v[0], v[1]);
    else return fold_halves(f(__builtin_shufflevector(v, v, int(i)...), __builtin_shufflevector(v, v, int(i + sizeof...(i))...)), f, std::make_index_sequence<sizeof...(i) / 2>());
}
template <class T, class F> LC_INLINE T fold_halves(vec<T> a, F f) { return fold_halves(a.v, f, std::make_index_sequence<size_t(lanes<T> / 2)>()); }

// The smallest and the largest of x[0..n), n > 0, NaN ignored; +inf and -inf where there is nothing else.
template <class T> struct Extremes {
    T low, high;
};
template <class T> LC_INLINE Extremes<T> extremes_row(const T* x, int64_t n) {
    constexpr int w = lanes<T>;
    const vec<T> lowest = splat(T(-__builtin_inf()));
    vec<T> a = lowest, b = a, p = -lowest, q = p;
    int64_t i = 0;
    for (; i + 2 * w <= n; i += 2 * w) {
        const vec<T> u = load(x + i), v = load(x + i + w);
        a = max(u, a), p = min(u, p);
        b = max(v, b), q = min(v, q);
    }
    for (; i < n; i += w) {
        const bool whole = n - i >= w;
        const int k = whole ? w : int(n - i);
        const vec<T> u = whole ? load(x + i) : load(x + i, k);
        a = max(whole ? u : first(u, k, lowest), a);
        p = min(whole ? u : first(u, k, -lowest), p);
    }
    return {fold_halves(min(p, q), [](auto x, auto y) { return x < y ? x : y; }), fold_halves(max(a, b), [](auto x, auto y) { return x > y ? x : y; })};
}

// exp(x) where every lane is known to be within +-kExpRange, or NaN.
LC_INLINE vec<float> exp_in_range(vec<float> x) {
    detail::vec_i shift;
    const vec<float> y = detail::exp_shifted(x, shift);
    return y * detail::from_bits(shift + 0x3f800000);             // a product: NaN stays NaN
}
LC_INLINE vec<double> exp_in_range(vec<double> x) { return exp(x); }

}  // namespace lc::cpu::LC_ISA
