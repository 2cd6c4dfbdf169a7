// nonzero: where x is not zero, in row-major order. NaN is not zero. No gradient.
//
//   y[p, k] = k-th coordinate of the p-th element that is not zero          y: int64 [count, rank of x]
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

constexpr int64_t kNonzeroBlock = 16 * 1024;          // elements counted together; fixes where a block's output starts

template <class T> struct NonzeroCount {
    const T* x;
    int64_t n;                            // contiguous
    int64_t* counts;                                  // out   a block each
};
template <class T> struct NonzeroForward {
    const T* x;
    int64_t n;
    const int64_t* starts;                            // [blocks] sums of the counts before
    const Dims* sizes;                                // of x
    int64_t* y;                                       // [count, rank]
};

namespace detail {
// For every block of x, which is contiguous, how many elements before it are not zero; returns how many are in all.
LC_API int64_t nonzero_starts(const Tensor& x, int64_t* starts);
}  // namespace detail

LC_API Tensor nonzero(const Tensor& x);
LC_API Tensors nonzero_tuple(const Tensor& x);        // a column of it each, contiguous

}  // namespace lc

LC_CPU_KERNEL(nonzero_count, NonzeroCount)
LC_CPU_KERNEL(nonzero_forward, NonzeroForward)
LC_CUDA_KERNEL(nonzero_count, NonzeroCount)
LC_CUDA_KERNEL(nonzero_forward, NonzeroForward)
