// group_norm on CUDA: a block per group. Contract and formulas: cpp/ops/group_norm.h
// Memory bound: forward reads x twice, the second time from cache where a group fits there, and writes y; backward reads
// dy and x twice and writes dx. A channel's sums are a warp's, channels are added in the order of warps.
#include "cpp/ops/group_norm.h"
#include <math.h>
#include "cuda/arch/block.cuh"
#include "cuda/kernels/divider.h"
#include "cuda/kernels/row.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

struct Layout {
    int channels, elements;                           // of a group
    int groups, s;
    Divider line;                                     // s

    __device__ __forceinline__ int64_t begin() const { return int64_t(blockIdx.x) * elements; }
    __device__ __forceinline__ int first_channel() const { return int(blockIdx.x) % groups * channels; }
};

// What of a group the kernels need: h = (x - base - rest) rstd.
template <class A> struct Scale {
    A base, rest, rstd;
    __device__ __forceinline__ Scale(double base_, double rest_, double var, double eps) : base(A(base_)), rest(A((base_ - double(base)) + rest_)), rstd(A(1 / ::sqrt(var + eps))) {}
    __device__ __forceinline__ A operator()(A x) const { return (x - base - rest) * rstd; }
};

template <class T> __global__ __launch_bounds__(kThreads) void forward_kernel(Layout p, GroupNormForward<T> a) {
    using A = acc_t<T>;
    const Group<double, kThreads> group{shared_memory<GroupResults<double, kThreads>>()};
    const T* x = a.x + p.begin();
    const double start = double(widen(x[0]));         // sums of distances from it keep the digits of small differences
    double away = 0, squares = 0;
    for (int i = int(threadIdx.x); i < p.elements; i += kThreads) {
        const double d = double(widen(x[i])) - start;
        away += d;
        squares += d * d;
    }
    away = group.sum(away);
    squares = group.sum(squares);
    const double mean = away / p.elements, var = squares / p.elements - mean * mean, var_ = var > 0 || var != var ? var : 0;
    const double base = start + mean, moved = base - start, rest = (start - (base - moved)) + (mean - moved);
    if (threadIdx.x == 0) {
        a.base[blockIdx.x] = base;
        a.rest[blockIdx.x] = rest;
        a.var[blockIdx.x] = var_;
    }
    const Scale<A> h(base, rest, var_, a.eps);
    T* y = a.y + p.begin();
    const int c0 = p.first_channel();
    for (int i = int(threadIdx.x); i < p.elements; i += kThreads) {
        const int c = c0 + p.line.divide(i);
        y[i] = narrow<T>(h(A(widen(x[i]))) * (a.w ? A(widen(a.w[c])) : A(1)) + (a.b ? A(widen(a.b[c])) : A(0)));
    }
}

// parts: [2, n, c]: this sample's sums of dy h and of dy.
template <class T> __global__ __launch_bounds__(kThreads) void backward_kernel(Layout p, GroupNormBackward<T> a, acc_t<T>* parts) {
    using A = acc_t<T>;
    const Group<A, kThreads> group{shared_memory<GroupResults<A, kThreads>>()};
    const T *x = a.x + p.begin(), *dy = a.dy + p.begin();
    const Scale<A> h(a.base[blockIdx.x], a.rest[blockIdx.x], a.var[blockIdx.x], a.eps);
    const int c0 = p.first_channel();
    const int64_t part = int64_t(blockIdx.x) * p.channels;
    A sum_t = 0, sum_th = 0;                          // of this warp's channels
    for (int c = warp_id(); c < p.channels; c += kThreads / 32) {
        A sum_g = 0, sum_gh = 0;
        for (int i = lane_id(); i < p.s; i += 32) {
            const A g = widen(dy[c * p.s + i]);
            sum_g += g;
            sum_gh += g * h(A(widen(x[c * p.s + i])));
        }
        const auto add = [](A a, A b) { return a + b; };
        sum_g = warp_reduce(sum_g, add);
        sum_gh = warp_reduce(sum_gh, add);
        if (lane_id() > 0) continue;
        parts[part + c] = sum_gh;
        parts[a.n * a.c + part + c] = sum_g;
        const A w = a.w ? A(widen(a.w[c0 + c])) : A(1);
        sum_t += w * sum_g;
        sum_th += w * sum_gh;
    }
    const A mean_t = group.sum(sum_t) / A(p.elements), mean_th = group.sum(sum_th) / A(p.elements);
    T* dx = a.dx + p.begin();
    for (int i = int(threadIdx.x); i < p.elements; i += kThreads) {
        const A w = a.w ? A(widen(a.w[c0 + p.line.divide(i)])) : A(1);
        dx[i] = narrow<T>(h.rstd * (A(widen(dy[i])) * w - mean_t - h(A(widen(x[i]))) * mean_th));
    }
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class Args> Layout layout_of(const Args& a) {
    const int64_t channels = a.c / a.groups, elements = channels * a.s;
    LC_CHECK(elements < int64_t(1) << 31, ValueError, "group_norm: a group has ", elements, " elements; on CUDA there may be 2^31 - 1");
    return {int(channels), int(elements), int(a.groups), int(a.s), Divider(a.s)};
}

}  // namespace

template <class T> void group_norm_forward(const GroupNormForward<T>& a) {
    if (a.n * a.c * a.s == 0) return;
    launch("group_norm", forward_kernel<T>, {Blocks(a.n * a.groups), dim3(kThreads), shared_bytes<GroupResults<double, kThreads>>}, layout_of(a), a);
}

template <class T> void group_norm_backward(const GroupNormBackward<T>& a) {
    using A = acc_t<T>;
    const Scratch<A> parts(2 * a.n * a.c);
    const bool any = a.n * a.c * a.s > 0;
    if (any) launch("group_norm_backward", backward_kernel<T>, {Blocks(a.n * a.groups), dim3(kThreads), shared_bytes<GroupResults<A, kThreads>>}, layout_of(a), a, parts.data());
    if (a.dw && a.c > 0) sum_parts(parts.data(), any ? a.n : 0, a.c, a.dw);
    if (a.db && a.c > 0) sum_parts(parts.data() + a.n * a.c, any ? a.n : 0, a.c, a.db);
}

#define LC_INSTANTIATE(T) \
    template void group_norm_forward(const GroupNormForward<T>&); \
    template void group_norm_backward(const GroupNormBackward<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
LC_INSTANTIATE(bfloat16)
LC_INSTANTIATE(float16)
#undef LC_INSTANTIATE

}  // namespace lc::cuda
