// Products and sums that are rounded each: the compiler fuses a * b + c, the CPU's kernels do not.
#pragma once
#include <cuda_runtime.h>

namespace lc::cuda {

#ifdef LC_EMULATED
template <class A> __device__ __forceinline__ A times(A a, A b) { return a * b; }
template <class A> __device__ __forceinline__ A plus(A a, A b) { return a + b; }
#else
__device__ __forceinline__ float times(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double times(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ double plus(double a, double b) { return __dadd_rn(a, b); }
#endif

}  // namespace lc::cuda
