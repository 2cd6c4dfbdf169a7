// layer_norm on CUDA. Contract and formulas: cpp/ops/layer_norm.h
// Memory bound: forward moves 2 * rows * cols elements (4 with a residual), backward 3 (4). A row stays in registers between its walks.
#include "cpp/ops/layer_norm.h"
#include <math.h>
#include "cuda/kernels/row.cuh"

namespace lc::cuda {
namespace {

// ---- device -----------------------------------------------------------------------------------------------------------

template <class T, int threads> __global__ __launch_bounds__(kRowThreads) void forward_kernel(LayerNormForward<T> p, bool packed) {
    using A = acc_t<T>;
    using C = Columns<T, threads>;
    const Group<A, threads> group{shared_memory<GroupResults<A, threads>>()};
    const int64_t row = int64_t(blockIdx.x) * (kRowThreads / threads) + (threads == 32 ? warp_id() : 0);
    if (row >= p.rows) return;
    const C c{p.cols, group.rank(), packed};
    const T* from = (p.residual ? p.sum : p.x) + row * p.cols;      // where the row is read again
    typename C::Values x, w, b;

    A sum = 0;
    c.spans([&](int64_t begin) {
        load_sum(c, p, x, w, row, begin);
        c.each(begin, [&](int k, int64_t) { sum += x[k]; });
    });
    const A base = group.sum(sum) / A(p.cols);
    A deviations = 0, squares = 0;
    c.spans([&](int64_t begin) {
        c.reload(x, from, begin);
        c.each(begin, [&](int k, int64_t) {
            const A d = x[k] - base;
            deviations += d;
            squares += d * d;
        });
    });
    const A rest = group.sum(deviations) / A(p.cols), spread = group.sum(squares) / A(p.cols) - rest * rest;
    const A rstd = A(1) / ::sqrt((spread < A(0) ? A(0) : spread) + p.eps);

    c.spans([&](int64_t begin) {
        c.reload(x, from, begin);
        if (p.w) c.load(w, p.w, begin);
        if (p.b) c.load(b, p.b, begin);
        c.each(begin, [&](int k, int64_t) {
            A h = (x[k] - base - rest) * rstd;
            if (p.w) h *= w[k];
            if (p.b) h += b[k];
            x[k] = h;
        });
        c.store(p.y + row * p.cols, x, begin);
    });
    if (group.rank() > 0) return;
    p.base[row] = base;
    p.rest[row] = rest;
    p.rstd[row] = rstd;
}

// A block has every gridDim-th row, or eight rows; dw and db of its rows are kept beside (ColumnSums).
template <class T, int threads> __global__ __launch_bounds__(kRowThreads) void backward_kernel(LayerNormBackward<T> p, acc_t<T>* parts, bool in_shared, bool packed) {
    using A = acc_t<T>;
    using C = Columns<T, threads>;
    auto& results = shared_memory<GroupResults<A, threads>>();
    const Group<A, threads> group{results};
    const C c{p.cols, group.rank(), packed};
    typename C::Values x, dy, w;
    const bool parameters = parts != nullptr;
    const ColumnSums<T, threads, 2> sums(c, reinterpret_cast<A*>(&results + 1), parts, in_shared, parameters);

    constexpr int kGroups = kRowThreads / threads;
    for (int64_t row = int64_t(blockIdx.x) * kGroups + (threads == 32 ? warp_id() : 0); row < p.rows; row += int64_t(gridDim.x) * kGroups) {
        const T *from = p.x + row * p.cols, *up = p.dy + row * p.cols;
        const A base = p.base[row], rest = p.rest[row], rstd = p.rstd[row];
        A sum_g = 0, sum_gh = 0;
        c.spans([&](int64_t begin) {
            c.load(x, from, begin);
            c.load(dy, up, begin);
            if (p.w) c.load(w, p.w, begin);
            c.each(begin, [&](int k, int64_t) {
                const A g = p.w ? dy[k] * w[k] : dy[k];
                sum_g += g;
                sum_gh += g * ((x[k] - base - rest) * rstd);
            });
        });
        const A mean_g = group.sum(sum_g) / A(p.cols), mean_gh = group.sum(sum_gh) / A(p.cols);
        c.spans([&](int64_t begin) {
            c.reload(x, from, begin);
            c.reload(dy, up, begin);
            if (p.w) c.reload(w, p.w, begin);
            c.each(begin, [&](int k, int64_t i) {
                const A h = (x[k] - base - rest) * rstd, g = p.w ? dy[k] * w[k] : dy[k];
                if (parameters) {
                    sums.at(0, begin, k, i) += dy[k] * h;
                    sums.at(1, begin, k, i) += dy[k];
                }
                x[k] = rstd * (g - mean_g - h * mean_gh);
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

template <class T> void layer_norm_forward(const LayerNormForward<T>& a) {
    if (a.rows * a.cols == 0) return;
    using A = acc_t<T>;
    const RowPlan plan = row_plan(a.rows, a.cols, int(sizeof(A)));
    const auto kernel = plan.warps ? forward_kernel<T, 32> : forward_kernel<T, kRowThreads>;
    launch("layer_norm", kernel, {Blocks(plan.blocks), dim3(kRowThreads), shared_bytes<GroupResults<A, kRowThreads>>}, a, rows_packed<T>(a.cols, a.x, a.w, a.b, a.y, a.residual, a.sum));
}

template <class T> void layer_norm_backward(const LayerNormBackward<T>& a) {
    using A = acc_t<T>;
    if (a.cols == 0) return;
    const RowSumPlan plan = row_sum_plan(a.rows, a.cols, int(sizeof(A)), 2);
    const Scratch<A> parts(a.dw ? 2 * plan.parts * a.cols : 0);
    if (a.rows > 0) {
        const auto kernel = plan.warps ? backward_kernel<T, 32> : backward_kernel<T, kRowThreads>;
        const int64_t shared = shared_bytes<GroupResults<A, kRowThreads>> + (a.dw && plan.shared ? plan.sum_bytes : 0);
        launch("layer_norm_backward", kernel, {Blocks(plan.parts), dim3(kRowThreads), int(shared)}, a, a.dw ? parts.data() : nullptr, plan.shared,
               rows_packed<T>(a.cols, a.x, a.w, a.dy, a.dx, a.dsum));
    }
    if (!a.dw) return;
    sum_parts(parts.data(), plan.parts, a.cols, a.dw);
    sum_parts(parts.data() + plan.parts * a.cols, plan.parts, a.cols, a.db);
}

template void layer_norm_forward(const LayerNormForward<float>&);
template void layer_norm_forward(const LayerNormForward<double>&);
template void layer_norm_forward(const LayerNormForward<bfloat16>&);
template void layer_norm_forward(const LayerNormForward<float16>&);
template void layer_norm_backward(const LayerNormBackward<float>&);
template void layer_norm_backward(const LayerNormBackward<double>&);
template void layer_norm_backward(const LayerNormBackward<bfloat16>&);
template void layer_norm_backward(const LayerNormBackward<float16>&);

}  // namespace lc::cuda
