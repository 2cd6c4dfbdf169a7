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

constexpr int64_t kAhead = 4 << 20;                   // bytes of x from which the next row is asked for while this one is computed

// exp(x - m): checked one register at a time only in a row that spreads further than e^-87, where terms become subnormal.
template <class T, class Exp> void forward_row(const T* x, T* y, int64_t n, bool log_space, bool ahead, T m, Exp exp_of) {
    const vec<T> vm = splat(m);
    const auto term = [&](int64_t i, auto k) {
        if (ahead) __builtin_prefetch(x + n + i);
        return first(exp_of(load(x + i, k) - vm), k, zero<T>());
    };
    if (log_space) {
        const vec<T> log_s = log(splat(sum_row<T>(n, term)));
        each_vec<T>(n, [&](int64_t i, auto k) { store(y + i, load(x + i, k) - vm - log_s, k); });
        return;
    }
    const T s = sum_row<T>(n, [&](int64_t i, auto k) {
        const vec<T> e = term(i, k);
        store(y + i, e, k);
        return e;
    });
    const vec<T> scale = splat(T(1) / s);
    each_vec<T>(n, [&](int64_t i, auto k) { store(y + i, load(y + i, k) * scale, k); });
}
template <class T> void forward_row(const T* x, T* y, int64_t n, bool log_space, bool ahead) {
    const Extremes<T> e = extremes_row(x, n);
    if (e.high - e.low <= T(detail::kExpRange)) forward_row(x, y, n, log_space, ahead, e.high, [](vec<T> v) { return exp_in_range(v); });
    else forward_row(x, y, n, log_space, ahead, e.high, [](vec<T> v) { return exp(v); });
}

template <class T> void backward_row(const T* dy, const T* y, T* dx, int64_t n, bool log_space) {
    if (log_space) {
        const vec<T> s = splat(sum_row<T>(n, [&](int64_t i, auto k) { return load(dy + i, k); }));
        each_vec<T>(n, [&](int64_t i, auto k) { store(dx + i, load(dy + i, k) - exp(load(y + i, k)) * s, k); });
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

// row(offset) or block(offset, width) for every row or block of columns of [outer, n, inner].
template <class T, class Row, class Block> LC_INLINE void each_row_or_block(int64_t outer, int64_t n, int64_t inner, Row row, Block block) {
    const int64_t work = outer * n * inner;           // about a nanosecond an element
    if (work == 0) return;
    if (inner == 1) {
        const int64_t grain = 16384 / n + 1;
        parallel_ranges(outer, grain, work, [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; ++r) row(r * n);
        });
        return;
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
    const bool ahead = a.outer * a.n * int64_t(sizeof(T)) >= kAhead;
    each_row_or_block<T>(a.outer, a.n, a.inner, [&](int64_t at) { forward_row(a.x + at, a.y + at, a.n, a.log, ahead); }, [&](int64_t at, int64_t width) { forward_block(a.x + at, a.y + at, a.n, a.inner, width, a.log); });
}

template <class T> void softmax_backward(const SoftmaxBackward<T>& a) {
    each_row_or_block<T>(a.outer, a.n, a.inner, [&](int64_t at) { backward_row(a.dy + at, a.y + at, a.dx + at, a.n, a.log); }, [&](int64_t at, int64_t width) { backward_block(a.dy + at, a.y + at, a.dx + at, a.n, a.inner, width, a.log); });
}

template void softmax_forward(const SoftmaxForward<float>&);
template void softmax_forward(const SoftmaxForward<double>&);
template void softmax_backward(const SoftmaxBackward<float>&);
template void softmax_backward(const SoftmaxBackward<double>&);

}  // namespace lc::cpu::LC_ISA
