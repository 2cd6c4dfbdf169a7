// one_hot: classes as rows with a single 1. No gradient.
//
//   y[p, c] = 1 where index[p] == c, else 0          int64 [index's shape, classes]
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor one_hot(const Tensor& index, int64_t classes = -1);         // -1: the largest index and one more

}  // namespace lc
