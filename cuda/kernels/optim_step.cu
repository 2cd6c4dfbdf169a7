// Optimizer steps and gradient norms on CUDA. Math: cpp/ops/optim_step.h
// Memory bound: a step reads and writes the parameter and its state once and reads the gradient once. A launch takes some
// fifty tensors, whose addresses lie in its arguments: nothing is copied to the device, and small tensors share a launch.
#include "cpp/ops/optim_step.h"
#include <math.h>
#include "cuda/arch/block.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/optim_step_plan.h"
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

// ---- device: the tensors of a launch ------------------------------------------------------------------------------------

template <class T> struct Batch {
    OptimChunk<T> tensor[kOptimTensors];
    int32_t first_block[kOptimTensors + 1];
    int32_t count;
    uint64_t packed;                                  // a bit each: all its arrays can be read four elements at a time
};
static_assert(sizeof(Batch<double>) <= 4096 - 128, "arguments of a kernel end at 4096 bytes");

struct Piece {
    int tensor;
    int64_t begin, end;
};
template <class T> __device__ __forceinline__ Piece piece_of(const Batch<T>& b) {
    int low = 0, high = b.count;                      // the last tensor that begins at this block or before
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (b.first_block[middle] <= int(blockIdx.x)) low = middle;
        else high = middle;
    }
    const int64_t begin = int64_t(int(blockIdx.x) - b.first_block[low]) * kOptimPiece, n = b.tensor[low].n;
    return {low, begin, begin + kOptimPiece < n ? begin + kOptimPiece : n};
}

template <class T> struct Element {
    acc_t<T> p, g, state[3];
};
template <class A, class T> __device__ __forceinline__ void load_four(A (&to)[4], const T* from, int64_t i, int count) {
    if (!from) return;
    if (count == 4) {
        const Vec<T, 4> v = *reinterpret_cast<const Vec<T, 4>*>(from + i);
        for (int e = 0; e < 4; ++e) to[e] = A(widen(v.x[e]));
    } else {
        to[0] = A(widen(from[i]));
    }
}
template <class A, class T> __device__ __forceinline__ void store_four(T* to, const A (&from)[4], int64_t i, int count) {
    if (!to) return;
    if (count == 4) {
        Vec<T, 4> v;
        for (int e = 0; e < 4; ++e) v.x[e] = narrow<T>(from[e]);
        *reinterpret_cast<Vec<T, 4>*>(to + i) = v;
    } else {
        to[i] = narrow<T>(from[0]);
    }
}

// step(element, tensor) for every element, four of a thread at once where that is possible, else one.
template <class T, class F> __global__ __launch_bounds__(kOptimThreads, sizeof(T) == 8 ? 2 : 4) void step_kernel(const __grid_constant__ Batch<T> b, F step) {
    using A = acc_t<T>;
    const Piece at = piece_of(b);
    const OptimChunk<T>& c = b.tensor[at.tensor];
    const bool packed = b.packed >> at.tensor & 1;
    const auto update = [&](int64_t i, int count) {
        A p[4] = {}, g[4] = {}, state[3][4] = {};
        if (c.master) load_four(p, c.master, i, count);
        else load_four(p, c.p, i, count);
        load_four(g, c.g, i, count);
#pragma unroll
        for (int s = 0; s < 3; ++s) load_four(state[s], c.state[s], i, count);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            if (e >= count) break;
            Element<T> x{p[e], g[e], {state[0][e], state[1][e], state[2][e]}};
            step(x, c);
            p[e] = x.p;
            for (int s = 0; s < 3; ++s) state[s][e] = x.state[s];
        }
#pragma unroll
        for (int s = 0; s < 3; ++s) store_four(c.state[s], state[s], i, count);
        store_four(c.master, p, i, count);
        store_four(c.p, p, i, count);
    };
    const int64_t fours = packed ? at.begin + (at.end - at.begin) / 4 * 4 : at.begin;
#pragma unroll 1
    for (int64_t i = at.begin + 4 * int64_t(threadIdx.x); i < fours; i += 4 * kOptimThreads) update(i, 4);
#pragma unroll 1
    for (int64_t i = fours + threadIdx.x; i < at.end; i += kOptimThreads) update(i, 1);
}

// ---- device: the steps ----------------------------------------------------------------------------------------------------

