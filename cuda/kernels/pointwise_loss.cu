// pointwise_loss on CUDA. Contract and formulas: cpp/ops/pointwise_loss.h
// Memory bound: x and t (and the weights) are read once, a gradient written for each. The kind of loss is chosen at run
// time, the same way by every thread. A sum is made by a block per chunk.
#include "cpp/ops/pointwise_loss.h"
#include <math.h>
#include "cuda/arch/block.cuh"
#include "cuda/arch/check.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device: the math -------------------------------------------------------------------------------------------------

template <class T> __device__ __forceinline__ T sign(T d) { return d > T(0) ? T(1) : d < T(0) ? T(-1)
                                                                                              : d; }
template <class T> __device__ __forceinline__ T at_least(T x, T low) { return x < low ? low : x; }       // NaN stays
template <class T> __device__ __forceinline__ T clamped_log(T x) { return at_least(::log(x), T(-100)); }
template <class T> __device__ __forceinline__ T clamped_log1m(T x) { return at_least(::log1p(-x), T(-100)); }
template <class T> __device__ __forceinline__ T softplus(T x) { return ::log1p(::exp(-::fabs(x))) + at_least(x, T(0)); }

template <class T> __device__ T loss(PointwiseLoss kind, T x, T t, T beta, T p) {
    const T d = x - t, distance = ::fabs(d);
    switch (kind) {
        case PointwiseLoss::mse: return d * d;
        case PointwiseLoss::l1: return distance;
        case PointwiseLoss::smooth_l1: return distance < beta ? T(0.5) * d * d / beta : distance - T(0.5) * beta;
        case PointwiseLoss::huber: return distance <= beta ? T(0.5) * d * d : beta * (distance - T(0.5) * beta);
        case PointwiseLoss::binary_cross_entropy: return -(t * clamped_log(x) + (T(1) - t) * clamped_log1m(x));
        case PointwiseLoss::binary_cross_entropy_with_logits: return (T(1) - t) * x + ((p - T(1)) * t + T(1)) * softplus(-x);
        case PointwiseLoss::kl_div: return (t == T(0) ? T(0) : t * ::log(t)) - t * x;
        case PointwiseLoss::kl_div_log_target: return ::exp(t) * (t - x);
    }
    return T(0);
}

template <class T> __device__ T slope_x(PointwiseLoss kind, T x, T t, T beta, T p) {
    const T d = x - t, distance = ::fabs(d);
    switch (kind) {
        case PointwiseLoss::mse: return d + d;
        case PointwiseLoss::l1: return sign(d);
        case PointwiseLoss::smooth_l1: return distance < beta ? d / beta : sign(d);
        case PointwiseLoss::huber: return distance <= beta ? d : beta * sign(d);
        case PointwiseLoss::binary_cross_entropy: return d / at_least(x * (T(1) - x), T(1e-12));
        case PointwiseLoss::binary_cross_entropy_with_logits: return ((p - T(1)) * t + T(1)) * (T(1) / (T(1) + ::exp(-x))) - p * t;
        case PointwiseLoss::kl_div: return -t;
        case PointwiseLoss::kl_div_log_target: return -::exp(t);
    }
    return T(0);
}

template <class T> __device__ T slope_t(PointwiseLoss kind, T x, T t, T beta, T p) {
    switch (kind) {
        case PointwiseLoss::binary_cross_entropy: return clamped_log1m(x) - clamped_log(x);
        case PointwiseLoss::binary_cross_entropy_with_logits: return (p - T(1)) * softplus(-x) - x;
        case PointwiseLoss::kl_div: return (t == T(0) ? T(0) : ::log(t) + T(1)) - x;
        case PointwiseLoss::kl_div_log_target: return ::exp(t) * (t - x + T(1));
        default: return -slope_x(kind, x, t, beta, p);
    }
}

template <class T> __device__ __forceinline__ T value(const PointwiseLossForward<T>& a, int64_t i) {
    const T x = a.x[i];
    if (a.kind == PointwiseLoss::binary_cross_entropy) require(!(x < T(0) || x > T(1)));
    const T l = loss(a.kind, x, a.t[i], a.beta, a.pos_weight ? a.pos_weight[i] : T(1));
    return a.w ? l * a.w[i] : l;
}

template <class T> __global__ __launch_bounds__(kThreads) void each_kernel(PointwiseLossForward<T> a) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < a.n) a.y[i] = value(a, i);
}

// A block's chunk: 32 elements a thread.
template <class T> __global__ __launch_bounds__(kThreads) void sum_kernel(PointwiseLossForward<T> a) {
    const Group<T, kThreads> group{shared_memory<GroupResults<T, kThreads>>()};
    const int64_t begin = int64_t(blockIdx.x) * kLossChunk, end = begin + kLossChunk < a.n ? begin + kLossChunk : a.n;
    T sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += value(a, i);
    sum = group.sum(sum);
    if (threadIdx.x == 0) a.sums[blockIdx.x] = double(sum);
}

template <class T> __global__ __launch_bounds__(kThreads) void backward_kernel(PointwiseLossBackward<T> a) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= a.n) return;
    const T x = a.x[i], t = a.t[i], p = a.pos_weight ? a.pos_weight[i] : T(1);
    T g = a.g[i * a.g_stride];
    if (a.w) g *= a.w[i];
    if (a.dx) a.dx[i] = g * slope_x(a.kind, x, t, a.beta, p);
    if (a.dt) a.dt[i] = g * slope_t(a.kind, x, t, a.beta, p);
}

}  // namespace

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T> void pointwise_loss_forward(const PointwiseLossForward<T>& a) {
    if (a.n == 0) return;
    if (a.y) return launch("pointwise_loss", each_kernel<T>, thread_each(a.n, kThreads), a);
    launch("pointwise_loss", sum_kernel<T>, {Blocks(div_up(a.n, kLossChunk)), dim3(kThreads), shared_bytes<GroupResults<T, kThreads>>}, a);
}
template <class T> void pointwise_loss_backward(const PointwiseLossBackward<T>& a) {
    if (a.n > 0) launch("pointwise_loss_backward", backward_kernel<T>, thread_each(a.n, kThreads), a);
}

template void pointwise_loss_forward(const PointwiseLossForward<float>&);
template void pointwise_loss_forward(const PointwiseLossForward<double>&);
template void pointwise_loss_backward(const PointwiseLossBackward<float>&);
template void pointwise_loss_backward(const PointwiseLossBackward<double>&);

}  // namespace lc::cuda
