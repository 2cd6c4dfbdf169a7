// rms_norm on CUDA. Contract and formulas: cpp/ops/rms_norm.h
// Memory bound: forward moves 2 * rows * cols elements (4 with a residual), backward 3 (4). A row stays in registers between its walks.
#include "cpp/ops/rms_norm.h"
#include <math.h>
#include "cuda/kernels/row.cuh"

namespace lc::cuda {
namespace {

// ---- device -----------------------------------------------------------------------------------------------------------

template <class T, int threads> __global__ __launch_bounds__(kRowThreads) void forward_kernel(RmsNormForward<T> p, bool packed) {
    using A = acc_t<T>;
    using C = Columns<T, threads>;
    const Group<A, threads> group{shared_memory<GroupResults<A, threads>>()};
    const int64_t row = int64_t(blockIdx.x) * (kRowThreads / threads) + (threads == 32 ? warp_id() : 0);
    if (row >= p.rows) return;
    const C c{p.cols, group.rank(), packed};
    const T* from = (p.residual ? p.sum : p.x) + row * p.cols;      // where the row is read again
    typename C::Values x, w;

    A squares = 0;
    c.spans([&](int64_t begin) {
        load_sum(c, p, x, w, row, begin);
        c.each(begin, [&](int k, int64_t) { squares += x[k] * x[k]; });
    });
    const A rstd = A(1) / ::sqrt(group.sum(squares) / A(p.cols) + p.eps);
    c.spans([&](int64_t begin) {
        c.reload(x, from, begin);
        if (p.w) c.load(w, p.w, begin);
        c.each(begin, [&](int k, int64_t) { x[k] = p.w ? x[k] * rstd * w[k] : x[k] * rstd; });
        c.store(p.y + row * p.cols, x, begin);
    });
    if (group.rank() == 0) p.rstd[row] = rstd;
}

// A block has every gridDim-th row, or eight rows; dw of its rows is kept beside (ColumnSums).
template <class T, int threads> __global__ __launch_bounds__(kRowThreads) void backward_kernel(RmsNormBackward<T> p, acc_t<T>* parts, bool in_shared, bool packed) {
    using A = acc_t<T>;
    using C = Columns<T, threads>;
    auto& results = shared_memory<GroupResults<A, threads>>();
    const Group<A, threads> group{results};
    const C c{p.cols, group.rank(), packed};
    typename C::Values x, dy, w;
    const bool parameters = parts != nullptr;
    const ColumnSums<T, threads, 1> sums(c, reinterpret_cast<A*>(&results + 1), parts, in_shared, parameters);

    constexpr int kGroups = kRowThreads / threads;
    for (int64_t row = int64_t(blockIdx.x) * kGroups + (threads == 32 ? warp_id() : 0); row < p.rows; row += int64_t(gridDim.x) * kGroups) {
        const T *from = p.x + row * p.cols, *up = p.dy + row * p.cols;
        const A rstd = p.rstd[row];
        A sum_gh = 0;
        c.spans([&](int64_t begin) {
            c.load(x, from, begin);
            c.load(dy, up, begin);
            if (p.w) c.load(w, p.w, begin);
            c.each(begin, [&](int k, int64_t) { sum_gh += (p.w ? dy[k] * w[k] : dy[k]) * (x[k] * rstd); });
        });
        const A mean_gh = group.sum(sum_gh) / A(p.cols);
        c.spans([&](int64_t begin) {
            c.reload(x, from, begin);
            c.reload(dy, up, begin);
            if (p.w) c.reload(w, p.w, begin);
            c.each(begin, [&](int k, int64_t i) {
                const A h = x[k] * rstd, g = p.w ? dy[k] * w[k] : dy[k];
                if (parameters) sums.at(0, begin, k, i) += dy[k] * h;
                x[k] = rstd * (g - h * mean_gh);
            });
            if (p.dsum) {
                c.load(dy, p.dsum + row * p.cols, begin);
                c.each(begin, [&](int k, int64_t) { x[k] += dy[k]; });
            }
            c.store(p.dx + row * p.cols, x, begin);
        });
    }
    sums.finish();
}

}  // namespace

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T> void rms_norm_forward(const RmsNormForward<T>& a) {
    if (a.rows * a.cols == 0) return;
    using A = acc_t<T>;
    const RowPlan plan = row_plan(a.rows, a.cols, int(sizeof(A)));
    const auto kernel = plan.warps ? forward_kernel<T, 32> : forward_kernel<T, kRowThreads>;
    launch("rms_norm", kernel, {Blocks(plan.blocks), dim3(kRowThreads), shared_bytes<GroupResults<A, kRowThreads>>}, a, rows_packed<T>(a.cols, a.x, a.w, a.y, a.residual, a.sum));
}

template <class T> void rms_norm_backward(const RmsNormBackward<T>& a) {
    using A = acc_t<T>;
    if (a.cols == 0) return;
    const RowSumPlan plan = row_sum_plan(a.rows, a.cols, int(sizeof(A)), 1);
    const Scratch<A> parts(a.dw ? plan.parts * a.cols : 0);
    if (a.rows > 0) {
        const auto kernel = plan.warps ? backward_kernel<T, 32> : backward_kernel<T, kRowThreads>;
        const int64_t shared = shared_bytes<GroupResults<A, kRowThreads>> + (a.dw && plan.shared ? plan.sum_bytes : 0);
        launch("rms_norm_backward", kernel, {Blocks(plan.parts), dim3(kRowThreads), int(shared)}, a, a.dw ? parts.data() : nullptr, plan.shared,
               rows_packed<T>(a.cols, a.x, a.w, a.dy, a.dx, a.dsum));
    }
    if (a.dw) sum_parts(parts.data(), plan.parts, a.cols, a.dw);
}

template void rms_norm_forward(const RmsNormForward<float>&);
template void rms_norm_forward(const RmsNormForward<double>&);
template void rms_norm_forward(const RmsNormForward<bfloat16>&);
template void rms_norm_forward(const RmsNormForward<float16>&);
template void rms_norm_backward(const RmsNormBackward<float>&);
template void rms_norm_backward(const RmsNormBackward<double>&);
template void rms_norm_backward(const RmsNormBackward<bfloat16>&);
template void rms_norm_backward(const RmsNormBackward<float16>&);

}  // namespace lc::cuda
