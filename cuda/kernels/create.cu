// create on CUDA. Contract: cpp/ops/create.h. Memory bound: y is written once.
#include "cpp/ops/create.h"
#include "cuda/arch/exact.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

template <class T> __global__ __launch_bounds__(kThreads) void range_kernel(CreateRange<T> a) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= a.n) return;
    if constexpr (std::is_integral_v<T>) a.y[i] = a.start + i * a.step;
    else a.y[i] = plus(a.start, times(T(i), a.step));
}

}  // namespace

template <class T> void create_range(const CreateRange<T>& a) {
    if (a.n > 0) launch("arange", range_kernel<T>, thread_each(a.n, kThreads), a);
}

template void create_range(const CreateRange<int64_t>&);
template void create_range(const CreateRange<double>&);

}  // namespace lc::cuda
