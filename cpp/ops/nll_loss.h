// nll_loss: -w[t] x[t] for log-probabilities x over dim 1 (dim 0 of a vector) and class indices t.
//
//   forward    loss = -w[t] x[t], 0 where t == ignore_index; mean divides by the sum of w[t] over the rows not ignored
//   backward   dx[c] = -g w[t] where c == t, else 0
//
// One element of every row is touched: no kernel of its own. float32 and float64; no gradient for weight.
#pragma once
#include <string>
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor nll_loss(const Tensor& x, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100, const std::string& reduction = "mean");

}  // namespace lc
