// index: elements at integer positions, as NumPy's advanced indexing picks them.
//
//   forward    y[l, p, t] = x[l, place[p], t]         place[p]: the indices of p, times the strides of their dims
//   backward   dx = 0, then dx[l, place[p], t] += dy[l, p, t] for p in order
//   put        x[l, place[p], t] = v[l, p, t]         where places repeat the last one stays
//
// l runs over the dims left of the indexed ones, t over those right of them. Indices broadcast together; their dims take
// the place of the indexed dims where those stand side by side, and come first otherwise.
// Sums are made in the order of p, 16-bit types in float32.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"
#include "cpp/ops/grid.h"
#include "cpp/ops/views.h"

namespace lc {

template <class T> struct IndexForward {
    const T* x;
    const int64_t* place;
    int64_t count;              // [count] offsets into x
    const Grid *lead, *tail;                          // of x
    T* y;                                             // [lead, count, tail]
};
template <class T> struct IndexPut {
    const T* v;                                       // [lead, count, tail]
    const int64_t* place;
    int64_t count;
    const Grid *lead, *tail;
    T* x;
};

// CUDA finds the places itself, dim after dim: place and row, the number of the place among all that indices can name.
template <class T> struct IndexPlaces {
    const T* index;                                   // along one dim
    int64_t count, size, stride;
    bool first;                                       // dim
    int64_t *place, *row;                             // in, out
};
template <class T> struct IndexPutRows {
    IndexPut<T> put;
    const int64_t* row;                               // [count]
    int64_t rows;
};

template <class T> struct IndexMasked {                // y = the elements of x whose mask is set
    const T* x;
    const bool* mask;
    int64_t n;                                        // both contiguous
    const int64_t* starts;                            // of every nonzero block: the elements before it
    T* y;
};

// One index a dim of x from the left; undefined: all of that dim. A boolean mask stands for as many dims as it has.
// Integers may be of any integer dtype and negative; IndexError names the one out of range.
LC_API Tensor index(const Tensor& x, const Tensors& indices, const char* op = "getitem");
LC_API void index_put_(const Tensor& x, const Tensors& indices, const Tensor& v, bool accumulate = false, const char* op = "setitem");

LC_API Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
LC_API Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);   // x, and source[i] added at index[i]
LC_API Tensor masked_select(const Tensor& x, const Tensor& mask);

// getitem and setitem: views first, then an index a dim of the view (none: a plain view). Values broadcast.
LC_API Tensor getitem(const Tensor& x, const std::vector<IndexItem>& items, const Tensors& indices);
LC_API void setitem(const Tensor& x, const std::vector<IndexItem>& items, const Tensors& indices, const Tensor& v);

}  // namespace lc

LC_CPU_KERNEL(index_forward, IndexForward)            // any T of 1, 2, 4, 8 bytes
LC_CPU_KERNEL(index_masked, IndexMasked)
LC_CPU_KERNEL(index_put, IndexPut)
LC_CPU_KERNEL(index_backward, IndexPut)               // accumulate: float double int64 int32
LC_CUDA_KERNEL(index_forward, IndexForward)
LC_CUDA_ONLY_KERNEL(index_places, IndexPlaces)        // int64_t; which checks the index too
LC_CUDA_ONLY_KERNEL(index_put_rows, IndexPutRows)     // as index_put
LC_CUDA_ONLY_KERNEL(index_add_rows, IndexPutRows)     // as index_backward
