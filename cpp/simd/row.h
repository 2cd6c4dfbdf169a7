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
// The same, a register at a time.
template <class T> struct RunningExtremes {
    vec<T> low = splat(T(__builtin_inf())), high = -low;
    template <class K> LC_INLINE void add(vec<T> x, K k) {
        const vec<T> lowest = splat(T(-__builtin_inf()));
        high = max(first(x, k, lowest), high);
        low = min(first(x, k, -lowest), low);
    }
    LC_INLINE Extremes<T> folded() const {
        return {fold_halves(low, [](auto x, auto y) { return x < y ? x : y; }), fold_halves(high, [](auto x, auto y) { return x > y ? x : y; })};
    }
};
template <class T> LC_INLINE Extremes<T> extremes_row(const T* x, int64_t n) {
    constexpr int w = lanes<T>;
    RunningExtremes<T> a, b;
    int64_t i = 0;
    for (; i + 2 * w <= n; i += 2 * w) {
        a.add(load(x + i), full);
        b.add(load(x + i + w), full);
    }
    if (i + w <= n) a.add(load(x + i), full), i += w;
    if (i < n) b.add(load(x + i, int(n - i)), int(n - i));
    a.low = min(a.low, b.low), a.high = max(a.high, b.high);
    return a.folded();
}

// e^x within 3.5 u, where every lane is known to be within +-kExpRange, or NaN: a softmax's own x - max is worth |x| u. A
// quarter less to do than exp.
LC_INLINE vec<float> exp_in_range(vec<float> x) {
    constexpr float c[] = {0x1.fffdfcp-2f, 0x1.5557aep-3f, 0x1.572a06p-5f, 0x1.10627ap-7f};      // of (e^r - 1 - r) / r^2
    detail::vec_i shift;
    const vec<float> r = detail::reduce(x, shift), r2 = r * r;
    const vec<float> q = fma(r2, fma(r, splat(c[3]), splat(c[2])), fma(r, splat(c[1]), splat(c[0])));
    return (splat(1.0f) + fma(r2, q, r)) * detail::from_bits(shift + 0x3f800000);                // a product: NaN stays NaN
}
LC_INLINE vec<double> exp_in_range(vec<double> x) { return exp(x); }

// The same for any x <= 0, where another term is 1: results below 1.2e-38 are zero.
LC_INLINE vec<float> exp_of_difference(vec<float> x) {
    const vec<float> lowest = splat(-detail::kExpRange);
    return select(x < lowest, zero<float>(), exp_in_range(max(lowest, x)));
}
LC_INLINE vec<double> exp_of_difference(vec<double> x) { return exp(x); }

}  // namespace lc::cpu::LC_ISA
