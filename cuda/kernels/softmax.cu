// softmax, log_softmax on CUDA. Contract and formulas: cpp/ops/softmax.h
// Memory bound: a row is read once for its maximum and sum together, and again, out of a cache, to write y.
#include "cpp/ops/softmax.h"
#include <math.h>
#include "cuda/arch/block.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

// The maximum so far, and the sum of exp(x - max) so far.
template <class T> struct Running {
    T max = -INFINITY, sum = 0;

    __device__ __forceinline__ void add(T x) {
        if (x > max || x != x) {
            sum = sum * ::exp(max - x) + T(1);        // max -inf: sum is 0
            max = x;
        } else if (x > T(-INFINITY)) {
            sum += ::exp(x - max);
        }
    }
};

// A row's maximum and sum from every thread's part of it; NaN anywhere gives a sum of NaN.
template <class T, int threads> __device__ __forceinline__ Running<T> whole(const Group<T, threads>& group, const Running<T>& mine) {
    Running<T> all;
    all.max = group.reduce(mine.max, [](T a, T b) { return a > b || a != a ? a : b; }, T(-INFINITY));
    all.sum = group.sum(mine.sum == T(0) ? T(0) : mine.sum * ::exp(mine.max - all.max));
    return all;
}

template <class T> __device__ __forceinline__ T result(T x, const Running<T>& r, bool log) {
    return log ? x - r.max - ::log(r.sum) : ::exp(x - r.max) / r.sum;
}

// inner = 1: a warp or a block per row.
template <class T, int threads> __global__ __launch_bounds__(kThreads) void rows_kernel(SoftmaxForward<T> p) {
    const Group<T, threads> group{shared_memory<GroupResults<T, threads>>()};
    const int64_t row = int64_t(blockIdx.x) * (kThreads / threads) + (threads == 32 ? warp_id() : 0);
    if (row >= p.outer) return;
    const T* x = p.x + row * p.n;
    Running<T> mine;
    for (int64_t i = group.rank(); i < p.n; i += threads) mine.add(x[i]);
    const Running<T> r = whole<T, threads>(group, mine);
    for (int64_t i = group.rank(); i < p.n; i += threads) p.y[row * p.n + i] = result(x[i], r, p.log);
}
// inner > 1: a thread per column; neighbours read neighbours.
template <class T> __global__ __launch_bounds__(kThreads) void columns_kernel(SoftmaxForward<T> p) {
    const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= p.outer * p.inner) return;
    const int64_t base = at / p.inner * p.n * p.inner + at % p.inner;
    Running<T> r;
    for (int64_t i = 0; i < p.n; ++i) r.add(p.x[base + i * p.inner]);
    for (int64_t i = 0; i < p.n; ++i) p.y[base + i * p.inner] = result(p.x[base + i * p.inner], r, p.log);
}

template <class T> __device__ __forceinline__ T gradient(T dy, T y, T total, bool log) { return log ? dy - ::exp(y) * total : y * (dy - total); }

template <class T, int threads> __global__ __launch_bounds__(kThreads) void rows_backward_kernel(SoftmaxBackward<T> p) {
    const Group<T, threads> group{shared_memory<GroupResults<T, threads>>()};
    const int64_t row = int64_t(blockIdx.x) * (kThreads / threads) + (threads == 32 ? warp_id() : 0);
    if (row >= p.outer) return;
    const int64_t base = row * p.n;
    T total = 0;
    for (int64_t i = group.rank(); i < p.n; i += threads) total += p.log ? p.dy[base + i] : p.dy[base + i] * p.y[base + i];
    total = group.sum(total);
    for (int64_t i = group.rank(); i < p.n; i += threads) p.dx[base + i] = gradient(p.dy[base + i], p.y[base + i], total, p.log);
}
template <class T> __global__ __launch_bounds__(kThreads) void columns_backward_kernel(SoftmaxBackward<T> p) {
    const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= p.outer * p.inner) return;
    const int64_t base = at / p.inner * p.n * p.inner + at % p.inner;
    T total = 0;
    for (int64_t i = 0; i < p.n; ++i) total += p.log ? p.dy[base + i * p.inner] : p.dy[base + i * p.inner] * p.y[base + i * p.inner];
    for (int64_t i = 0; i < p.n; ++i) p.dx[base + i * p.inner] = gradient(p.dy[base + i * p.inner], p.y[base + i * p.inner], total, p.log);
}

// ---- host ---------------------------------------------------------------------------------------------------------------

constexpr int64_t kWarpRow = 1024;                    // longer rows get a block

template <class P> void run(const char* name, const P& p, void (*warps)(P), void (*blocks)(P), void (*columns)(P), int shared) {
    if (p.outer * p.n * p.inner == 0) return;
    if (p.inner > 1) return launch(name, columns, thread_each(p.outer * p.inner, kThreads), p);
    if (p.n <= kWarpRow) return launch(name, warps, {Blocks(div_up(p.outer, kThreads / 32)), dim3(kThreads), shared}, p);
    launch(name, blocks, {Blocks(p.outer), dim3(kThreads), shared}, p);
}

}  // namespace

template <class T> void softmax_forward(const SoftmaxForward<T>& a) {
    run("softmax", a, rows_kernel<T, 32>, rows_kernel<T, kThreads>, columns_kernel<T>, shared_bytes<GroupResults<T, kThreads>>);
}
template <class T> void softmax_backward(const SoftmaxBackward<T>& a) {
    run("softmax_backward", a, rows_backward_kernel<T, 32>, rows_backward_kernel<T, kThreads>, columns_backward_kernel<T>, shared_bytes<GroupResults<T, kThreads>>);
}

template void softmax_forward(const SoftmaxForward<float>&);
template void softmax_forward(const SoftmaxForward<double>&);
template void softmax_backward(const SoftmaxBackward<float>&);
template void softmax_backward(const SoftmaxBackward<double>&);

}  // namespace lc::cuda
