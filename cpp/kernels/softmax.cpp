// softmax and log_softmax on CPU. Math and shapes: cpp/ops/softmax.h
// Rows that stay in cache are bound by exp (about a cycle an element); larger tensors by 2 * outer * n * inner of traffic.
// inner == 1: one row at a time, along it. Otherwise a block of neighbouring columns at a time, one lane per column.
#include "cpp/ops/softmax.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"
#include "cpp/simd/row.h"

namespace lc::cpu::LC_ISA {
namespace {

// Columns of one block: 64 floats are 256 bytes of each of the n lines, and the state of a block stays in registers or L1.
template <class T> constexpr int kBlock = 8 * lanes<T>;

// What makes y of a row whose sum is known.
template <class T, bool log_space> struct Finish {
    const T* x;
    T* y;
    vec<T> m, factor;                                 // factor: 1 / s, or log s

    template <class K> LC_INLINE void operator()(int64_t i, K k) const {
        store(y + i, log_space ? load(x + i, k) - m - factor : load(y + i, k) * factor, k);
    }
};

// The sum of e^(x - m), whose terms y keeps. beside(i, k) is called once for every register.
template <bool log_space, class T, class Exp, class Beside> LC_INLINE T sum_terms(const T* x, T* y, int64_t n, vec<T> m, Exp exp_of, Beside&& beside) {
    return sum_row<T>(n, [&](int64_t i, auto k) {
        const vec<T> e = first(exp_of(load(x + i, k) - m), k, zero<T>());
        if (!log_space) store(y + i, e, k);
        beside(i, k);
        return e;
    });
}
// Exponentials are checked one register at a time only in a row that spreads further than e^-87, where terms become subnormal.
template <bool log_space, class T, class Beside> LC_INLINE T sum_terms(const T* x, T* y, int64_t n, Extremes<T> e, Beside&& beside) {
    const vec<T> m = splat(e.high);
    if (e.high - e.low <= T(detail::kExpRange)) return sum_terms<log_space>(x, y, n, m, [](vec<T> v) { return exp_in_range(v); }, beside);
    return sum_terms<log_space>(x, y, n, m, [](vec<T> v) { return exp(v); }, beside);
}

// `rows` rows: the walk that takes a row's exponentials finds the next row's extremes, and finishes the row before.
template <bool log_space, class T> void forward_rows(const T* x, T* y, int64_t n, int64_t rows) {
    Extremes<T> e = extremes_row(x, n);
    Finish<T, log_space> before{x, y, zero<T>(), splat(T(log_space ? 0 : 1))};     // the first row, not written yet, for want of one
    for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
        const T* const next = r + 1 < rows ? x + n : x;
        RunningExtremes<T> running;
        const auto beside = [&, before](int64_t i, auto k) {
            running.add(load(next + i, k), k);
            before(i, k);
        };
        const T s = rows > 1 ? sum_terms<log_space>(x, y, n, e, beside) : sum_terms<log_space>(x, y, n, e, Nothing());
        before = {x, y, splat(e.high), log_space ? log(splat(s)) : splat(T(1) / s)};
        e = running.folded();
    }
    each_vec<T>(n, before);
}

template <class T> void backward_row(const T* dy, const T* y, T* dx, int64_t n, bool log_space) {
    if (log_space) {
        const vec<T> s = splat(sum_row<T>(n, [&](int64_t i, auto k) { return load(dy + i, k); }));
        each_vec<T>(n, [&](int64_t i, auto k) { store(dx + i, load(dy + i, k) - exp_of_difference(load(y + i, k)) * s, k); });
    } else {
        const vec<T> s = splat(sum_row<T>(n, [&](int64_t i, auto k) { return load(dy + i, k) * load(y + i, k); }));
        each_vec<T>(n, [&](int64_t i, auto k) { store(dx + i, load(y + i, k) * (load(dy + i, k) - s), k); });
    }
}

// The same over `width` <= kBlock columns whose elements lie `stride` apart.
template <class T> void forward_block(const T* x, T* y, int64_t n, int64_t stride, int64_t width, bool log_space) {
    T m[kBlock<T>], s[kBlock<T>], low[kBlock<T>] = {};
    each_vec<T>(width, [&](int64_t j, auto) { store(m + j, splat(T(-__builtin_inf()))), store(s + j, zero<T>()); });
    for (int64_t c = 0; c < n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) { store(m + j, max(load(x + c * stride + j, k), load(m + j))); });
    for (int64_t c = 0; c < n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) {
            const vec<T> e = exp(load(x + c * stride + j, k) - load(m + j));
            add_compensated(s + j, low + j, e);
            if (!log_space) store(y + c * stride + j, e, k);
        });
    each_vec<T>(width, [&](int64_t j, auto) { store(s + j, log_space ? log(load(s + j)) : splat(T(1)) / load(s + j)); });
    for (int64_t c = 0; c < n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) {
            const int64_t at = c * stride + j;
            if (log_space) store(y + at, load(x + at, k) - load(m + j) - load(s + j), k);
            else store(y + at, load(y + at, k) * load(s + j), k);
        });
}

