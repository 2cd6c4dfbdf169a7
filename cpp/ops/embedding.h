// embedding: rows of a table.
//
//   forward    y[p, c]  = w[index[p], c]
//   backward   dw[v, c] = sum of dy[p, c] over the p with index[p] == v, in order of p;  0 for v == padding_index
//              or dw[v, c] += it, where the table has a dense gradient from elsewhere already (a tied readout): the same bits
//
// index: integers 0..rows-1 of any shape; y: [index's shape, cols]. Saved: the index. Sums are float32 for 16-bit types.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct EmbeddingForward {
    const T* w;
    const int64_t* index;
    int64_t count, rows, cols;
    T* y;                                             // [count, cols]
};
template <class T> struct EmbeddingBackward {
    const T* dy;                                      // [count, cols]
    const int64_t *order, *starts;                    // p sorted by row: row v has order[starts[v]..starts[v + 1])
    int64_t count, rows, cols;
    T* dw;                                            // [rows, cols]
    bool add = false;                                 // to what dw holds; float32 and float64
};
template <class T> struct EmbeddingBackwardUnsorted {      // on CUDA the order is found there
    const T* dy;
    const int64_t* index;
    int64_t count, rows, cols, padding_index;
    T* dw;
    bool add = false;
};

constexpr int64_t kNoPadding = INT64_MIN;          // rows from the end are negative

LC_API Tensor embedding(const Tensor& index, const Tensor& w, int64_t padding_index = kNoPadding);

namespace detail {
// p sorted by row, without those of padding_index: row v has order[starts[v]..starts[v + 1]). Stable: each row's p ascend.
LC_API void sort_by_row(const int64_t* index, int64_t count, int64_t rows, int64_t padding_index, int64_t* starts, int64_t* order);
// [rows, cols]: row v is the sum of dy's rows [.., cols] whose index is v; index: from 0 to rows - 1
LC_API Tensor rows_added(const Tensor& index, const Tensor& dy, int64_t rows, int64_t padding_index = kNoPadding);
// The same, added to sum, dense [rows, cols].
LC_API void add_rows(const Tensor& sum, const Tensor& index, const Tensor& dy, int64_t padding_index);
}  // namespace detail

}  // namespace lc

LC_CPU_KERNEL(embedding_forward, EmbeddingForward)    // any T of 1, 2, 4, 8 bytes
LC_CPU_KERNEL(embedding_backward, EmbeddingBackward)  // the floating-point types
LC_CUDA_KERNEL(embedding_forward, EmbeddingForward)   // which checks the index too
LC_CUDA_ONLY_KERNEL(embedding_backward_unsorted, EmbeddingBackwardUnsorted)
