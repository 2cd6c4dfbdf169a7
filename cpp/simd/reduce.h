// Reductions over a row. Four accumulators hide the latency of an addition; which element goes into which one depends
// on n alone, so the bits do not depend on where the row lies or who computes it.
//
//   const float s = sum_row<float>(n, [&](int64_t i, auto k) { return load(x + i, k); });
//
// f gives the terms of lanes i.. ; on the tail the lanes past the end must add nothing: zero for a sum (as load gives),
// and for max_row they are left out here.
#pragma once
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

template <class T, class F> LC_INLINE T sum_row(int64_t n, F&& f) {
    constexpr int w = lanes<T>;
    vec<T> a = zero<T>(), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * w <= n; i += 4 * w) {
        a = a + f(i, full);
        b = b + f(i + w, full);
        c = c + f(i + 2 * w, full);
        d = d + f(i + 3 * w, full);
    }
    for (; i + w <= n; i += w) a = a + f(i, full);
    if (i < n) b = b + f(i, int(n - i));
    return sum((a + b) + (c + d));
}

// Two sums in one walk: f(i, k, s, t) adds its terms to s and t.
template <class T> struct Sums {
    T first, second;
};
template <class T, class F> LC_INLINE Sums<T> sum_row2(int64_t n, F&& f) {
    constexpr int w = lanes<T>;
    vec<T> a = zero<T>(), b = a, c = a, d = a, p = a, q = a, r = a, s = a;
    int64_t i = 0;
    for (; i + 4 * w <= n; i += 4 * w) {
        f(i, full, a, p);
        f(i + w, full, b, q);
        f(i + 2 * w, full, c, r);
        f(i + 3 * w, full, d, s);
    }
    for (; i + w <= n; i += w) f(i, full, a, p);
    if (i < n) f(i, int(n - i), b, q);
    return {sum((a + b) + (c + d)), sum((p + q) + (r + s))};
}

// The largest of x[0..n), n > 0. NaN is ignored: what follows a maximum here is a sum that carries it.
template <class T> LC_INLINE T max_row(const T* x, int64_t n) {
    constexpr int w = lanes<T>;
    const vec<T> lowest = splat(T(-__builtin_inf()));
    vec<T> a = lowest, b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * w <= n; i += 4 * w) {
        a = max(load(x + i), a);
        b = max(load(x + i + w), b);
        c = max(load(x + i + 2 * w), c);
        d = max(load(x + i + 3 * w), d);
    }
    for (; i + w <= n; i += w) a = max(load(x + i), a);
    if (i < n) b = max(first(load(x + i, int(n - i)), int(n - i), lowest), b);
    return max_of(max(max(a, b), max(c, d)));
}

// A running sum per lane, for columns that are walked down: sum += x, and low gathers what rounding loses (Kahan), so
// that the error does not grow with the number of terms.
template <class T> LC_INLINE void add_compensated(T* sum, T* low, vec<T> x) {
    const vec<T> old = load(sum), y = x - load(low), t = old + y, rest = (t - old) - y;
    store(low, select(rest == rest, rest, zero<T>()));            // an infinite sum stays one
    store(sum, t);
}

// ---- mean and variance -------------------------------------------------------------------------------------------------
//
// The mean is base + rest: base is the mean of the first elements, rest what a pass over all finds missing, so that
// x - base - rest is as good at mean/std = 1e4 as at 0. A second pass is made where the first was too far off to square.
// Sums start from the first element: a constant row has variance 0.

template <class A> struct Moments {
    A base, rest, variance;
};        // variance: divided by n

// beside(i, k) is called once for every register, whose work overlaps with the reading here.
struct Nothing {
    template <class K> LC_INLINE void operator()(int64_t, K) const {}
};
template <class T, class Beside = Nothing, class A = acc_t<T>> LC_INLINE Moments<A> moments(const T* x, int64_t n, Beside&& beside = {}) {
    const A start = A(to_float(x[0]));
    const vec<A> vstart = splat(start);
    const auto mean_of = [&](int64_t count) {
        return start + sum_row<A>(count, [&](int64_t i, auto k) { return first(load(x + i, k) - vstart, k, zero<A>()); }) / A(count);
    };
    const auto about = [&](A base, auto&& beside) -> Moments<A> {
        const vec<A> vbase = splat(base);
        const Sums<A> s = sum_row2<A>(n, [&](int64_t i, auto k, vec<A>& deviations, vec<A>& squares) {
            const vec<A> d = first(load(x + i, k) - vbase, k, zero<A>());
            deviations = deviations + d;
            squares = fma(d, d, squares);
            beside(i, k);
        });
        const A rest = s.first / A(n);
        return {base, rest, s.second / A(n) - rest * rest};
    };
    Moments<A> m = about(mean_of(n < 128 ? n : 128), beside);
    const bool finite = m.rest - m.rest == A(0);
    if (!finite || m.rest * m.rest > m.variance / 4)                             // the first elements were unlike the others
        m = about(finite ? m.base + m.rest : mean_of(n), Nothing());
    if (m.variance < 0) m.variance = 0;
    return m;
}

template <class A> LC_INLINE A rsqrt_of(A x) { return A(1) / sqrt(splat(x))[0]; }

// ---- strips: sums over the rows of a matrix ----------------------------------------------------------------------------
//
// The rows are split into parts by their number alone; each part adds its rows into a strip of its own, and the strips
// are added in order. At least 32 rows pay for clearing and adding a strip; 64 parts feed more threads than most have.

struct Strips {
    int64_t rows, parts;                              // rows of a part (the last one may have fewer), number of parts
};
LC_INLINE Strips split_rows(int64_t rows) {
    const int64_t each = rows <= 32 * 64 ? 32 : (rows + 63) / 64;
    return {each, (rows + each - 1) / each};
}

// out[c] = sum_p strips[p * cols + c]
template <class A, class T> LC_INLINE void add_strips(const A* strips, int64_t parts, int64_t cols, T* out) {
    each_vec<A>(cols, [&](int64_t c, auto k) {
        vec<A> total = zero<A>();
        for (int64_t p = 0; p < parts; ++p) total = total + load(strips + p * cols + c, k);
        store(out + c, total, k);
    });
}

}  // namespace lc::cpu::LC_ISA