template <class T> void backward_block(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t width, bool log_space) {
    T s[kBlock<T>] = {}, low[kBlock<T>] = {};
    for (int64_t c = 0; c < n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) {
            const int64_t at = c * stride + j;
            const vec<T> g = load(dy + at, k);
            add_compensated(s + j, low + j, log_space ? g : g * load(y + at, k));
        });
    for (int64_t c = 0; c < n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) {
            const int64_t at = c * stride + j;
            const vec<T> g = load(dy + at, k), vy = load(y + at, k);
            store(dx + at, log_space ? g - exp(vy) * load(s + j) : vy * (g - load(s + j)), k);
        });
}

// ---- splitting the work ---------------------------------------------------------------------------------------------

// rows(offset, count) or block(offset, width) for all rows or blocks of columns of [outer, n, inner].
template <class T, class Rows, class Block> LC_INLINE void each_row_or_block(int64_t outer, int64_t n, int64_t inner, Rows rows, Block block) {
    const int64_t work = outer * n * inner;           // about a nanosecond an element
    if (work == 0) return;
    if (inner == 1) {
        const int64_t grain = 16384 / n + 1;
        return parallel_ranges(outer, grain, work, [&](int64_t begin, int64_t end) { rows(begin * n, end - begin); });
    }
    const int64_t blocks = (inner + kBlock<T> - 1) / kBlock<T>, grain = 16384 / (n * kBlock<T>)+1;
    parallel_ranges(outer * blocks, grain, work, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            const int64_t o = t / blocks, j = t % blocks * kBlock<T>;
            block(o * n * inner + j, inner - j < kBlock<T> ? inner - j : kBlock<T>);
        }
    });
}

}  // namespace

template <class T> void softmax_forward(const SoftmaxForward<T>& a) {
    const auto rows = [&](int64_t at, int64_t count) {
        if (a.log) forward_rows<true>(a.x + at, a.y + at, a.n, count);
        else forward_rows<false>(a.x + at, a.y + at, a.n, count);
    };
    each_row_or_block<T>(a.outer, a.n, a.inner, rows, [&](int64_t at, int64_t width) { forward_block(a.x + at, a.y + at, a.n, a.inner, width, a.log); });
}

template <class T> void softmax_backward(const SoftmaxBackward<T>& a) {
    const auto rows = [&](int64_t at, int64_t count) {
        for (int64_t end = at + count * a.n; at < end; at += a.n) backward_row(a.dy + at, a.y + at, a.dx + at, a.n, a.log);
    };
    each_row_or_block<T>(a.outer, a.n, a.inner, rows, [&](int64_t at, int64_t width) { backward_block(a.dy + at, a.y + at, a.dx + at, a.n, a.inner, width, a.log); });
}

template void softmax_forward(const SoftmaxForward<float>&);
template void softmax_forward(const SoftmaxForward<double>&);
template void softmax_backward(const SoftmaxBackward<float>&);
template void softmax_backward(const SoftmaxBackward<double>&);

}  // namespace lc::cpu::LC_ISA
