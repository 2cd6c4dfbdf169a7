// reduce: one number out of many, over any dimensions. Reduced dimensions are numbered r below, n of them are reduced.
//
//   forward                                            backward
//   sum         sum_r x                                dx = dy
//   mean        sum_r x / n                            dx = dy / n
//   prod        prod_r x                               dx = dy prod_{s != r} x_s (exact with zeros)
//   amax, amin  max_r x (NaN wins)                     dx = dy [x = y] / count_r(x = y)
//   max, min    the same over one dimension, and       dx = dy at the index, 0 elsewhere
//               where: the first one, NaN first
//   var, std    sum_r (x - mean)^2 / (n - correction)  dx = 2 dy (x - mean) / (n - correction); std: dy (x - mean) / ((n - correction) y)
//   norm        (sum_r |x|^p)^(1/p)                    p = 2: dx = dy x / y, 0 where y = 0
//   logsumexp   m + ln sum_r e^(x - m), m = max x      dx = dy e^(x - y)
//   argmax, argmin -> int64; any, all -> bool          none: raises
//
// Sums of 16-bit floats are kept in float32 and rounded once; sums of integers and bool are int64. A sum is made of blocks
// whose size depends on the shape alone, and the blocks are added pairwise in index order: the same bits for any number
// of threads, and an error that grows with log n. An empty list of dimensions means all of them.
#pragma once
#include <utility>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class ReduceOp : uint8_t { sum,
                                prod,
                                max,
                                min,
                                sum_shifted,
                                sum_squares,
                                sum_abs,
                                max_abs,
                                sum_exp };

// y[o, i] = reduce over r of f(x[o, r, i] - shift[o, i]); shift is for sum_shifted, sum_squares and sum_exp; null: 0.
template <class T> struct ReduceForward {             // integers: max min; int64 also sum prod
    ReduceOp op;
    int64_t outer, n, inner;                          // x: [outer, n, inner], n > 0
    const T* x;
    const acc_t<T>* shift;
    acc_t<T>* y;                                      // [outer, inner]
};
template <class T> struct ReduceIndexForward {        // T: float double int64 int32 uint8
    bool largest;
    int64_t outer, n, inner;
    const T* x;
    T* values;                                        // [outer, inner]
    int64_t* indices;                                 // [outer, inner]
};
template <class T> struct ReduceIndexBackward {
    int64_t outer, n, inner;
    const T* dy;                                      // [outer, inner]
    const int64_t* indices;
    T* dx;                                            // [outer, n, inner], zeros on entry
};

}  // namespace lc
LC_CPU_KERNEL(reduce_forward, ReduceForward)
LC_CPU_KERNEL(reduce_index_forward, ReduceIndexForward)
LC_CPU_KERNEL(reduce_index_backward, ReduceIndexBackward)
LC_CUDA_KERNEL(reduce_forward, ReduceForward)
LC_CUDA_KERNEL(reduce_index_forward, ReduceIndexForward)
LC_CUDA_KERNEL(reduce_index_backward, ReduceIndexBackward)
namespace lc {

LC_API Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
LC_API Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
LC_API Tensor prod(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
LC_API Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
LC_API Tensor amin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
LC_API std::pair<Tensor, Tensor> max(const Tensor& x, int64_t dim, bool keepdim = false);    // values, indices
LC_API std::pair<Tensor, Tensor> min(const Tensor& x, int64_t dim, bool keepdim = false);
LC_API Tensor argmax(const Tensor& x, int64_t dim, bool keepdim = false);
LC_API Tensor argmin(const Tensor& x, int64_t dim, bool keepdim = false);
LC_API Tensor var(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
LC_API Tensor std(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
LC_API Tensor norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false);
LC_API Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim = false);
LC_API Tensor any(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
LC_API Tensor all(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

LC_API Tensor sum_to(const Tensor& x, const Dims& sizes);      // the gradient of broadcasting: sums x down to sizes

}  // namespace lc
