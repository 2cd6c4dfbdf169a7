// cross_entropy on CUDA. Contract and formulas: cpp/ops/cross_entropy.h
// Memory bound: forward reads x once, backward reads x and writes dx. Smoothing and class probabilities read x again.
#include "cpp/ops/cross_entropy.h"
#include <math.h>
#include "cuda/arch/check.cuh"
#include "cuda/kernels/row.cuh"

namespace lc::cuda {
namespace {

// ---- device: a row's pieces -------------------------------------------------------------------------------------------

// The maximum so far, and the sum of exp(x - max) so far. NaN is no maximum but makes the sum one.
template <class A> struct Running {
    A max = -INFINITY, sum = 0;

    __device__ __forceinline__ void raise(A larger) {
        if (!(larger > max)) return;
        sum *= ::exp(max - larger);
        max = larger;
    }
    __device__ __forceinline__ A shift() const { return max == A(-INFINITY) ? A(0) : max; }      // nothing but -inf adds nothing
};
template <class A, int threads> __device__ __forceinline__ Running<A> whole(const Group<A, threads>& group, const Running<A>& mine) {
    Running<A> all;
    all.max = group.reduce(mine.max, [](A a, A b) { return a > b ? a : b; }, A(-INFINITY));
    all.sum = group.sum(mine.sum == A(0) ? A(0) : mine.sum * ::exp(mine.max - all.max));
    return all;
}

template <class T> struct Factors {
    using A = acc_t<T>;
    const CrossEntropyProblem<T>& p;

    __device__ __forceinline__ bool soft() const { return p.probability || p.smoothing > A(0); }      // every class has its share of the loss
    __device__ __forceinline__ A keep() const { return A(1) - p.smoothing; }
    __device__ __forceinline__ A spread() const { return p.smoothing / A(p.n); }
    __device__ __forceinline__ A weight(int64_t c) const { return p.weight ? widen(p.weight[c]) : A(1); }
    // The factor of L[c] that comes from no class index; `at` is c's place in x.
    __device__ __forceinline__ A share(int64_t c, int64_t at) const {
        return weight(c) * (p.probability ? keep() * widen(p.probability[at]) + spread() : spread());
    }
    __device__ __forceinline__ bool ignored(int64_t row) const { return p.index && p.index[row] == p.ignore_index; }
    __device__ __forceinline__ int64_t target(int64_t row) const {
        const int64_t t = p.index[row];
        require(t >= 0 && t < p.n);
        return t;
    }
    __device__ __forceinline__ A hard(int64_t row) const { return p.index ? keep() * weight(target(row)) : A(0); }
    // dx at class c, of a row whose maximum is taken off and whose factors, times g over its sum, are `scale` together.
    __device__ __forceinline__ A slope(int64_t c, int64_t at, int64_t target, A shifted, A scale, A g, A hard) const {
        A d = ::exp(shifted) * scale;
        if (soft()) d -= g * share(c, at);
        return c == target ? d - g * hard : d;
    }
};

template <class T> __device__ __forceinline__ acc_t<T> incoming(const CrossEntropyBackward<T>& a, int64_t row) {
    const acc_t<T> g = widen(a.g[row * a.g_stride]);
    return a.total ? acc_t<T>(double(g) / *a.total) : g;
}

// ---- device: classes adjacent, a warp or a block per row -----------------------------------------------------------------

// What only label smoothing, class probabilities or their gradient need reads x anew, a column at a time: registers hold the
// common case alone.
template <class T, int threads> __global__ __launch_bounds__(kRowThreads) void forward_rows(CrossEntropyForward<T> a, bool packed) {
    using A = acc_t<T>;
    using C = Columns<T, threads>;
    const auto& p = a.problem;
    const Factors<T> f{p};
    const Group<A, threads> group{shared_memory<GroupResults<A, threads>>()};
    const int64_t row = int64_t(blockIdx.x) * (kRowThreads / threads) + (threads == 32 ? warp_id() : 0);
    if (row >= p.outer) return;
    const C c{p.n, group.rank(), packed};
    const T* from = p.x + row * p.n;
    typename C::Values x;

    Running<A> mine;
    c.spans([&](int64_t begin) {
        c.load(x, from, begin);
        A larger = -INFINITY;
        c.each(begin, [&](int k, int64_t) { larger = x[k] > larger ? x[k] : larger; });
        mine.raise(larger);
        c.each(begin, [&](int k, int64_t) { mine.sum += ::exp(x[k] - mine.shift()); });
    });
    const Running<A> r = whole<A, threads>(group, mine);
    const A log_s = ::log(r.sum);
    A loss = 0;
    if (f.soft() && !f.ignored(row)) {
#pragma unroll 1
        for (int64_t i = group.rank(); i < p.n; i += threads) loss += f.share(i, row * p.n + i) * (log_s - (widen(from[i]) - r.max));
        loss = group.sum(loss);
    }
    if (group.rank() > 0) return;
    if (p.index && !f.ignored(row)) loss += f.hard(row) * (log_s - (widen(from[f.target(row)]) - r.max));
    a.max[row] = r.max;
    a.sum[row] = r.sum;
    a.loss[row] = loss;
}

template <class T, int threads> __global__ __launch_bounds__(kRowThreads) void backward_rows(CrossEntropyBackward<T> a, bool packed) {
    using A = acc_t<T>;
    using C = Columns<T, threads>;
    const auto& p = a.problem;
    const Factors<T> f{p};
    const Group<A, threads> group{shared_memory<GroupResults<A, threads>>()};
    const int64_t row = int64_t(blockIdx.x) * (kRowThreads / threads) + (threads == 32 ? warp_id() : 0);
    if (row >= p.outer) return;
    const T* from = p.x + row * p.n;
    const bool ignored = f.ignored(row);
    const A g = ignored ? A(0) : incoming(a, row), hard = ignored ? A(0) : f.hard(row), max = a.max[row];
    const int64_t target = p.index && !ignored ? f.target(row) : -1;

    if (f.soft() || a.dprobability) {
        A total = 0;                                  // of all factors
#pragma unroll 1
        for (int64_t i = group.rank(); i < p.n && f.soft(); i += threads) total += f.share(i, row * p.n + i);
        total = group.sum(total) + hard;
        const A scale = g * total / a.sum[row], log_s = ::log(a.sum[row]);
#pragma unroll 1
        for (int64_t i = group.rank(); i < p.n; i += threads) {
            const A shifted = widen(from[i]) - max;
            if (a.dprobability) a.dprobability[row * p.n + i] = narrow<T>(g * f.keep() * f.weight(i) * (log_s - shifted));
            if (a.dx) a.dx[row * p.n + i] = narrow<T>(ignored ? A(0) : f.slope(i, row * p.n + i, target, shifted, scale, g, hard));
        }
        return;
    }
    const C c{p.n, group.rank(), packed};
    typename C::Values x;
    const A scale = g * hard / a.sum[row];
    c.spans([&](int64_t begin) {
        c.load(x, from, begin);
        c.each(begin, [&](int k, int64_t i) { x[k] = ignored ? A(0) : ::exp(x[k] - max) * scale - (i == target ? g * hard : A(0)); });
        c.store(a.dx + row * p.n, x, begin);
    });
}

// ---- device: classes `inner` apart, a thread per row; neighbours read neighbours ------------------------------------------

template <class T> __global__ __launch_bounds__(kRowThreads) void forward_columns(CrossEntropyForward<T> a) {
    using A = acc_t<T>;
    const auto& p = a.problem;
    const Factors<T> f{p};
    const int64_t row = int64_t(blockIdx.x) * kRowThreads + threadIdx.x;
    if (row >= p.outer * p.inner) return;
    const int64_t base = row / p.inner * p.n * p.inner + row % p.inner;
    Running<A> r;
    for (int64_t c = 0; c < p.n; ++c) {
        const A x = widen(p.x[base + c * p.inner]);
        r.raise(x);
        r.sum += ::exp(x - r.shift());
    }
    const A log_s = ::log(r.sum);
    A loss = 0;
    if (f.soft() && !f.ignored(row))
        for (int64_t c = 0; c < p.n; ++c) loss += f.share(c, base + c * p.inner) * (log_s - (widen(p.x[base + c * p.inner]) - r.max));
    if (p.index && !f.ignored(row)) loss += f.hard(row) * (log_s - (widen(p.x[base + f.target(row) * p.inner]) - r.max));
    a.max[row] = r.max;
    a.sum[row] = r.sum;
    a.loss[row] = loss;
}

template <class T> __global__ __launch_bounds__(kRowThreads) void backward_columns(CrossEntropyBackward<T> a) {
    using A = acc_t<T>;
    const auto& p = a.problem;
    const Factors<T> f{p};
    const int64_t row = int64_t(blockIdx.x) * kRowThreads + threadIdx.x;
    if (row >= p.outer * p.inner) return;
    const int64_t base = row / p.inner * p.n * p.inner + row % p.inner;
    const bool ignored = f.ignored(row);
    const A g = ignored ? A(0) : incoming(a, row), hard = ignored ? A(0) : f.hard(row);
    A total = hard;
    if (f.soft())
        for (int64_t c = 0; c < p.n; ++c) total += f.share(c, base + c * p.inner);
    const A max = a.max[row], scale = g * total / a.sum[row], log_s = ::log(a.sum[row]);
    const int64_t target = p.index && !ignored ? f.target(row) : -1;
    for (int64_t c = 0; c < p.n; ++c) {
        const int64_t at = base + c * p.inner;
        const A shifted = widen(p.x[at]) - max;
        if (a.dprobability) a.dprobability[at] = narrow<T>(g * f.keep() * f.weight(c) * (log_s - shifted));
        if (a.dx) a.dx[at] = narrow<T>(ignored ? A(0) : f.slope(c, at, target, shifted, scale, g, hard));
    }
}

// ---- device: the reduction of the rows' losses, one block ------------------------------------------------------------------

template <class T> __global__ __launch_bounds__(kRowThreads) void total_kernel(CrossEntropyTotal<T> a) {
    const Group<double, kRowThreads> group{shared_memory<GroupResults<double, kRowThreads>>()};
    double loss = 0, counted = 0;
    for (int64_t r = threadIdx.x; r < a.rows; r += kRowThreads) {
        loss += double(a.loss[r]);
        if (a.index && a.index[r] == a.ignore_index) continue;
        counted += a.index && a.weight ? double(widen(a.weight[a.index[r]])) : 1.0;
    }
    loss = group.sum(loss);
    counted = group.sum(counted);
    if (threadIdx.x > 0) return;
    const double total = a.mean ? counted : 1.0;
    *a.total = total;
    *a.y = narrow<T>(acc_t<T>(loss / total));
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class P, class T> void run(const char* name, const P& a, const CrossEntropyProblem<T>& p, void (*warps)(P, bool), void (*blocks)(P, bool), void (*columns)(P), bool packed) {
    const int64_t rows = p.outer * p.inner;
    if (rows * p.n == 0) return;
    if (p.inner > 1) return launch(name, columns, thread_each(rows, kRowThreads), a);
    const RowPlan plan = row_plan(rows, p.n, int(sizeof(acc_t<T>)));
    launch(name, plan.warps ? warps : blocks, {Blocks(plan.blocks), dim3(kRowThreads), shared_bytes<GroupResults<acc_t<T>, kRowThreads>>}, a, packed);
}

}  // namespace

template <class T> void cross_entropy_forward(const CrossEntropyForward<T>& a) {
    run("cross_entropy", a, a.problem, forward_rows<T, 32>, forward_rows<T, kRowThreads>, forward_columns<T>, rows_packed<T>(a.problem.n, a.problem.x));
}
template <class T> void cross_entropy_backward(const CrossEntropyBackward<T>& a) {
    run("cross_entropy_backward", a, a.problem, backward_rows<T, 32>, backward_rows<T, kRowThreads>, backward_columns<T>, rows_packed<T>(a.problem.n, a.problem.x, a.dx));
}
template <class T> void cross_entropy_total(const CrossEntropyTotal<T>& a) {
    launch("cross_entropy", total_kernel<T>, {Blocks(1), dim3(kRowThreads), shared_bytes<GroupResults<double, kRowThreads>>}, a);
}

#define LC_INSTANTIATE(T) \
    template void cross_entropy_forward(const CrossEntropyForward<T>&); \
    template void cross_entropy_backward(const CrossEntropyBackward<T>&); \
    template void cross_entropy_total(const CrossEntropyTotal<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
LC_INSTANTIATE(bfloat16)
LC_INSTANTIATE(float16)
#undef LC_INSTANTIATE

}  // namespace lc::cuda
