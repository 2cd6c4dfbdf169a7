// pool2d: max and average over the windows of each plane; the 1d pools are planes of one row.
//
//   Output (i, j) of a plane looks at rows row_begin[i], + step, ... < row_end[i] and columns likewise: padding, stride,
//   ceil_mode and adaptive sizes are in those tables, and what lies outside the plane is not in them.
//
//   max   y = max of the window; index = h * w of the first place that holds it, row by row. A NaN is larger than all,
//         the first one counts. An empty window gives -inf, index -1 and no gradient.
//         dx[index] += dy, in the order of the outputs
//   avg   y = sum of the window / divisor, where divisor is row_count[i] * col_count[j] or one number for all
//         dx += dy / divisor all over the window
//
// Saved: max: index (int64). avg: nothing. Sums in T: down the columns first, then along the row.
#pragma once
#include <vector>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

struct PoolAxis {
    const int64_t *begin, *end, *count;               // [outputs] inside the plane; elements counted in the average
    int64_t step;                                     // dilation
    int64_t first, stride, taps;                      // window j: first + j * stride + t * step, t < taps; stride 0: irregular
};
struct Pool2dShape {
    int64_t planes, h, w, oh, ow;
    PoolAxis rows, cols;
    double divisor;                                   // 0: row count * column count
};

template <class T> struct MaxPool2dForward {
    Pool2dShape shape;
    const T* x;                                       // in    [planes, h, w]
    T* y;
    int64_t* index;                             // out   [planes, oh, ow]; index may be null
};
template <class T> struct MaxPool2dBackward {
    Pool2dShape shape;
    const T* dy;
    const int64_t* index;                // in
    T* dx;                                            // out
};
template <class T> struct AvgPool2dForward {
    Pool2dShape shape;
    const T* x;                                       // in
    T* y;                                             // out
};
template <class T> struct AvgPool2dBackward {
    Pool2dShape shape;
    const T* dy;                                      // in
    T* dx;                                            // out
};

}  // namespace lc
LC_CPU_KERNEL(max_pool2d_forward, MaxPool2dForward)
LC_CPU_KERNEL(max_pool2d_backward, MaxPool2dBackward)
LC_CPU_KERNEL(avg_pool2d_forward, AvgPool2dForward)
LC_CPU_KERNEL(avg_pool2d_backward, AvgPool2dBackward)
LC_CUDA_WIDER_KERNEL(max_pool2d_forward, MaxPool2dForward)
LC_CUDA_WIDER_KERNEL(max_pool2d_backward, MaxPool2dBackward)
LC_CUDA_WIDER_KERNEL(avg_pool2d_forward, AvgPool2dForward)
LC_CUDA_WIDER_KERNEL(avg_pool2d_backward, AvgPool2dBackward)
namespace lc {

// Pooled over the last `axes` (1 or 2) dims of x, which may have a batch or not. An empty stride is the kernel.
struct PoolWindow {
    Dims kernel, stride, padding{0}, dilation{1};
    bool ceil_mode = false;
};

// The windows of one axis.
struct PoolWindows {
    std::vector<int64_t> begin, end, count;
    int64_t step = 1, first = 0, stride = 0, taps = 0;
    PoolAxis axis() const { return {begin.data(), end.data(), count.data(), step, first, stride, taps}; }
    int64_t outputs() const { return int64_t(begin.size()); }
};
LC_API PoolWindows pool_windows(const char* op, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation, bool ceil_mode, bool count_padding);

// {y, index}; index is undefined unless asked for
LC_API Tensors max_pool(const char* op, const Tensor& x, int axes, const PoolWindow& window, bool want_index);
LC_API Tensor avg_pool(const char* op, const Tensor& x, int axes, const PoolWindow& window, bool count_padding, int64_t divisor);
// One output size per axis, -1 keeps the input's. Output i sees floor(i * size / out) .. ceil((i + 1) * size / out).
LC_API Tensors adaptive_max_pool(const char* op, const Tensor& x, int axes, const Dims& output, bool want_index);
LC_API Tensor adaptive_avg_pool(const char* op, const Tensor& x, int axes, const Dims& output);

}  // namespace lc
