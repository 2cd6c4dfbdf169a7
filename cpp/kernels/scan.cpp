// scan on CPU: lines along n are independent, a line is one chain of additions. Contract: cpp/ops/scan.h
// Memory bound, 2 * lead * n * tail elements: a lane is a line; where tail is 1, blocks are transposed there and back.
#include "cpp/ops/scan.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/doubles.h"
#include "cpp/simd/transpose.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kStrip = 256;                       // neighbouring lines that advance together: their running values stay in L1
constexpr int kRows = lanes<float> > 8 ? lanes<float> : 8;   // lines end to end advance together too, to hide the latency of an addition

template <class T> using wider_t = std::conditional_t<std::is_same_v<T, float>, double, acc_t<T>>;

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

// f(first element, lines, step between lines) for the groups of lines that advance together
template <class F> void each_group(const ScanShape& s, F f) {
    if (s.lead * s.n * s.tail == 0) return;
    const int64_t work = 2 * s.lead * s.n * s.tail;
    if (s.tail == 1) {
        const int64_t groups = (s.lead + kRows - 1) / kRows, each = s.n * kRows;
        parallel_ranges(groups, each >= 16 * 1024 ? 1 : 16 * 1024 / each, work, [&](int64_t begin, int64_t end) {
            for (int64_t l = begin * kRows; l < end * kRows && l < s.lead; l += kRows)
                f(l * s.n, s.lead - l < kRows ? s.lead - l : kRows, s.n);
        });
        return;
    }
    const int64_t strips = (s.tail + kStrip - 1) / kStrip, each = s.n * (s.tail < kStrip ? s.tail : kStrip);
    parallel_ranges(s.lead * strips, each >= 16 * 1024 ? 1 : 16 * 1024 / each, work, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t column = i % strips * kStrip;
            f(i / strips * s.n * s.tail + column, s.tail - column < kStrip ? s.tail - column : kStrip, 1);
        }
    });
}

// Running values of `lines` lines of n elements; step: between a line's elements, forwards or backwards.
template <class T, class Op> void run(const T* x, T* y, int64_t n, int64_t step, int64_t lines, int64_t line, wider_t<T> start, Op op) {
    using A = wider_t<T>;
    if (line != 1 && lines == kRows) {
        A running[kRows];
        for (int j = 0; j < kRows; ++j) running[j] = start;
        for (int64_t i = 0; i < n; ++i)
            for (int j = 0; j < kRows; ++j) y[i * step + j * line] = narrow<T>(running[j] = op(running[j], widen(x[i * step + j * line])));
    } else if (line != 1) {
        for (int64_t j = 0; j < lines; ++j) {
            A running = start;
            for (int64_t i = 0; i < n; ++i) y[i * step + j * line] = narrow<T>(running = op(running, widen(x[i * step + j * line])));
        }
    } else {
        A running[kStrip];
        for (int64_t j = 0; j < lines; ++j) running[j] = start;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < lines; ++j) y[i * step + j] = narrow<T>(running[j] = op(running[j], widen(x[i * step + j])));
    }
}

template <class Op> LC_INLINE Doubles combined(Doubles a, Doubles b, Op op) { return {op(a.low, b.low), op(a.high, b.high)}; }

// A register's lanes of lines, end to end, step 1 or -1.
template <int step, class Op> LC_INLINE void run_across(const float* x, float* y, int64_t n, int64_t line, double start, Op op) {
    constexpr int w = lanes<float>;
    Doubles running{splat(start), splat(start)};
    int64_t i = 0;
    for (; i + w <= n; i += w) {
        const int64_t first = step > 0 ? i : -i - (w - 1);
        vec<float> r[w];
        load_transposed(x + first, line, r);
#pragma GCC unroll 16
        for (int d = 0; d < w; ++d) {
            vec<float>& v = r[step > 0 ? d : w - 1 - d];
            v = floats(running = combined(running, doubles(v), op));
        }
        transpose(r);
#pragma GCC unroll 16
        for (int l = 0; l < w; ++l) store(y + first + l * line, r[l]);
    }
    double rest[w];
    store(rest, running.low);
    store(rest + w / 2, running.high);
    for (; i < n; ++i)
        for (int l = 0; l < w; ++l) y[i * step + l * line] = float(rest[l] = op(rest[l], double(x[i * step + l * line])));
}

// Of float: whole registers of lines across, the others as above.
template <class Op> void run(const float* x, float* y, int64_t n, int64_t step, int64_t lines, int64_t line, double start, Op op) {
    int64_t l = 0;
    for (constexpr int w = lanes<float>; line != 1 && l + w <= lines; l += w)
        if (step > 0) run_across<1>(x + l * line, y + l * line, n, line, start, op);
        else run_across<-1>(x + l * line, y + l * line, n, line, start, op);
    if (l < lines) run<float, Op>(x + l * line, y + l * line, n, step, lines - l, line, start, op);
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
    each_group(s, [&](int64_t at, int64_t lines, int64_t line) {
        if (s.product) run(a.x + at, a.y + at, s.n, s.tail, lines, line, A(1), [](auto r, auto x) { return times(r, x); });
        else run(a.x + at, a.y + at, s.n, s.tail, lines, line, A(0), [](auto r, auto x) { return plus(r, x); });
    });
}

template <class T> void scan_backward(const ScanBackward<T>& a) {
    using A = wider_t<T>;
    const ScanShape s = a.shape;
    each_group(s, [&](int64_t at, int64_t lines, int64_t line) {
        const int64_t last = at + (s.n - 1) * s.tail;
        if (!s.product) return run(a.dy + last, a.dx + last, s.n, -s.tail, lines, line, A(0), [](auto r, auto dy) { return plus(r, dy); });
        for (int64_t j = 0; j < lines; ++j, at += line) line_of_products_backward(a.dy + at, a.x + at, a.y + at, a.dx + at, s.n, s.tail);
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
