// rms_norm on CPU. Math and shapes: cpp/ops/rms_norm.h
// Memory bound: forward moves 2 * rows * cols elements, backward 3; a row is read again only from L1.
#include "cpp/ops/rms_norm.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"
#include "cpp/simd/reduce.h"

namespace lc::cpu::LC_ISA {
namespace {

// Rows [begin, end). y of a row is written in the walk that adds up the next row, whose misses are then hidden.
template <class T, class A = acc_t<T>> void forward_rows(const RmsNormForward<T>& a, int64_t begin, int64_t end, bool past_caches) {
    const int64_t n = a.cols;
    const T* const w = a.w;                           // by value: through `a` it would be read anew after every store
    const auto square = [](vec<A> v) { return v * v; };
    A squares = sum_row<A>(n, [&](int64_t i, auto k) { return square(load(a.x + begin * n + i, k)); });
    for (int64_t r = begin; r < end; ++r) {
        const A rstd = rsqrt_of(squares / A(n) + A(a.eps));
        const vec<A> scale = splat(rstd);
        a.rstd[r] = rstd;
        const T* const x = a.x + r * n;
        T* const y = a.y + r * n;
        const bool streamed = streams(y, past_caches);
        const auto write = [=](int64_t i, auto k) {
            const vec<A> h = load(x + i, k) * scale;
            put(y + i, w ? h * load(w + i, k) : h, k, streamed);
        };
        if (r + 1 == end) return each_vec<A>(n, write);
        squares = sum_row<A>(n, [&](int64_t i, auto k) {
            write(i, k);
            return square(load(x + n + i, k));
        });
    }
}

// The same for dx, the first sum being that of dy w h; the rows' share of dw is added to the strip.
template <class T, class A = acc_t<T>> void backward_rows(const RmsNormBackward<T>& a, int64_t begin, int64_t end, A* dw) {
    const int64_t n = a.cols;
    const T* const w = a.w;
    const auto term = [=](const T* dy, const T* x, int64_t i, auto k, vec<A> rstd) {
        const vec<A> gh = load(dy + i, k) * (load(x + i, k) * rstd);
        return w ? gh * load(w + i, k) : gh;
    };
    const T *x = a.x + begin * n, *dy = a.dy + begin * n;
    vec<A> rstd = splat(a.rstd[begin]);
    A sum_gh = sum_row<A>(n, [&](int64_t i, auto k) { return term(dy, x, i, k, rstd); });
    for (int64_t r = begin; r < end; ++r, x += n, dy += n) {
        const vec<A> pull = splat(-sum_gh / A(n) * a.rstd[r]);
        T* const dx = a.dx + r * n;
        const auto write = [=](int64_t i, auto k) {
            const vec<A> g = load(dy + i, k), h = load(x + i, k) * rstd, scaled = g * rstd;
            store(dx + i, fma(h, pull, w ? scaled * load(w + i, k) : scaled), k);
            if (dw) store(dw + i, fma(g, h, load(dw + i, k)), k);
        };
        if (r + 1 == end) return each_vec<A>(n, write);
        rstd = splat(a.rstd[r + 1]);
        sum_gh = sum_row<A>(n, [&](int64_t i, auto k) {
            write(i, k);
            return term(dy + n, x + n, i, k, rstd);
        });
    }
}

}  // namespace

template <class T> void rms_norm_forward(const RmsNormForward<T>& a) {
    const bool past_caches = 2 * a.rows * a.cols * int64_t(sizeof(T)) >= kPastCaches;
    parallel_ranges(a.rows, 16384 / (a.cols + 1) + 1, a.rows * a.cols / 4, [&](int64_t begin, int64_t end) {
        forward_rows(a, begin, end, past_caches);
        end_stream();
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
        backward_rows(a, begin, end, w);
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
