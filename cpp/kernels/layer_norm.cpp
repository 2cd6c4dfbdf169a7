// layer_norm on CPU. Math and shapes: cpp/ops/layer_norm.h
// Memory bound: forward moves 2 * rows * cols elements, backward 3; a row is read again only from L1.
#include "cpp/ops/layer_norm.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"
#include "cpp/simd/reduce.h"

namespace lc::cpu::LC_ISA {
namespace {

// Rows [begin, end). y of a row is written in the walk that takes the next row's moments, whose misses are then hidden.
template <class T, class A = acc_t<T>> void forward_rows(const LayerNormForward<T>& a, int64_t begin, int64_t end, bool past_caches) {
    const int64_t n = a.cols;
    const T *const w = a.w, *const b = a.b;           // by value: through `a` they would be read anew after every store
    Moments<A> m = moments(a.x + begin * n, n);
    for (int64_t r = begin; r < end; ++r) {
        a.base[r] = m.base;
        a.rest[r] = m.rest;
        a.rstd[r] = rsqrt_of(m.variance + a.eps);
        const vec<A> base = splat(m.base), offset = splat(-m.rest * a.rstd[r]), rstd = splat(a.rstd[r]);
        const T* const x = a.x + r * n;
        T* const y = a.y + r * n;
        const bool streamed = streams(y, past_caches);
        const auto write = [=](int64_t i, auto k) {
            vec<A> v = fma(load(x + i, k) - base, rstd, offset);
            if (w && b) v = fma(v, load(w + i, k), load(b + i, k));
            else if (w) v = v * load(w + i, k);
            else if (b) v = v + load(b + i, k);
            put(y + i, v, k, streamed);
        };
        if (r + 1 == end) return each_vec<A>(n, write);
        m = moments(x + n, n, write);
    }
}

// The same for dx, the first sums being those of g = dy w and g h; the rows' shares of dw and db are added to the strips.
template <class T, class A = acc_t<T>> void backward_rows(const LayerNormBackward<T>& a, int64_t begin, int64_t end, A* dw, A* db) {
    const int64_t n = a.cols;
    const T* const w = a.w;                           // by value: through `a` it would be read anew after every store
    struct Row {
        const T *x, *dy;
        vec<A> base, rstd, offset;
    };
    const auto row = [&](int64_t r) { return Row{a.x + r * n, a.dy + r * n, splat(a.base[r]), splat(a.rstd[r]), splat(-a.rest[r] * a.rstd[r])}; };
    const auto normal = [](const Row& at, int64_t i, auto k) { return fma(load(at.x + i, k) - at.base, at.rstd, at.offset); };
    const auto add = [&](const Row& at, int64_t i, auto k, vec<A>& sum_g, vec<A>& sum_gh) {
        vec<A> g = load(at.dy + i, k);                                         // past the end dy is zero, and so is g
        if (w) g = g * load(w + i, k);
        sum_g = sum_g + g;
        sum_gh = fma(g, normal(at, i, k), sum_gh);
    };
    Row at = row(begin);
    Sums<A> s = sum_row2<A>(n, [&](int64_t i, auto k, vec<A>& sum_g, vec<A>& sum_gh) { add(at, i, k, sum_g, sum_gh); });
    for (int64_t r = begin; r < end; ++r) {
        const vec<A> shift = splat(-s.first / A(n) * a.rstd[r]), pull = splat(-s.second / A(n) * a.rstd[r]);
        T* const dx = a.dx + r * n;
        const auto write = [=](int64_t i, auto k) {
            const vec<A> g = load(at.dy + i, k), h = normal(at, i, k);
            store(dx + i, fma(h, pull, fma(w ? g * load(w + i, k) : g, at.rstd, shift)), k);
            if (dw) {
                store(dw + i, fma(g, h, load(dw + i, k)), k);
                store(db + i, g + load(db + i, k), k);
            }
        };
        if (r + 1 == end) return each_vec<A>(n, write);
        at = row(r + 1);
        s = sum_row2<A>(n, [&](int64_t i, auto k, vec<A>& sum_g, vec<A>& sum_gh) {
            write(i, k);
            add(at, i, k, sum_g, sum_gh);
        });
    }
}

}  // namespace

template <class T> void layer_norm_forward(const LayerNormForward<T>& a) {
    if (a.cols == 0) return;
    const bool past_caches = 2 * a.rows * a.cols * int64_t(sizeof(T)) >= kPastCaches;
    parallel_ranges(a.rows, 16384 / a.cols + 1, a.rows * a.cols / 4, [&](int64_t begin, int64_t end) {
        forward_rows(a, begin, end, past_caches);
        end_stream();
    });
}

template <class T> void layer_norm_backward(const LayerNormBackward<T>& a) {
    using A = acc_t<T>;
    const Strips split = split_rows(a.rows);
    const Buffer<A> strips(a.dw ? 2 * split.parts * a.cols : 0);
    A *const dw = strips.data(), *const db = dw + split.parts * a.cols;
    parallel_for(split.parts, a.rows * a.cols / 2, [&](int64_t part, int) {
        A *w = nullptr, *b = nullptr;
        if (a.dw) {
            w = dw + part * a.cols;
            b = db + part * a.cols;
            each_vec<A>(a.cols, [&](int64_t i, auto k) { store(w + i, zero<A>(), k), store(b + i, zero<A>(), k); });
        }
        const int64_t begin = part * split.rows, end = begin + split.rows < a.rows ? begin + split.rows : a.rows;
        backward_rows(a, begin, end, w, b);
    });
    if (a.dw) {
        add_strips(dw, split.parts, a.cols, a.dw);
        add_strips(db, split.parts, a.cols, a.db);
    }
}

template void layer_norm_forward(const LayerNormForward<float>&);
template void layer_norm_forward(const LayerNormForward<double>&);
template void layer_norm_forward(const LayerNormForward<bfloat16>&);
template void layer_norm_forward(const LayerNormForward<float16>&);
template void layer_norm_backward(const LayerNormBackward<float>&);
template void layer_norm_backward(const LayerNormBackward<double>&);
template void layer_norm_backward(const LayerNormBackward<bfloat16>&);
template void layer_norm_backward(const LayerNormBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
