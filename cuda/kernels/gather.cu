// gather on CUDA: one index an element. Contract: cpp/ops/gather.h
// Memory bound: 8 bytes of index an element, x touched at random along dim. What writes sorts its elements by place first.
#include "cpp/ops/gather.h"
#include "cuda/arch/check.cuh"
#include "cuda/kernels/places.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

// Element i of [lead, count, tail]: its line (a place of lead and tail), and where its index leads.
struct Found {
    int64_t line, along, offset;                      // offset: into x
};
__device__ __forceinline__ Found find(const GatherPlan& p, int64_t i) {
    const int64_t given = p.index[i], along = given < 0 ? given + p.size : given;
    require(along >= 0 && along < p.size);
    const int64_t t = split(i, p.tail.count);
    split(i, p.count);
    return {i * p.tail.count + t, along, offset_of(p.lead, i) + along * p.step + offset_of(p.tail, t)};
}

template <class T> __global__ __launch_bounds__(kThreads) void gather_kernel(const T* x, GatherPlan p, int64_t n, T* y) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < n) y[i] = x[find(p, i).offset];
}

__global__ __launch_bounds__(kThreads) void keys_kernel(GatherPlan p, int64_t n, uint32_t* keys, uint32_t* order) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    const Found f = find(p, i);
    keys[i] = uint32_t(f.line * p.size + f.along);
    order[i] = uint32_t(i);
}

// The last element of a place.
template <class T> __global__ __launch_bounds__(kThreads) void put_kernel(const T* v, GatherPlan p, int64_t n, const uint32_t* keys, const uint32_t* order, T* x) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n || (i + 1 < n && keys[i] == keys[i + 1])) return;
    x[find(p, order[i]).offset] = v[order[i]];
}

// The first element of a place adds up all of them.
template <class T> __global__ __launch_bounds__(kThreads) void add_kernel(const T* v, GatherPlan p, int64_t n, const uint32_t* keys, const uint32_t* order, T* x) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n || (i > 0 && keys[i] == keys[i - 1])) return;
    T& to = x[find(p, order[i]).offset];
    T sum = to;
    for (int64_t j = i; j < n && keys[j] == keys[i]; ++j) sum += v[order[j]];
    to = sum;
}

// ---- host -------------------------------------------------------------------------------------------------------------

template <class T> void scatter(const GatherScatter<T>& a, void (*write)(const T*, GatherPlan, int64_t, const uint32_t*, const uint32_t*, T*)) {
    const GatherPlan& p = *a.plan;
    const int64_t n = p.lead.count * p.count * p.tail.count, places = p.lead.count * p.size * p.tail.count;
    if (n == 0) return;
    check_count("scatter", n, places);
    const SortedPlaces sorted("scatter", n, places, [&](uint32_t* keys, uint32_t* order) { launch("scatter", keys_kernel, thread_each(n, kThreads), p, n, keys, order); });
    launch("scatter", write, thread_each(n, kThreads), a.v, p, n, sorted.keys, sorted.order, a.x);
}

}  // namespace

template <class T> void gather_forward(const GatherForward<T>& a) {
    const int64_t n = a.plan->lead.count * a.plan->count * a.plan->tail.count;
    if (n > 0) launch("gather", gather_kernel<T>, thread_each(n, kThreads), a.x, *a.plan, n, a.y);
}
template <class T> void gather_scatter(const GatherScatter<T>& a) { scatter(a, put_kernel<T>); }
template <class T> void gather_backward(const GatherScatter<T>& a) { scatter(a, add_kernel<T>); }

template void gather_forward(const GatherForward<uint8_t>&);
template void gather_forward(const GatherForward<uint16_t>&);
template void gather_forward(const GatherForward<uint32_t>&);
template void gather_forward(const GatherForward<uint64_t>&);
template void gather_scatter(const GatherScatter<uint8_t>&);
template void gather_scatter(const GatherScatter<uint16_t>&);
template void gather_scatter(const GatherScatter<uint32_t>&);
template void gather_scatter(const GatherScatter<uint64_t>&);
template void gather_backward(const GatherScatter<float>&);
template void gather_backward(const GatherScatter<double>&);
template void gather_backward(const GatherScatter<int64_t>&);
template void gather_backward(const GatherScatter<int32_t>&);

}  // namespace lc::cuda
