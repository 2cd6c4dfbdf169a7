// sort: order along a dim. Members: sort, argsort, topk, unique, searchsorted.
//
//   forward    y[i] = x[index[i]], with y ascending or descending; equal elements keep their order (topk: the first ones stay)
//   backward   dx = 0, then dx[index[i]] = dy[i]
//
// NaN is larger than everything, -0 equals 0. A key of every element as an unsigned integer decides, so any dtype works.
#pragma once
#include <tuple>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct SortForward {
    const T* x;                                       // [rows, n]
    int64_t rows, n, keep;                            // keep <= n: how many of each row's order are wanted
    bool descending;
    void* scratch;                                    // work  sort_scratch_bytes() per worker
    T* y;
    int64_t* index;                             // out   [rows, keep]
};

// A key and a position; two copies of the row for the passes of the radix sort.
inline int64_t sort_scratch_bytes(int64_t n, int64_t item) { return 2 * n * (item <= 4 ? 8 : 16); }

LC_API std::pair<Tensor, Tensor> sort(const Tensor& x, int64_t dim = -1, bool descending = false);       // values, indices
LC_API Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false);
LC_API std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true);     // in order
LC_API std::tuple<Tensor, Tensor, Tensor> unique(const Tensor& x);     // ascending values, where each x is among them, counts

// How many of `sorted` come before each of `values`: those below it, or with right those not above it. int64. sorted has
// one dim, or its rows belong to those of values.
LC_API Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right = false);

}  // namespace lc

LC_CPU_KERNEL(sort_forward, SortForward)              // all dtypes
LC_CUDA_KERNEL(sort_forward, SortForward)             // which needs no scratch