template <class A> __device__ __forceinline__ A gradient(A g, A p, A decay, bool maximize) {
    if (maximize) g = -g;
    return decay != A(0) ? ::fma(decay, p, g) : g;
}

template <class T> struct Sgd {
    using A = acc_t<T>;
    A lr, momentum, weight_decay;
    bool nesterov, maximize;
    __device__ __forceinline__ void operator()(Element<T>& x, const OptimChunk<T>& c) const {
        const A g = gradient(x.g, x.p, weight_decay, maximize);
        A d = g;
        if (c.state[0]) {
            x.state[0] = ::fma(c.scale, x.state[0], c.shrink * g);
            d = nesterov ? ::fma(momentum, x.state[0], g) : x.state[0];
        }
        x.p = ::fma(-lr, d, x.p);
    }
};
template <class T> struct Adam {
    using A = acc_t<T>;
    A lr, one_minus_beta1, beta2, one_minus_beta2, weight_decay;
    bool decoupled, maximize;
    __device__ __forceinline__ void operator()(Element<T>& x, const OptimChunk<T>& c) const {
        const A g = gradient(x.g, x.p, decoupled ? A(0) : weight_decay, maximize);
        if (decoupled && weight_decay != A(0)) x.p = x.p * (A(1) - lr * weight_decay);
        const A m = x.state[0] = ::fma(one_minus_beta1, g - x.state[0], x.state[0]);
        A v = x.state[1] = ::fma(one_minus_beta2, g * g, beta2 * x.state[1]);
        if (c.state[2]) v = x.state[2] = v > x.state[2] || v != v ? v : x.state[2];
        x.p = x.p - c.scale * m / (::sqrt(v) + c.shrink);
    }
};
template <class T> struct Rmsprop {
    using A = acc_t<T>;
    A lr, alpha, one_minus_alpha, eps, momentum, weight_decay;
    bool maximize;
    __device__ __forceinline__ void operator()(Element<T>& x, const OptimChunk<T>& c) const {
        const A g = gradient(x.g, x.p, weight_decay, maximize);
        A v = x.state[0] = ::fma(one_minus_alpha, g * g, alpha * x.state[0]);
        if (c.state[2]) {
            const A m = x.state[2] = ::fma(one_minus_alpha, g - x.state[2], x.state[2]);
            v = v - m * m;
        }
        A d = g / (::sqrt(v) + eps);
        if (c.state[1]) d = x.state[1] = ::fma(momentum, x.state[1], d);
        x.p = ::fma(-lr, d, x.p);
    }
};

// ---- device: norms ----------------------------------------------------------------------------------------------------------

__device__ __forceinline__ double combined(int order, double a, double b) { return order ? a + b : b > a || b != b ? b
                                                                                                                   : a; }

