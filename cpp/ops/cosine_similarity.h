// cosine_similarity: the cosine of the angle between vectors along one dim.
//
//   forward    y = sum a b / (max(|a|, eps) max(|b|, eps)),  |a| = sqrt(sum a^2)
//
// Made of broadcasting arithmetic and reductions, gradients included. a and b broadcast against each other.
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dim = 1, double eps = 1e-8);

}  // namespace lc
