// The kernels between which cuda/kernels/attention.cu chooses.
#pragma once
#include "cpp/ops/attention.h"
#include "cuda/kernels/attention_plan.h"

namespace lc::cuda {

template <class T> void attention_hopper_forward(const AttentionForward<T>& a, const CudaAttentionPlan& p);      // tk > 0
template <class T> void attention_hopper_backward(const AttentionBackward<T>& a, const CudaAttentionPlan& p, float* delta);      // tq, tk > 0
template <class T> void attention_tensor_forward(const AttentionForward<T>& a, const CudaAttentionPlan& p);
// delta: scratch, a float a query. ds: null, or to be filled for the gradient of a mask, [batch, heads, tq, tk].
template <class T> void attention_tensor_backward(const AttentionBackward<T>& a, const CudaAttentionPlan& p, float* delta, float* ds);

}  // namespace lc::cuda