// The sum (or maximum) of each block's piece; a thread's own part of it is short enough for its accumulating type.
template <class T> __global__ __launch_bounds__(kOptimThreads) void norm_kernel(const __grid_constant__ Batch<T> b, int order, double* parts) {
    using A = acc_t<T>;
    const Group<double, kOptimThreads> group{shared_memory<GroupResults<double, kOptimThreads>>()};
    const Piece at = piece_of(b);
    const T* g = b.tensor[at.tensor].g;
    A mine = 0;
    for (int64_t i = at.begin + threadIdx.x; i < at.end; i += kOptimThreads) {
        const A x = ::fabs(widen(g[i]));
        if (order == 0) mine = x > mine || x != x ? x : mine;
        else mine = order == 2 ? ::fma(x, x, mine) : mine + x;
    }
    const double sum = group.reduce(double(mine), [&](double x, double y) { return combined(order, x, y); }, 0.0);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
__global__ __launch_bounds__(kOptimThreads) void add_parts_kernel(const double* parts, int64_t count, int order, double* sum) {
    const Group<double, kOptimThreads> group{shared_memory<GroupResults<double, kOptimThreads>>()};
    double mine = 0;
    for (int64_t i = threadIdx.x; i < count; i += kOptimThreads) mine = combined(order, mine, parts[i]);
    const double all = group.reduce(mine, [&](double x, double y) { return combined(order, x, y); }, 0.0);
    if (threadIdx.x == 0) *sum = combined(order, *sum, all);
}
template <class T> __global__ __launch_bounds__(1) void finish_kernel(NormFinish<T> a) { *a.norm = T(a.order == 2 ? ::sqrt(*a.sum) : *a.sum); }

template <class T> struct Clip {
    const float* norm32;
    const double* norm64;
    double max_norm;
    __device__ __forceinline__ void operator()(Element<T>& x, const OptimChunk<T>&) const {
        const double factor = norm32 ? double(float(max_norm) / (*norm32 + 1e-6f)) : max_norm / (*norm64 + 1e-6);
        if (!(factor >= 1.0)) x.p *= acc_t<T>(factor);                       // a NaN goes on, and shows
    }
};

// ---- host ---------------------------------------------------------------------------------------------------------------------

template <class T> bool can_pack(const OptimChunk<T>& c) {
    using A = acc_t<T>;
    bool yes = aligned(c.p, 4 * int(sizeof(T))) && aligned(c.g, 4 * int(sizeof(T))) && aligned(c.master, 4 * int(sizeof(A)));
    for (const A* s : c.state) yes = yes && aligned(s, 4 * int(sizeof(A)));
    return yes;
}

// f(batch, blocks) for as many launches as the list needs.
template <class T, class F> void batches(const OptimList<T>& list, F&& f) {
    Batch<T> b{};
    int64_t blocks = 0;
    const auto flush = [&] {
        if (b.count == 0) return;
        b.first_block[b.count] = int32_t(blocks);
        f(b, blocks);
        b.count = 0;
        b.packed = 0;
        blocks = 0;
    };
    for (int64_t i = 0; i < list.count; ++i) {
        b.tensor[b.count] = list.chunks[i];
        b.first_block[b.count] = int32_t(blocks);
        b.packed |= uint64_t(can_pack(list.chunks[i])) << b.count;
        blocks += optim_blocks(list.chunks[i].n);
        if (++b.count == kOptimTensors) flush();
    }
    flush();
}
template <class T, class F> void run(const char* name, const OptimList<T>& list, const F& step) {
    batches(list, [&](const Batch<T>& b, int64_t blocks) { launch(name, step_kernel<T, F>, {Blocks(blocks), dim3(kOptimThreads)}, b, step); });
}

}  // namespace

template <class T> void sgd_step(const SgdStep<T>& a) { run("sgd_step", a.list, Sgd<T>{a.lr, a.momentum, a.weight_decay, a.nesterov, a.maximize}); }
template <class T> void adam_step(const AdamStep<T>& a) {
    run("adam_step", a.list, Adam<T>{a.lr, a.one_minus_beta1, a.beta2, a.one_minus_beta2, a.weight_decay, a.decoupled, a.maximize});
}
template <class T> void rmsprop_step(const RmspropStep<T>& a) {
    run("rmsprop_step", a.list, Rmsprop<T>{a.lr, a.alpha, a.one_minus_alpha, a.eps, a.momentum, a.weight_decay, a.maximize});
}
template <class T> void clip_gradients(const ClipGradients<T>& a) { run("clip_by_norm_", a.list, Clip<T>{a.norm32, a.norm64, a.max_norm}); }
template <class T> void norm_sum(const NormSum<T>& a) {
    constexpr int kShared = shared_bytes<GroupResults<double, kOptimThreads>>;
    batches(a.list, [&](const Batch<T>& b, int64_t blocks) {
        const Scratch<double> parts(blocks);
        launch("total_norm", norm_kernel<T>, {Blocks(blocks), dim3(kOptimThreads), kShared}, b, a.order, parts.data());
        launch("total_norm", add_parts_kernel, {Blocks(1), dim3(kOptimThreads), kShared}, parts.data(), blocks, a.order, a.sum);
    });
}
template <class T> void norm_finish(const NormFinish<T>& a) { launch("total_norm", finish_kernel<T>, {Blocks(1), dim3(1)}, a); }

#define LC_INSTANTIATE(T) \
    template void sgd_step(const SgdStep<T>&); \
    template void adam_step(const AdamStep<T>&); \
    template void rmsprop_step(const RmspropStep<T>&); \
    template void norm_sum(const NormSum<T>&); \
    template void clip_gradients(const ClipGradients<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
LC_INSTANTIATE(bfloat16)
LC_INSTANTIATE(float16)
#undef LC_INSTANTIATE
template void norm_finish(const NormFinish<float>&);
template void norm_finish(const NormFinish<double>&);

}  // namespace lc::cuda
