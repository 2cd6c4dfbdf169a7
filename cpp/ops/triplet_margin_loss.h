// triplet_margin_loss: an anchor should be nearer to a positive than to a negative, by a margin.
//
//   forward    d(x, y) = |x - y + eps|_p over the last dim
//              loss = max(0, margin + d(anchor, positive) - d(anchor, negative))
//              swap: the negative's distance is the smaller one of d(anchor, negative) and d(positive, negative)
//
// Made of arithmetic and reductions, gradients included.
#pragma once
#include <string>
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin = 1, double p = 2,
                                  double eps = 1e-6, bool swap = false, const std::string& reduction = "mean");

}  // namespace lc
