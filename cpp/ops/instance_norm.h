// instance_norm: every channel of every sample to mean 0 and variance 1, then scaled and shifted by w and b.
//
//   use_input_stats         group_norm with one channel a group; running statistics, where given, move by momentum
//                           towards the mean over the samples (the variances there divided by s - 1)
//   not use_input_stats     batch_norm in evaluation: the running statistics are used
//
// Composed of those two ops, gradients included.
#pragma once
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor instance_norm(const Tensor& x, const Tensor& running_mean = {}, const Tensor& running_var = {}, const Tensor& w = {},
                            const Tensor& b = {}, bool use_input_stats = true, double momentum = 0.1, double eps = 1e-5);

}  // namespace lc
