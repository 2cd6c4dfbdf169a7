// views: other windows on the same storage. Nothing is copied, every one is differentiable.
//
//   forward    y[i] = x[f(i)] for an index map f that strides can express
//   backward   bijective f (reshape, transpose, squeeze, ...): dx = dy seen through the inverse of f
//              injective f (slice, select, diagonal, split):  dx = 0, then dx seen through f = dy
//              expand:                                       dx = dy summed over the repeated places
//
// A view shares memory with x, and with it the version counter: writing one in place is seen through the other.
// Dims may be negative (-1 is the last) and raise IndexError outside; sizes that do not fit raise ValueError.
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

// ---- same elements in the same order ---------------------------------------------------------------------------------

LC_API Tensor view(const Tensor& x, const Dims& sizes);                    // one size may be -1; ValueError if only a copy would do
LC_API Tensor reshape(const Tensor& x, const Dims& sizes);                 // a view where strides allow one, else a copy
LC_API Tensor flatten(const Tensor& x, int64_t start_dim = 0, int64_t end_dim = -1);
LC_API Tensor unflatten(const Tensor& x, int64_t dim, const Dims& sizes);  // splits dim into sizes; one may be -1
LC_API Tensor squeeze(const Tensor& x);                                    // drops every dim of size 1
LC_API Tensor squeeze(const Tensor& x, const Dims& dims);                  // drops those of dims that have size 1
LC_API Tensor unsqueeze(const Tensor& x, int64_t dim);

// ---- same elements in another order ------------------------------------------------------------------------------------

LC_API Tensor permute(const Tensor& x, const Dims& dims);
LC_API Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
LC_API Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination);
LC_API Tensor t(const Tensor& x);                                          // x.T of a matrix; rank 0 and 1 unchanged
LC_API Tensor matrix_transpose(const Tensor& x);                           // x.mT: the last two dims

// ---- some of the elements ----------------------------------------------------------------------------------------------

constexpr int64_t kEnd = INT64_MAX;

// Python's slice: start and end may be negative and are clamped. A negative step walks backwards (a negative stride):
// slice(x, d, kEnd, -kEnd, -1) is x[::-1].
LC_API Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end = kEnd, int64_t step = 1);
LC_API Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length);   // as slice, but nothing is clamped
LC_API Tensor select(const Tensor& x, int64_t dim, int64_t index);         // drops dim
LC_API Tensor diagonal(const Tensor& x, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1);   // becomes the last dim

// Parts along dim; together one node of the tape.
LC_API Tensors split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim = 0);
LC_API Tensors split(const Tensor& x, int64_t size, int64_t dim = 0);      // parts of size, the last one smaller
LC_API Tensors chunk(const Tensor& x, int64_t chunks, int64_t dim = 0);    // at most chunks parts of equal size
LC_API Tensors unbind(const Tensor& x, int64_t dim = 0);

// One item of basic indexing, in the order they are written; missing ones mean all.
struct IndexItem {
    enum class Kind : uint8_t { index,
                                slice,
                                new_axis,
                                all } kind = Kind::all;
    int64_t start = 0, end = kEnd, step = 1;                               // index: start
};
LC_API Tensor basic_index(const Tensor& x, const std::vector<IndexItem>& items);     // one view, one node

// ---- elements repeated ----------------------------------------------------------------------------------------------------

LC_API Tensor expand(const Tensor& x, const Dims& sizes);                  // dims of size 1 repeat; -1 keeps a size
LC_API Tensor broadcast_to(const Tensor& x, const Dims& sizes);

}  // namespace lc
