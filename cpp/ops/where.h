// where: y = condition ? a : b element by element, all three broadcast, a and b promoted to one dtype.
//
//   backward   da = condition ? dy : 0      db = condition ? 0 : dy      (summed to the shapes of a and b)
//
//   clamp: x cut to [min, max], both tensors; where the bounds cross, max. The gradient goes to the one that was taken,
//   to x where it equals a bound. NaN in any of them is NaN.
//
// Only bits move, so one kernel serves all dtypes of a size.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/strided.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct WhereForward {              // T: an unsigned integer of any size
    const bool* condition;
    const T *a, *b;
    T* y;
    Strided<4> walk;                                  // y, condition, a, b
};

}  // namespace lc
LC_CPU_KERNEL(where_forward, WhereForward)
LC_CUDA_KERNEL(where_forward, WhereForward)
namespace lc {

LC_API Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
LC_API Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value);     // value where mask is true, else x
LC_API Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max);              // an undefined one is no bound
LC_API void masked_fill_(const Tensor& x, const Tensor& mask, const Tensor& value);

}  // namespace lc
