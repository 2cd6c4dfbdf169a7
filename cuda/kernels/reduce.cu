// reduce on CUDA. Contract: cpp/ops/reduce.h. Memory bound: x is read once.
//
// Threads keep private results over fixed strides, which are then combined in a fixed tree: no atomics, the same bits on
// every run and every GPU (reduce_plan.h).
#include "cpp/ops/reduce.h"
#include <math.h>
#include "cuda/arch/convert.cuh"
#include "cuda/arch/shared.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/reduce_plan.h"

namespace lc::cuda {
namespace {

// ---- device: what is reduced ------------------------------------------------------------------------------------------

template <class A> __device__ __forceinline__ A lowest() {
    if constexpr (std::is_integral_v<A>) return std::is_signed_v<A> ? A(A(1) << (8 * sizeof(A) - 1)) : A(0);
    else return A(-INFINITY);
}
template <class A> __device__ __forceinline__ A highest() {
    if constexpr (std::is_integral_v<A>) return A(~lowest<A>());
    else return A(INFINITY);
}

// A sum of int64 is made of int64, of 16-bit floats of float.
template <class A> struct Reducer {
    ReduceOp op;
    __device__ __forceinline__ A identity() const {
        switch (op) {
            case ReduceOp::prod: return A(1);
            case ReduceOp::max: return lowest<A>();
            case ReduceOp::min: return highest<A>();
            default: return A(0);
        }
    }
    __device__ __forceinline__ A map(A x, A shift) const {
        if constexpr (!std::is_integral_v<A>) {
            switch (op) {
                case ReduceOp::sum_shifted: return x - shift;
                case ReduceOp::sum_squares: return (x - shift) * (x - shift);
                case ReduceOp::sum_abs:
                case ReduceOp::max_abs: return ::fabs(x);
                case ReduceOp::sum_exp: return ::exp(x - shift);
                default: break;
            }
        }
        return x;
    }
    __device__ __forceinline__ A combine(A a, A b) const {
        switch (op) {
            case ReduceOp::prod: return A(a * b);
            case ReduceOp::max:
            case ReduceOp::max_abs: return a > b || a != a ? a : b;          // NaN wins
            case ReduceOp::min: return a < b || a != a ? a : b;
            default: return A(a + b);
        }
    }
    __device__ __forceinline__ A warp(A x) const {
        for (int lanes = 16; lanes > 0; lanes /= 2) x = combine(x, __shfl_xor_sync(kAllLanes, x, lanes));
        return x;
    }
};

template <class T> struct Part {
    ReduceOp op;
    int64_t outer, n, inner, parts, part;
    const T* x;                                       // [outer, n, inner]
    const acc_t<T>* shift;                            // [outer, inner] or null
    acc_t<T>* y;                                      // [outer, parts, inner]
};

template <class T> __global__ __launch_bounds__(kReduceThreads) void warp_rows(Part<T> p) {
    using A = acc_t<T>;
    const Reducer<A> reducer{p.op};
    const int64_t row = int64_t(blockIdx.x) * (kReduceThreads / 32) + warp_id();
    if (row >= p.outer) return;
    const A shift = p.shift ? p.shift[row] : A(0);
    A sum = reducer.identity();
    for (int64_t i = lane_id(); i < p.n; i += 32) sum = reducer.combine(sum, reducer.map(A(widen(p.x[row * p.n + i])), shift));
    sum = reducer.warp(sum);
    if (lane_id() == 0) p.y[row] = sum;
}

template <class T> struct WarpResults {
    acc_t<T> of[kReduceThreads / 32];
};

template <class T> __global__ __launch_bounds__(kReduceThreads) void block_rows(Part<T> p) {
    using A = acc_t<T>;
    auto& results = shared_memory<WarpResults<T>>();
    const Reducer<A> reducer{p.op};
    const int64_t row = int64_t(blockIdx.x) / p.parts, at = int64_t(blockIdx.x) % p.parts, begin = at * p.part;
    const int64_t end = begin + p.part < p.n ? begin + p.part : p.n;
    const A shift = p.shift ? p.shift[row] : A(0);
    A four[4] = {reducer.identity(), reducer.identity(), reducer.identity(), reducer.identity()};   // four loads under way at once
    for (int64_t i = begin + threadIdx.x; i < end; i += 4 * kReduceThreads)
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (i + j * kReduceThreads < end) four[j] = reducer.combine(four[j], reducer.map(A(widen(p.x[row * p.n + i + j * kReduceThreads])), shift));
    const A sum = reducer.warp(reducer.combine(reducer.combine(four[0], four[1]), reducer.combine(four[2], four[3])));
    if (lane_id() == 0) results.of[warp_id()] = sum;
    __syncthreads();                                  // the first warp reads what the others found
    if (warp_id() > 0) return;
    const A all = reducer.warp(lane_id() < kReduceThreads / 32 ? results.of[lane_id()] : reducer.identity());
    if (lane_id() == 0) p.y[row * p.parts + at] = all;
}

template <class T> struct ColumnResults {
    acc_t<T> of[kReduceThreads / 32][32];
};

// Block (columns / 32, part, outer): lane is the column, warps go down.
template <class T> __global__ __launch_bounds__(kReduceThreads) void columns(Part<T> p) {
    using A = acc_t<T>;
    auto& results = shared_memory<ColumnResults<T>>();
    const Reducer<A> reducer{p.op};
    const int64_t strips = (p.inner + 31) / 32, block = int64_t(blockIdx.x);
    const int64_t column = block % strips * 32 + lane_id(), at = block / strips % p.parts, row = block / strips / p.parts;
    const int64_t begin = at * p.part, end = begin + p.part < p.n ? begin + p.part : p.n;
    A sum = reducer.identity();
    if (column < p.inner) {
        const A shift = p.shift ? p.shift[row * p.inner + column] : A(0);
        const T* x = p.x + row * p.n * p.inner + column;
        for (int64_t i = begin + warp_id(); i < end; i += kReduceThreads / 32) sum = reducer.combine(sum, reducer.map(A(widen(x[i * p.inner])), shift));
    }
    results.of[warp_id()][lane_id()] = sum;
    __syncthreads();                                  // the first warp reads what the others found
    if (warp_id() > 0 || column >= p.inner) return;
    for (int w = 1; w < kReduceThreads / 32; ++w) sum = reducer.combine(sum, results.of[w][lane_id()]);
    p.y[(row * p.parts + at) * p.inner + column] = sum;
}

// One warp per result: the first largest (smallest) element and where it is; NaN first.
template <class T> __global__ __launch_bounds__(kReduceThreads) void index_kernel(ReduceIndexForward<T> p) {
    const int64_t result = int64_t(blockIdx.x) * (kReduceThreads / 32) + warp_id();
    if (result >= p.outer * p.inner) return;
    const T* x = p.x + result / p.inner * p.n * p.inner + result % p.inner;
    const auto better = [&](T a, int64_t i, T b, int64_t j) {                // is a at i to be preferred
        const bool a_nan = a != a, b_nan = b != b;
        if (a_nan || b_nan) return a_nan && (!b_nan || i < j);
        if (a == b) return i < j;
        return p.largest ? a > b : a < b;
    };
    int64_t at = lane_id() < p.n ? lane_id() : 0;
    T best = x[at * p.inner];
    for (int64_t i = at + 32; i < p.n; i += 32)
        if (better(x[i * p.inner], i, best, at)) {
            best = x[i * p.inner];
            at = i;
        }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const T other = __shfl_xor_sync(kAllLanes, best, lanes);
        const int64_t j = __shfl_xor_sync(kAllLanes, at, lanes);
        if (better(other, j, best, at)) {
            best = other;
            at = j;
        }
    }
    if (lane_id() > 0) return;
    p.values[result] = best;
    p.indices[result] = at;
}

template <class T> __global__ __launch_bounds__(kReduceThreads) void index_backward_kernel(ReduceIndexBackward<T> p) {
    const int64_t i = int64_t(blockIdx.x) * kReduceThreads + threadIdx.x;
    if (i >= p.outer * p.inner) return;
    p.dx[(i / p.inner * p.n + p.indices[i]) * p.inner + i % p.inner] = p.dy[i];
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T> void run_part(const Part<T>& p, ReducePlan::Schedule schedule) {
    constexpr int kRows = kReduceThreads / 32;
    switch (schedule) {
        case ReducePlan::Schedule::warp_rows: return launch("reduce", warp_rows<T>, {Blocks(div_up(p.outer, kRows)), dim3(kReduceThreads)}, p);
        case ReducePlan::Schedule::block_rows:
            return launch("reduce", block_rows<T>, {Blocks(p.outer * p.parts), dim3(kReduceThreads), shared_bytes<WarpResults<T>>}, p);
        case ReducePlan::Schedule::columns:
            return launch("reduce", columns<T>, {Blocks(p.outer * p.parts * div_up(p.inner, 32)), dim3(kReduceThreads), shared_bytes<ColumnResults<T>>}, p);
    }
}

ReduceOp combiner(ReduceOp op) {                      // what reduces partial results further
    switch (op) {
        case ReduceOp::prod:
        case ReduceOp::max:
        case ReduceOp::min: return op;
        case ReduceOp::max_abs: return ReduceOp::max;
        default: return ReduceOp::sum;
    }
}

}  // namespace

template <class T> void reduce_forward(const ReduceForward<T>& a) {
    using A = acc_t<T>;
    const ReducePlan plan = reduce_plan(a.outer, a.n, a.inner);
    Part<T> p{a.op, a.outer, a.n, a.inner, plan.parts, plan.part, a.x, a.shift, a.y};
    if (plan.parts == 1) return run_part(p, plan.schedule);
    const Scratch<A> scratch(a.outer * plan.parts * a.inner);
    p.y = scratch.data();
    run_part(p, plan.schedule);
    const auto again = a.inner > 1 ? ReducePlan::Schedule::columns : ReducePlan::Schedule::block_rows;
    run_part<A>({combiner(a.op), a.outer, plan.parts, a.inner, 1, plan.parts, scratch.data(), nullptr, a.y}, again);
}
template <class T> void reduce_index_forward(const ReduceIndexForward<T>& a) {
    launch("reduce_index", index_kernel<T>, {Blocks(div_up(a.outer * a.inner, kReduceThreads / 32)), dim3(kReduceThreads)}, a);
}
template <class T> void reduce_index_backward(const ReduceIndexBackward<T>& a) {
    launch("reduce_index_backward", index_backward_kernel<T>, thread_each(a.outer * a.inner, kReduceThreads), a);
}

template void reduce_forward(const ReduceForward<float>&);
template void reduce_forward(const ReduceForward<double>&);
template void reduce_forward(const ReduceForward<bfloat16>&);
template void reduce_forward(const ReduceForward<float16>&);
template void reduce_forward(const ReduceForward<int64_t>&);
template void reduce_forward(const ReduceForward<int32_t>&);
template void reduce_forward(const ReduceForward<uint8_t>&);
template void reduce_index_forward(const ReduceIndexForward<float>&);
template void reduce_index_forward(const ReduceIndexForward<double>&);
template void reduce_index_forward(const ReduceIndexForward<int64_t>&);
template void reduce_index_forward(const ReduceIndexForward<int32_t>&);
template void reduce_index_forward(const ReduceIndexForward<uint8_t>&);
template void reduce_index_backward(const ReduceIndexBackward<float>&);
template void reduce_index_backward(const ReduceIndexBackward<double>&);
template void reduce_index_backward(const ReduceIndexBackward<bfloat16>&);
template void reduce_index_backward(const ReduceIndexBackward<float16>&);

}  // namespace lc::cuda
