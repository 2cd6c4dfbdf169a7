// rms_norm on CPU. Math and shapes: cpp/ops/rms_norm.h
// Memory bound: forward moves 2 * rows * cols elements, backward 3; a row is read again only from L1.
#include "cpp/ops/rms_norm.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T, class A = acc_t<T>> A forward_row(const T* x, const T* w, T* y, int64_t cols, A eps) {
    const A squares = sum_row<A>(cols, [&](int64_t i, auto k) { const vec<A> v = load(x + i, k); return v * v; });
    const A rstd = A(1) / sqrt(splat(squares / A(cols) + eps))[0];
    const vec<A> r = splat(rstd);
    if (w) each_vec<A>(cols, [&](int64_t i, auto k) { store(y + i, load(x + i, k) * r * load(w + i, k), k); });
    else each_vec<A>(cols, [&](int64_t i, auto k) { store(y + i, load(x + i, k) * r, k); });
    return rstd;
}

// dx of one row, whose share of dw is added to the strip.
template <class T, class A = acc_t<T>> void backward_row(const RmsNormBackward<T>& a, int64_t r, A* dw) {
    const int64_t n = a.cols;
    const T *x = a.x + r * n, *dy = a.dy + r * n;
    T* dx = a.dx + r * n;
    const vec<A> rstd = splat(a.rstd[r]);
    const A sum_gh = sum_row<A>(n, [&](int64_t i, auto k) {
        const vec<A> gh = load(dy + i, k) * (load(x + i, k) * rstd);
        return a.w ? gh * load(a.w + i, k) : gh;
    });
    const vec<A> mean_gh = splat(sum_gh / A(n));
    each_vec<A>(n, [&](int64_t i, auto k) {
        const vec<A> g = load(dy + i, k), h = load(x + i, k) * rstd;
        store(dx + i, rstd * ((a.w ? g * load(a.w + i, k) : g) - h * mean_gh), k);
        if (dw) store(dw + i, fma(g, h, load(dw + i, k)), k);
    });
}

}  // namespace

template <class T> void rms_norm_forward(const RmsNormForward<T>& a) {
    parallel_ranges(a.rows, 16384 / (a.cols + 1) + 1, a.rows * a.cols / 4, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) a.rstd[r] = forward_row(a.x + r * a.cols, a.w, a.y + r * a.cols, a.cols, a.eps);
    });
}

template <class T> void rms_norm_backward(const RmsNormBackward<T>& a) {
    using A = acc_t<T>;
    const Strips split = split_rows(a.rows);
    const Buffer<A> strips(a.dw ? split.parts * a.cols : 0);
    parallel_for(split.parts, a.rows * a.cols / 2, [&](int64_t part, int) {
        A* const w = a.dw ? strips.data() + part * a.cols : nullptr;
        if (w) each_vec<A>(a.cols, [&](int64_t i, auto k) { store(w + i, zero<A>(), k); });
        const int64_t begin = part * split.rows, end = begin + split.rows < a.rows ? begin + split.rows : a.rows;
        for (int64_t r = begin; r < end; ++r) backward_row(a, r, w);
    });
    if (a.dw) add_strips(strips.data(), split.parts, a.cols, a.dw);
}

template void rms_norm_forward(const RmsNormForward<float>&);
template void rms_norm_forward(const RmsNormForward<double>&);
template void rms_norm_forward(const RmsNormForward<bfloat16>&);
template void rms_norm_forward(const RmsNormForward<float16>&);
template void rms_norm_backward(const RmsNormBackward<float>&);
template void rms_norm_backward(const RmsNormBackward<double>&);
template void rms_norm_backward(const RmsNormBackward<bfloat16>&);
template void rms_norm_backward(const RmsNormBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
