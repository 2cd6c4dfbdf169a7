// scan on CPU: lines along n are independent, a line is one chain of additions. Contract: cpp/ops/scan.h
// Bound by the latency of that chain where tail is 1, else by memory: 2 * lead * n * tail elements.
#include "cpp/ops/scan.h"
#include "cpp/core/parallel.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kStrip = 256;                       // lines that advance together: their running values stay in L1

template <class T> struct wider { using type = acc_t<T>; };
template <> struct wider<float> { using type = double; };
template <class T> using wider_t = typename wider<T>::type;

template <class T> LC_INLINE wider_t<T> widen(T x) {
    if constexpr (std::is_same_v<T, int64_t>) return x;
    else return wider_t<T>(to_float(x));
}
template <class T> LC_INLINE T narrow(wider_t<T> x) {
    if constexpr (std::is_same_v<T, int64_t>) return x;
    else return from_float<T>(acc_t<T>(x));
}

// Integers wrap around.
template <class A> LC_INLINE A plus(A a, A b) {
    if constexpr (std::is_same_v<A, int64_t>) return int64_t(uint64_t(a) + uint64_t(b));
    else return a + b;
}
template <class A> LC_INLINE A times(A a, A b) {
    if constexpr (std::is_same_v<A, int64_t>) return int64_t(uint64_t(a) * uint64_t(b));
    else return a * b;
}

// f(first element, lines) for strips of up to kStrip neighbouring lines
template <class F> void each_strip(const ScanShape& s, F f) {
    if (s.lead * s.n * s.tail == 0) return;
    const int64_t strips = (s.tail + kStrip - 1) / kStrip, width = s.tail < kStrip ? s.tail : kStrip;
    const int64_t each = s.n * width, grain = each >= 16 * 1024 ? 1 : 16 * 1024 / each;
    parallel_ranges(s.lead * strips, grain, 2 * s.lead * s.n * s.tail, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t column = i % strips * kStrip;
            f(i / strips * s.n * s.tail + column, s.tail - column < kStrip ? s.tail - column : kStrip);
        }
    });
}

template <class T> void line_of_products_backward(const T* dy, const T* x, const T* y, T* dx, int64_t n, int64_t step) {
    using A = wider_t<T>;
    int64_t zero = 0;                                 // the first x that is 0: y is 0 from there on
    while (zero < n && widen(x[zero * step]) != A(0)) ++zero;
    for (int64_t i = n - 1; i > zero; --i) dx[i * step] = narrow<T>(0);
    if (zero < n) {                                   // only here do later terms lack the factor 0
        A rest = widen(dy[zero * step]), product = 1;
        for (int64_t j = zero + 1; j < n; ++j) {
            product *= widen(x[j * step]);
            rest += widen(dy[j * step]) * product;
        }
        dx[zero * step] = narrow<T>(zero > 0 ? rest * widen(y[(zero - 1) * step]) : rest);
    }
    A sum = 0;
    for (int64_t i = zero - 1; i >= 0; --i) {
        sum += widen(dy[i * step]) * widen(y[i * step]);
        dx[i * step] = narrow<T>(sum / widen(x[i * step]));
    }
}

}  // namespace

template <class T> void scan_forward(const ScanForward<T>& a) {
    using A = wider_t<T>;
    const ScanShape s = a.shape;
    each_strip(s, [&](int64_t first, int64_t lines) {
        A running[kStrip];
        for (int64_t j = 0; j < lines; ++j) running[j] = s.product ? A(1) : A(0);
        for (int64_t i = 0; i < s.n; ++i) {
            const T* x = a.x + first + i * s.tail;
            T* y = a.y + first + i * s.tail;
            if (s.product)
                for (int64_t j = 0; j < lines; ++j) y[j] = narrow<T>(running[j] = times(running[j], widen(x[j])));
            else
                for (int64_t j = 0; j < lines; ++j) y[j] = narrow<T>(running[j] = plus(running[j], widen(x[j])));
        }
    });
}

template <class T> void scan_backward(const ScanBackward<T>& a) {
    using A = wider_t<T>;
    const ScanShape s = a.shape;
    each_strip(s, [&](int64_t first, int64_t lines) {
        if (s.product) {
            for (int64_t j = first; j < first + lines; ++j) line_of_products_backward(a.dy + j, a.x + j, a.y + j, a.dx + j, s.n, s.tail);
            return;
        }
        A running[kStrip];
        for (int64_t j = 0; j < lines; ++j) running[j] = 0;
        for (int64_t i = s.n - 1; i >= 0; --i) {
            const T* dy = a.dy + first + i * s.tail;
            T* dx = a.dx + first + i * s.tail;
            for (int64_t j = 0; j < lines; ++j) dx[j] = narrow<T>(running[j] = plus(running[j], widen(dy[j])));
        }
    });
}

template void scan_forward(const ScanForward<float>&);
template void scan_forward(const ScanForward<double>&);
template void scan_forward(const ScanForward<bfloat16>&);
template void scan_forward(const ScanForward<float16>&);
template void scan_forward(const ScanForward<int64_t>&);
template void scan_backward(const ScanBackward<float>&);
template void scan_backward(const ScanBackward<double>&);
template void scan_backward(const ScanBackward<bfloat16>&);
template void scan_backward(const ScanBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
