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

// dx of `count` rows, whose share of dw is added to the strip in one walk over it.
template <int count, class T, class A = acc_t<T>> void backward_rows(const RmsNormBackward<T>& a, int64_t r, A* dw) {
    const int64_t n = a.cols;
    vec<A> rstd[count], mean_gh[count];
    for (int j = 0; j < count; ++j) {
        const T *x = a.x + (r + j) * n, *dy = a.dy + (r + j) * n;
        const A sum_gx = sum_row<A>(n, [&](int64_t i, auto k) {
            const vec<A> gx = load(dy + i, k) * load(x + i, k);
            return a.w ? gx * load(a.w + i, k) : gx;
        });
        rstd[j] = splat(a.rstd[r + j]);
        mean_gh[j] = splat(sum_gx * a.rstd[r + j] / A(n));
    }
    each_vec<A>(n, [&](int64_t i, auto k) {
        const vec<A> w = a.w ? load(a.w + i, k) : splat(A(1));
        vec<A> sum_w = dw ? load(dw + i, k) : zero<A>();
#pragma GCC unroll 4
        for (int j = 0; j < count; ++j) {
            const int64_t at = (r + j) * n + i;
            const vec<A> dy = load(a.dy + at, k), h = load(a.x + at, k) * rstd[j];
            store(a.dx + at, rstd[j] * (dy * w - h * mean_gh[j]), k);
            sum_w = fma(dy, h, sum_w);
        }
        if (dw) store(dw + i, sum_w, k);
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
        int64_t r = part * split.rows;
        const int64_t end = r + split.rows < a.rows ? r + split.rows : a.rows;
        for (; r + 4 <= end; r += 4) backward_rows<4>(a, r, w);
        for (; r < end; ++r) backward_rows<1>(a, r, w);
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
