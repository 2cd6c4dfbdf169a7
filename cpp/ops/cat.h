// cat: tensors end to end. Members: cat, stack, hstack, vstack.
//
//   forward    y seen through the window of input i = x_i           stack: along a new dim
//   backward   dx_i = dy seen through the window of input i
//
// Inputs may differ in dtype (the result has the promoted one) and, for cat, in size along dim.
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor cat(const Tensors& xs, int64_t dim = 0);
LC_API Tensor stack(const Tensors& xs, int64_t dim = 0);
LC_API Tensor hstack(const Tensors& xs);              // along dim 1, or 0 where the inputs are 1-d
LC_API Tensor vstack(const Tensors& xs);              // along dim 0, 1-d inputs as rows

}  // namespace lc
