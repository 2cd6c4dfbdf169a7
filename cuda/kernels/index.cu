// index on CUDA: gathers and scatters at computed places. Contract: cpp/ops/index.h
// Memory bound: y and v stream, x is touched a run of the tail at a time. What writes sorts the places first, so that the
// elements of one place are one thread's, in their order.
#include "cpp/ops/index.h"
#include "cuda/arch/check.cuh"
#include "cuda/kernels/places.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

__global__ __launch_bounds__(kThreads) void places_kernel(IndexPlaces<int64_t> a) {
    const int64_t p = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (p >= a.count) return;
    const int64_t at = a.index[p] < 0 ? a.index[p] + a.size : a.index[p];
    require(at >= 0 && at < a.size);
    a.place[p] = (a.first ? 0 : a.place[p]) + at * a.stride;
    a.row[p] = (a.first ? 0 : a.row[p] * a.size) + at;
}

// Element i of [lead, count, tail]: its p, and where the other two lead.
struct Found {
    int64_t p, offset;
};
__device__ __forceinline__ Found find(const lc::Grid& lead, const lc::Grid& tail, int64_t count, int64_t i) {
    const int64_t t = split(i, tail.count), p = split(i, count);
    return {p, offset_of(lead, i) + offset_of(tail, t)};
}

template <class T> __global__ __launch_bounds__(kThreads) void gather_kernel(const T* x, const int64_t* place, lc::Grid lead, lc::Grid tail, int64_t count, int64_t n, T* y) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    const Found f = find(lead, tail, count, i);
    y[i] = x[place[f.p] + f.offset];
}

__global__ __launch_bounds__(kThreads) void keys_kernel(const int64_t* row, int64_t count, uint32_t* keys, uint32_t* order) {
    const int64_t p = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (p >= count) return;
    keys[p] = uint32_t(row[p]);
    order[p] = uint32_t(p);
}

// Sorted position s of the places, in every lead and tail: the last of a place puts, or the first adds up all of them.
template <class T, bool add> __global__ __launch_bounds__(kThreads) void put_kernel(IndexPut<T> a, lc::Grid lead, lc::Grid tail, const uint32_t* keys, const uint32_t* order, int64_t n) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    int64_t l = i;
    const int64_t t = split(l, tail.count), s = split(l, a.count);
    if (add ? s > 0 && keys[s - 1] == keys[s] : s + 1 < a.count && keys[s + 1] == keys[s]) return;
    T& to = a.x[a.place[order[s]] + offset_of(lead, l) + offset_of(tail, t)];
    const auto value = [&](int64_t j) { return a.v[(l * a.count + order[j]) * tail.count + t]; };
    if constexpr (add) {
        T sum = to;
        for (int64_t j = s; j < a.count && keys[j] == keys[s]; ++j) sum += value(j);
        to = sum;
    } else {
        to = value(s);
    }
}

// ---- host -------------------------------------------------------------------------------------------------------------

template <bool add, class T> void put(const IndexPutRows<T>& a) {
    const int64_t count = a.put.count, n = a.put.lead->count * count * a.put.tail->count;
    if (n == 0) return;
    check_count("index_put", count, a.rows);
    const SortedPlaces sorted("index_put", count, a.rows, [&](uint32_t* keys, uint32_t* order) { launch("index_put", keys_kernel, thread_each(count, kThreads), a.row, count, keys, order); });
    launch("index_put", put_kernel<T, add>, thread_each(n, kThreads), a.put, *a.put.lead, *a.put.tail, sorted.keys, sorted.order, n);
}

}  // namespace

template <class T> void index_places(const IndexPlaces<T>& a) {
    if (a.count > 0) launch("index", places_kernel, thread_each(a.count, kThreads), a);
}
template <class T> void index_forward(const IndexForward<T>& a) {
    const int64_t n = a.lead->count * a.count * a.tail->count;
    if (n > 0) launch("index", gather_kernel<T>, thread_each(n, kThreads), a.x, a.place, *a.lead, *a.tail, a.count, n, a.y);
}
template <class T> void index_put_rows(const IndexPutRows<T>& a) { put<false>(a); }
template <class T> void index_add_rows(const IndexPutRows<T>& a) { put<true>(a); }

template void index_places(const IndexPlaces<int64_t>&);
template void index_forward(const IndexForward<uint8_t>&);
template void index_forward(const IndexForward<uint16_t>&);
template void index_forward(const IndexForward<uint32_t>&);
template void index_forward(const IndexForward<uint64_t>&);
template void index_put_rows(const IndexPutRows<uint8_t>&);
template void index_put_rows(const IndexPutRows<uint16_t>&);
template void index_put_rows(const IndexPutRows<uint32_t>&);
template void index_put_rows(const IndexPutRows<uint64_t>&);
template void index_add_rows(const IndexPutRows<float>&);
template void index_add_rows(const IndexPutRows<double>&);
template void index_add_rows(const IndexPutRows<int64_t>&);
template void index_add_rows(const IndexPutRows<int32_t>&);

}  // namespace lc::cuda
