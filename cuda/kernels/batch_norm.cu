// batch_norm on CUDA. Contract and formulas: cpp/ops/batch_norm.h
// Memory bound: training reads x twice and writes y; backward reads dy and x twice and writes dx. A channel's elements are
// summed by blocks in an order fixed by the shape, in double, from the channel's first element on; blocks are added in order.
#include "cpp/ops/batch_norm.h"
#include "cuda/arch/block.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/divider.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

struct Layout {                                       // x: [n, c, s], of fewer than 2^31 elements
    int c, elements;                                  // of a channel: n * s
    Divider line, channels;                           // s, c
    int64_t parts;

    __device__ __forceinline__ int64_t at(int channel, int i) const {
        const int sample = line.divide(i);
        return (int64_t(sample) * c + channel) * line.d + (i - sample * int(line.d));
    }
    __device__ __forceinline__ int channel_of(int64_t i) const {
        const int lines = line.divide(int(i));
        return lines - channels.divide(lines) * c;
    }
    // f(place of an element) for those of channel blockIdx.x that fall to block blockIdx.y.
    template <class F> __device__ __forceinline__ void each(F f) const {
        for (int64_t i = int64_t(blockIdx.y) * kThreads + threadIdx.x; i < elements; i += parts * kThreads) f(at(int(blockIdx.x), int(i)));
    }
};

__device__ __forceinline__ void put_sums(const Layout& p, double first, double second, double* sums) {
    const Group<double, kThreads> group{shared_memory<GroupResults<double, kThreads>>()};
    first = group.sum(first);
    second = group.sum(second);
    if (threadIdx.x > 0) return;
    double* to = sums + (int64_t(blockIdx.x) * p.parts + blockIdx.y) * 2;
    to[0] = first;
    to[1] = second;
}

// sums: [channel, part, 2], of distances from the channel's first element, and of their squares.
template <class T> __global__ __launch_bounds__(kThreads) void statistics_kernel(Layout p, const T* x, double* sums) {
    const double start = double(widen(x[p.at(int(blockIdx.x), 0)]));
    double away = 0, squares = 0;
    p.each([&](int64_t at) {
        const double d = double(widen(x[at])) - start;
        away += d;
        squares += d * d;
    });
    put_sums(p, away, squares, sums);
}

// The mean as the kernels take it, and what is left of it.
template <class A> struct Split {
    A base, rest;
    __device__ __forceinline__ Split(double mean, double more) : base(A(mean)), rest(A((mean - double(base)) + more)) {}
};

__device__ __forceinline__ void add_parts(const Layout& p, int channel, const double* sums, double& first, double& second) {
    first = second = 0;
    for (int64_t i = 0; i < p.parts; ++i) {
        first += sums[(channel * p.parts + i) * 2];
        second += sums[(channel * p.parts + i) * 2 + 1];
    }
}

// Of every channel: its statistics when training, and {base, scale, offset}: y = (x - base) * scale + offset.
template <class T> __global__ __launch_bounds__(kThreads) void forward_channels(Layout p, BatchNormForward<T> f, const double* sums, acc_t<T>* maps) {
    using A = acc_t<T>;
    const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
    if (c >= p.c) return;
    if (f.training) {
        double away, squares;
        add_parts(p, c, sums, away, squares);
        const double start = double(widen(f.x[p.at(c, 0)])), mean = away / p.elements, var = squares / p.elements - mean * mean;
        const double base = start + mean, moved = base - start;
        f.base[c] = base;
        f.rest[c] = (start - (base - moved)) + (mean - moved);     // what base lacks of start + mean, exactly
        f.var[c] = var > 0 || var != var ? var : 0;
    }
    const double scale = (f.w ? double(widen(f.w[c])) : 1) / ::sqrt(f.var[c] + f.eps);
    const Split<A> mean(f.base[c], f.rest[c]);
    maps[c] = mean.base;
    maps[p.c + c] = A(scale);
    maps[2 * p.c + c] = A((f.b ? double(widen(f.b[c])) : 0) - double(mean.rest) * scale);
}

template <class T> __global__ __launch_bounds__(kThreads) void forward_kernel(Layout p, int64_t n, const T* x, const acc_t<T>* maps, T* y) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    const int c = p.channel_of(i);
    y[i] = narrow<T>((widen(x[i]) - maps[c]) * maps[p.c + c] + maps[2 * p.c + c]);
}

// sums: [channel, part, 2], of dy and of dy times the distance from the mean.
template <class T> __global__ __launch_bounds__(kThreads) void backward_sums(Layout p, BatchNormBackward<T> b, double* sums) {
    using A = acc_t<T>;
    const Split<A> mean(b.base[blockIdx.x], b.rest[blockIdx.x]);
    double sum = 0, product = 0;
    p.each([&](int64_t at) {
        const A dy = widen(b.dy[at]);
        sum += double(dy);
        product += double(dy) * double(widen(b.x[at]) - mean.base - mean.rest);
    });
    put_sums(p, sum, product, sums);
}

