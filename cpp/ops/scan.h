// scan: running sums and products along a dim. Members: cumsum, cumprod.
//
//   cumsum    forward    y[i]  = x[0] + ... + x[i]
//             backward   dx[i] = dy[i] + ... + dy[n-1]
//   cumprod   forward    y[i]  = x[0] * ... * x[i]
//             backward   dx[i] = sum over j >= i of dy[j] * (product of x[k], k <= j, k != i)
//
// Running values of float32 are kept in float64, of 16-bit types in float32. Integers and bool give int64. The cumprod
// gradient is dy * y / x summed from the right, and exact where x holds zeros: see the kernel.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

struct ScanShape {
    int64_t lead, n, tail;                            // x, y, dy, dx: [lead, n, tail], contiguous
    bool product;
};
template <class T> struct ScanForward {
    const T* x;
    ScanShape shape;
    T* y;
};
template <class T> struct ScanBackward {
    const T *dy, *x, *y;                              // x, y: of a product only
    ScanShape shape;
    T* dx;
};

LC_API Tensor cumsum(const Tensor& x, int64_t dim);
LC_API Tensor cumprod(const Tensor& x, int64_t dim);

}  // namespace lc

LC_CPU_KERNEL(scan_forward, ScanForward)              // the floating-point types and int64
LC_CPU_KERNEL(scan_backward, ScanBackward)            // the floating-point types
LC_CUDA_KERNEL(scan_forward, ScanForward)
LC_CUDA_KERNEL(scan_backward, ScanBackward)
