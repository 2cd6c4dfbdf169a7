// where on CUDA. Contract: cpp/ops/where.h. Memory bound: reads the condition and two operands, writes one.
#include "cpp/ops/where.h"
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

template <class T> __global__ __launch_bounds__(kMapThreads) void where_kernel(WhereForward<T> a) {
    const int64_t i = int64_t(blockIdx.x) * kMapThreads + threadIdx.x;
    if (i >= a.walk.numel) return;
    const Offsets<4> o = locate(a.walk, i);
    const T x = a.a[o.at[2]], y = a.b[o.at[3]];       // both: a load that waits for the condition comes too late
    a.y[o.at[0]] = a.condition[o.at[1]] ? x : y;
}

}  // namespace

template <class T> void where_forward(const WhereForward<T>& a) {
    if (a.walk.numel == 0) return;
    launch("where", where_kernel<T>, thread_each(a.walk.numel, kMapThreads), a);
}

template void where_forward(const WhereForward<uint8_t>&);
template void where_forward(const WhereForward<uint16_t>&);
template void where_forward(const WhereForward<uint32_t>&);
template void where_forward(const WhereForward<uint64_t>&);

}  // namespace lc::cuda
