// scan on CUDA. Contract: cpp/ops/scan.h. Memory bound: x is read and y written once.
//
// Lines that stand side by side (tail > 1) have a thread each, and neighbours read neighbours. A line of its own is run
// through by a warp or a block, as many elements at a time as it has threads, in one fixed tree. The gradient of a product
// has a thread for every line: it is one chain of choices.
#include "cpp/ops/scan.h"
#include "cuda/arch/block.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWarpLine = 1024;                   // up to here a line is a warp's

// ---- device -----------------------------------------------------------------------------------------------------------

template <class T> using wider_t = std::conditional_t<std::is_same_v<T, float>, double, acc_t<T>>;
template <class T> __device__ __forceinline__ wider_t<T> wide(T x) { return wider_t<T>(widen(x)); }
template <class T> __device__ __forceinline__ T rounded(wider_t<T> x) { return narrow<T>(acc_t<T>(x)); }

template <class A> struct Running {
    bool product;
    __device__ __forceinline__ A start() const { return product ? A(1) : A(0); }
    __device__ __forceinline__ A operator()(A a, A b) const {
        if constexpr (std::is_same_v<A, int64_t>) return product ? int64_t(uint64_t(a) * uint64_t(b)) : int64_t(uint64_t(a) + uint64_t(b));     // wraps around
        else return product ? a * b : a + b;
    }
};

// Over the group's values up to this thread's; total: of all.
template <class A, int threads> __device__ __forceinline__ A up_to_here(A x, const Running<A>& op, GroupResults<A, threads>& results, A& total) {
    for (int lanes = 1; lanes < 32; lanes *= 2) {
        const A before = __shfl_up_sync(kAllLanes, x, lanes);
        if (lane_id() >= lanes) x = op(before, x);
    }
    if (threads == 32) {
        total = __shfl_sync(kAllLanes, x, 31);
        return x;
    }
    __syncthreads();                                  // the last results have been read
    if (lane_id() == 31) results.of[warp_id()] = x;
    __syncthreads();                                  // all warps' results are there
    A before = total = op.start();
    for (int w = 0; w < threads / 32; ++w) {
        if (w == warp_id()) before = total;
        total = op(total, results.of[w]);
    }
    return op(before, x);
}

// back: from the end.
template <class T, int threads> __global__ __launch_bounds__(kThreads) void line_kernel(const T* x, T* y, int64_t lines, int64_t n, bool product, bool back) {
    using A = wider_t<T>;
    auto& results = shared_memory<GroupResults<A, threads>>();
    const int64_t line = threads == 32 ? int64_t(blockIdx.x) * (kThreads / 32) + warp_id() : int64_t(blockIdx.x);
    if (line >= lines) return;
    const Running<A> op{product};
    const int rank = threads == 32 ? lane_id() : int(threadIdx.x);
    A carry = op.start();
    for (int64_t begin = 0; begin < n; begin += threads) {
        const int64_t i = begin + rank, at = line * n + (back ? n - 1 - i : i);
        A total;
        const A sum = up_to_here<A, threads>(i < n ? wide(x[at]) : op.start(), op, results, total);
        if (i < n) y[at] = rounded<T>(op(carry, sum));
        carry = op(carry, total);
    }
}

template <class T> __global__ __launch_bounds__(kThreads) void column_kernel(const T* x, T* y, ScanShape s, bool product, bool back) {
    using A = wider_t<T>;
    const int64_t line = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (line >= s.lead * s.tail) return;
    const Running<A> op{product};
    const int64_t step = back ? -s.tail : s.tail;
    int64_t at = line / s.tail * s.n * s.tail + line % s.tail + (back ? (s.n - 1) * s.tail : 0);
    A running = op.start();
    for (int64_t i = 0; i < s.n; ++i, at += step) y[at] = rounded<T>(running = op(running, wide(x[at])));
}

template <class T> __global__ __launch_bounds__(kThreads) void product_backward_kernel(ScanBackward<T> a) {
    using A = wider_t<T>;
    const ScanShape s = a.shape;
    const int64_t line = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (line >= s.lead * s.tail) return;
    const int64_t first = line / s.tail * s.n * s.tail + line % s.tail;
    const auto at = [&](int64_t i) { return first + i * s.tail; };
    int64_t zero = 0;                                 // the first x that is 0: y is 0 from there on
    while (zero < s.n && wide(a.x[at(zero)]) != A(0)) ++zero;
    for (int64_t i = s.n - 1; i > zero; --i) a.dx[at(i)] = rounded<T>(A(0));
    if (zero < s.n) {                                 // only here do later terms lack the factor 0
        A rest = wide(a.dy[at(zero)]), product = 1;
        for (int64_t j = zero + 1; j < s.n; ++j) {
            product *= wide(a.x[at(j)]);
            rest += wide(a.dy[at(j)]) * product;
        }
        a.dx[at(zero)] = rounded<T>(zero > 0 ? rest * wide(a.y[at(zero - 1)]) : rest);
    }
    A sum = 0;
    for (int64_t i = zero - 1; i >= 0; --i) {
        sum += wide(a.dy[at(i)]) * wide(a.y[at(i)]);
        a.dx[at(i)] = rounded<T>(sum / wide(a.x[at(i)]));
    }
}

// ---- host -------------------------------------------------------------------------------------------------------------

template <class T> void run(const char* name, const T* x, T* y, const ScanShape& s, bool product, bool back) {
    using A = wider_t<T>;
    if (s.lead * s.n * s.tail == 0) return;
    if (s.tail > 1) return launch(name, column_kernel<T>, thread_each(s.lead * s.tail, kThreads), x, y, s, product, back);
    Grid grid = thread_each(s.lead * 32, kThreads);
    grid.shared_bytes = shared_bytes<GroupResults<A, kThreads>>;
    if (s.n <= kWarpLine) return launch(name, line_kernel<T, 32>, grid, x, y, s.lead, s.n, product, back);
    grid.blocks = Blocks(s.lead);
    launch(name, line_kernel<T, kThreads>, grid, x, y, s.lead, s.n, product, back);
}

}  // namespace

template <class T> void scan_forward(const ScanForward<T>& a) { run("scan", a.x, a.y, a.shape, a.shape.product, false); }

template <class T> void scan_backward(const ScanBackward<T>& a) {
    if (!a.shape.product) return run("scan_backward", a.dy, a.dx, a.shape, false, true);
    if (a.shape.lead * a.shape.n * a.shape.tail > 0) launch("scan_backward", product_backward_kernel<T>, thread_each(a.shape.lead * a.shape.tail, kThreads), a);
}

template void scan_forward(const ScanForward<float>&);
template void scan_forward(const ScanForward<double>&);
template void scan_forward(const ScanForward<bfloat16>&);
template void scan_forward(const ScanForward<float16>&);
template void scan_forward(const ScanForward<int64_t>&);
template void scan_backward(const ScanBackward<float>&);
template void scan_backward(const ScanBackward<double>&);
template void scan_backward(const ScanBackward<bfloat16>&);
template void scan_backward(const ScanBackward<float16>&);

}  // namespace lc::cuda
