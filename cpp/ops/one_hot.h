// one_hot: classes as rows with a single 1. Member: bincount, those rows added up. No gradient.
//
//   one_hot    y[p, c] = 1 where index[p] == c, else 0                  int64 [index's shape, classes]
//   bincount   y[c] = sum over p with index[p] == c of 1 or weights[p]  int64, or the weights' floating dtype
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor one_hot(const Tensor& index, int64_t classes = -1);         // -1: the largest index and one more
LC_API Tensor bincount(const Tensor& index, const Tensor& weights = {}, int64_t minlength = 0);

}  // namespace lc
