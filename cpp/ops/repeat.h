// repeat: elements again, or in another order. Members: repeat, tile, repeat_interleave, roll, flip, broadcast_tensors, meshgrid.
//
//   repeat              y[..., r * size + i, ...] = x[..., i, ...]          dx = dy summed over r
//   repeat_interleave   y[..., i * times + r, ...] = x[..., i, ...]         dx = dy summed over r
//   roll                y[..., (i + shift) mod size, ...] = x[..., i, ...]  dx = dy rolled back
//   flip                y[..., size - 1 - i, ...] = x[..., i, ...]          dx = dy flipped
//   broadcast_tensors, meshgrid: views that repeat (expand)
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor repeat(const Tensor& x, const Dims& times);                  // may have more dims than x, as new ones on the left
LC_API Tensor tile(const Tensor& x, const Dims& times);                    // may also have fewer: those on the left repeat once
LC_API Tensor repeat_interleave(const Tensor& x, int64_t times, int64_t dim);
LC_API Tensor repeat_interleave(const Tensor& x, const Tensor& times, int64_t dim);    // a number each, of 1-d times
LC_API Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims); // no dims: of the flattened x
LC_API Tensor flip(const Tensor& x, const Dims& dims);
LC_API Tensors broadcast_tensors(const Tensors& xs);
LC_API Tensors meshgrid(const Tensors& xs, bool xy = false);               // of 1-d tensors; xy swaps the first two axes

}  // namespace lc
