// gather: along one dim, every element has an index of its own. Members: gather, take_along_dim, scatter, scatter_add.
//
//   gather        y[l, i, t] = x[l, index[l, i, t], t]
//     backward    dx = 0, then dx[l, index[l, i, t], t] += dy[l, i, t] for i in order
//   scatter       y = x, then y[l, index[l, i, t], t] = src[l, i, t]      where indices repeat the last i stays
//     backward    dx = dy, 0 where overwritten;  dsrc[l, i, t] = dy[l, index[l, i, t], t], 0 where it did not stay
//   scatter_add   y = x, then y[l, index[l, i, t], t] += src[l, i, t] for i in order
//     backward    dx = dy;  dsrc[l, i, t] = dy[l, index[l, i, t], t]
//
// l and t run over the dims left and right of dim; index may be shorter than x in them. Indices are integers from
// -size to size - 1. 16-bit types are summed in float32.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"
#include "cpp/ops/grid.h"

namespace lc {

// Index [lead, count, tail], contiguous; the grids and step are x's.
struct GatherPlan {
    const int64_t* index;
    int64_t count, size, step;                        // along dim: of index, of x, x's stride
    Grid lead, tail;
    bool* outside;                                    // out   set where an index is out of range, 0 is taken in its place; CUDA's kernels give up
};
template <class T> struct GatherForward {
    const T* x;
    const GatherPlan* plan;
    T* y;                                             // [lead, count, tail]
};
template <class T> struct GatherScatter {
    const T* v;                                       // [lead, count, tail]
    const GatherPlan* plan;
    T* x;
    bool rows = false;                                // CPU: each row of x is first made a copy of from's, or 0 without one
    const T* from = nullptr;
};

LC_API Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
LC_API Tensor take_along_dim(const Tensor& x, const Tensor& index, int64_t dim);
LC_API Tensor take_along_dim(const Tensor& x, const Tensor& index);           // both flattened
LC_API Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);
LC_API Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, double value);
LC_API Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);

}  // namespace lc

LC_CPU_KERNEL(gather_forward, GatherForward)          // any T of 1, 2, 4, 8 bytes
LC_CPU_KERNEL(gather_scatter, GatherScatter)
LC_CPU_KERNEL(gather_backward, GatherScatter)         // scatter_add: float double int64 int32
LC_CUDA_KERNEL(gather_forward, GatherForward)
LC_CUDA_KERNEL(gather_scatter, GatherScatter)
LC_CUDA_KERNEL(gather_backward, GatherScatter)
