// reduce: sums over dimensions.
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor sum_to(const Tensor& x, const Dims& sizes);      // the gradient of broadcasting: sums x down to sizes

}  // namespace lc
