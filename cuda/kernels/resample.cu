// resample on CUDA: an element of y a thread, the sum of its entries in table order. Contract: cpp/ops/resample.h
// Memory bound: y is written once, from the few rows of x its entries name; the tables stay in cache.
#include "cpp/ops/resample.h"
#include "cuda/arch/convert.cuh"
#include "cuda/kernels/places.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

template <class T> __global__ __launch_bounds__(kThreads) void resample_kernel(ResampleForward<T> a) {
    using A = acc_t<T>;
    const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= a.outer * a.out * a.inner) return;
    int64_t o = at;
    const int64_t c = split(o, a.inner), i = split(o, a.out);
    const T* x = a.x + row_of(a, o) * a.in * a.inner + c;
    A total = 0;
    for (int64_t e = a.start[i]; e < a.start[i + 1]; ++e) {
        const A v = A(widen(x[a.from[e] * a.inner]));
        total = A(total + (a.weight ? A(a.weight[e]) * v : v));
    }
    if constexpr (std::is_integral_v<T>) a.y[at] = T(total);
    else a.y[at] = narrow<T>(total);
}

}  // namespace

template <class T> void resample_forward(const ResampleForward<T>& a) {
    const int64_t n = a.outer * a.out * a.inner;
    if (n > 0) launch("resample", resample_kernel<T>, thread_each(n, kThreads), a);
}

template void resample_forward(const ResampleForward<float>&);
template void resample_forward(const ResampleForward<double>&);
template void resample_forward(const ResampleForward<bfloat16>&);
template void resample_forward(const ResampleForward<float16>&);
template void resample_forward(const ResampleForward<int64_t>&);
template void resample_forward(const ResampleForward<int32_t>&);
template void resample_forward(const ResampleForward<uint8_t>&);

}  // namespace lc::cuda