// dw, db, and {base, scale, slope, offset}: dx = dy * scale + (x - base) * slope + offset.
template <class T> __global__ __launch_bounds__(kThreads) void backward_channels(Layout p, BatchNormBackward<T> b, const double* sums, acc_t<T>* maps) {
    using A = acc_t<T>;
    const int c = int(blockIdx.x) * kThreads + int(threadIdx.x);
    if (c >= p.c) return;
    const double rstd = 1 / ::sqrt(b.var[c] + b.eps), scale = rstd * (b.w ? double(widen(b.w[c])) : 1);
    const Split<A> mean(b.base[c], b.rest[c]);
    double dy = 0, dyh = 0;
    if (sums) add_parts(p, c, sums, dy, dyh);
    dyh *= rstd;
    if (b.dw) b.dw[c] = narrow<T>(A(dyh));
    if (b.db) b.db[c] = narrow<T>(A(dy));
    const double slope = b.training ? -scale * rstd * dyh / p.elements : 0, offset = b.training ? -scale * dy / p.elements - double(mean.rest) * slope : 0;
    maps[c] = mean.base;
    maps[p.c + c] = A(scale);
    maps[2 * p.c + c] = A(slope);
    maps[3 * p.c + c] = A(offset);
}

template <class T> __global__ __launch_bounds__(kThreads) void backward_kernel(Layout p, int64_t n, const T* dy, const T* x, const acc_t<T>* maps, T* dx) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    const int c = p.channel_of(i);
    const acc_t<T> pulled = (widen(x[i]) - maps[c]) * maps[2 * p.c + c] + maps[3 * p.c + c];
    dx[i] = narrow<T>(widen(dy[i]) * maps[p.c + c] + pulled);
}

template <class T> __global__ __launch_bounds__(kThreads) void running_kernel(BatchNormRunning<T> r) {
    using A = acc_t<T>;
    const int64_t c = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (c >= r.c) return;
    // From an infinite base nothing can be subtracted: rest is NaN.
    const double mean = r.rest[c] - r.rest[c] == 0 ? r.base[c] + r.rest[c] : r.base[c], var = r.var[c] * (r.count / (r.count - 1));
    const auto update = [&](T& old, double now) { old = narrow<T>(A((1 - r.momentum) * double(widen(old)) + r.momentum * now)); };
    update(r.mean[c * r.mean_stride], mean);
    update(r.variance[c * r.variance_stride], var);
}

// ---- host ---------------------------------------------------------------------------------------------------------------

Layout layout(int64_t n, int64_t c, int64_t s) {
    LC_CHECK(n * c * s < int64_t(1) << 31, ValueError, "batch_norm: ", n, " x ", c, " x ", s, " elements are too many for CUDA; give fewer than 2^31 at once");
    const int64_t fill = div_up(528, c), few = div_up(n * s, 8 * kThreads);      // four blocks for each multiprocessor of the largest chips
    return {int(c), int(n * s), s, c, fill < few ? fill : few};
}
Grid channels_by_parts(const Layout& p) { return {Blocks(p.c, p.parts), dim3(kThreads), shared_bytes<GroupResults<double, kThreads>>}; }

}  // namespace

template <class T> void batch_norm_forward(const BatchNormForward<T>& a) {
    const int64_t n = a.n * a.c * a.s;
    if (n == 0) return;
    const Layout p = layout(a.n, a.c, a.s);
    const Scratch<double> sums(a.training ? 2 * p.c * p.parts : 0);
    const Scratch<acc_t<T>> maps(3 * a.c);
    if (a.training) launch("batch_norm", statistics_kernel<T>, channels_by_parts(p), p, a.x, sums.data());
    launch("batch_norm", forward_channels<T>, thread_each(a.c, kThreads), p, a, sums.data(), maps.data());
    launch("batch_norm", forward_kernel<T>, thread_each(n, kThreads), p, n, a.x, maps.data(), a.y);
}

template <class T> void batch_norm_backward(const BatchNormBackward<T>& a) {
    const int64_t n = a.n * a.c * a.s;
    const Device device{Device::Type::cuda, int8_t(device_in_use())};
    if (n == 0) {                                     // no element, no gradient
        if (a.dw) fill_bytes(a.dw, 0, size_t(a.c) * sizeof(T), device);
        if (a.db) fill_bytes(a.db, 0, size_t(a.c) * sizeof(T), device);
        return;
    }
    const Layout p = layout(a.n, a.c, a.s);
    const bool wanted = a.training || a.dw || a.db;
    const Scratch<double> sums(wanted ? 2 * p.c * p.parts : 0);
    const Scratch<acc_t<T>> maps(4 * a.c);
    if (wanted) launch("batch_norm_backward", backward_sums<T>, channels_by_parts(p), p, a, sums.data());
    launch("batch_norm_backward", backward_channels<T>, thread_each(a.c, kThreads), p, a, wanted ? sums.data() : nullptr, maps.data());
    if (a.dx) launch("batch_norm_backward", backward_kernel<T>, thread_each(n, kThreads), p, n, a.dy, a.x, maps.data(), a.dx);
}

template <class T> void batch_norm_running(const BatchNormRunning<T>& a) {
    if (a.c > 0) launch("batch_norm", running_kernel<T>, thread_each(a.c, kThreads), a);
}

template void batch_norm_forward(const BatchNormForward<float>&);
template void batch_norm_forward(const BatchNormForward<double>&);
template void batch_norm_forward(const BatchNormForward<bfloat16>&);
template void batch_norm_forward(const BatchNormForward<float16>&);
template void batch_norm_backward(const BatchNormBackward<float>&);
template void batch_norm_backward(const BatchNormBackward<double>&);
template void batch_norm_backward(const BatchNormBackward<bfloat16>&);
template void batch_norm_backward(const BatchNormBackward<float16>&);
template void batch_norm_running(const BatchNormRunning<float>&);
template void batch_norm_running(const BatchNormRunning<double>&);
template void batch_norm_running(const BatchNormRunning<bfloat16>&);
template void batch_norm_running(const BatchNormRunning<float16>&);

}  // namespace lc::cuda
