// copy: y = x element by element, with any strides on both sides, broadcasting x and converting its dtype.
//
//   float -> integer truncates towards zero, anything -> bool asks x != 0 (NaN is true), 16-bit floats come by float32 and round to nearest
//   even.
//   backward: dx = dy converted to the dtype of x.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/strided.h"
#include "cpp/core/tensor.h"

namespace lc {

// S: the dtype of x. Where to == dtype_of<S> nothing is converted and only the size of S matters.
template <class S> struct CopyForward {
    const S* x;
    void* y;
    DType to;
    Strided<2> walk;                                  // y, x
};

template <class S> struct FillForward {               // y = value; how a number of the host reaches a device
    S value;
    S* y;
    Strided<1> walk;
};

}  // namespace lc
LC_CPU_KERNEL(copy_forward, CopyForward)
LC_CUDA_KERNEL(copy_forward, CopyForward)
LC_CUDA_ONLY_KERNEL(fill_forward, FillForward)
namespace lc {

LC_API Tensor contiguous(const Tensor& x);            // x itself where it is contiguous already
LC_API Tensor clone(const Tensor& x);                 // always new memory, contiguous
LC_API Tensor to(const Tensor& x, DType dtype);       // x itself where it has the dtype already
LC_API Tensor to(const Tensor& x, Device device);     // x itself where it is there already
LC_API void copy_(const Tensor& y, const Tensor& x);  // in place; x is broadcast to y and converted to its dtype
LC_API void fill_(const Tensor& y, double value);
LC_API double item_as_double(const Tensor& x);        // ValueError unless x has one element

namespace detail {
// y = x without checks, versions or history: y is memory of our own, x can be expanded to it.
LC_API void copy_into(const Tensor& y, const Tensor& x);
LC_API Tensor copied(const Tensor& x);                        // clone(), without history
LC_API Tensor dense(const Tensor& x);                         // contiguous(), without history
LC_API Tensor converted(const Tensor& x, DType dtype);        // to(), without history
}  // namespace detail

}  // namespace lc
