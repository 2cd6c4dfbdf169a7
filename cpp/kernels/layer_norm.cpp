// layer_norm on CPU. Math and shapes: cpp/ops/layer_norm.h
// Memory bound: forward moves 2 * rows * cols elements, backward 3; a row is read again only from L1.
#include "cpp/ops/layer_norm.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T, class A = acc_t<T>> void forward_row(const T* x, const T* w, const T* b, T* y, int64_t cols, const Moments<A>& m, A scale) {
    const vec<A> base = splat(m.base), offset = splat(-m.rest * scale), rstd = splat(scale);
    if (w && b) {
        each_vec<A>(cols, [&](int64_t i, auto k) { store(y + i, fma(fma(load(x + i, k) - base, rstd, offset), load(w + i, k), load(b + i, k)), k); });
    } else {
        each_vec<A>(cols, [&](int64_t i, auto k) {
            vec<A> v = fma(load(x + i, k) - base, rstd, offset);
            if (w) v = v * load(w + i, k);
            if (b) v = v + load(b + i, k);
            store(y + i, v, k);
        });
    }
}

// dx of one row, whose share of dw and db is added to the strips. (Four rows in one walk over the strips: 40 % slower on
// AVX2, their lines fall into the same sets of L1.)
template <class T, class A = acc_t<T>> void backward_row(const LayerNormBackward<T>& a, int64_t r, A* dw, A* db) {
    const int64_t n = a.cols;
    const T *x = a.x + r * n, *dy = a.dy + r * n;
    T* dx = a.dx + r * n;
    const vec<A> base = splat(a.base[r]), rest = splat(a.rest[r]), rstd = splat(a.rstd[r]);
    const Sums<A> s = sum_row2<A>(n, [&](int64_t i, auto k, vec<A>& sum_g, vec<A>& sum_gh) {
        vec<A> g = load(dy + i, k);                                            // past the end dy is zero, and so is g
        if (a.w) g = g * load(a.w + i, k);
        sum_g = sum_g + g;
        sum_gh = fma(g, (load(x + i, k) - base - rest) * rstd, sum_gh);
    });
    const vec<A> mean_g = splat(s.first / A(n)), mean_gh = splat(s.second / A(n));
    each_vec<A>(n, [&](int64_t i, auto k) {
        const vec<A> g = load(dy + i, k), h = (load(x + i, k) - base - rest) * rstd;
        store(dx + i, rstd * ((a.w ? g * load(a.w + i, k) : g) - mean_g - h * mean_gh), k);
        if (dw) {
            store(dw + i, fma(g, h, load(dw + i, k)), k);
            store(db + i, g + load(db + i, k), k);
        }
    });
}

}  // namespace

template <class T> void layer_norm_forward(const LayerNormForward<T>& a) {
    if (a.cols == 0) return;
    parallel_ranges(a.rows, 16384 / a.cols + 1, a.rows * a.cols / 4, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const auto m = moments(a.x + r * a.cols, a.cols);
            a.base[r] = m.base;
            a.rest[r] = m.rest;
            a.rstd[r] = rsqrt_of(m.variance + a.eps);
            forward_row(a.x + r * a.cols, a.w, a.b, a.y + r * a.cols, a.cols, m, a.rstd[r]);
        }
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
        for (int64_t r = begin; r < end; ++r) backward_row(a, r, w, b);
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
