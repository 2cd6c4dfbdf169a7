// sort on CUDA: all rows at once by a stable radix sort, first by key, then by row. Contract: cpp/ops/sort.h
// Memory bound: a pass to 4 bits of the key and of the number of rows, each reading and writing 8 bytes an element.
#include "cpp/ops/sort.h"
#include <bit>
#include "cuda/kernels/radix_sort.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

// Keys order as the elements do.
template <class K> __device__ __forceinline__ K float_key(K bits, K infinity, K sign) {
    const K magnitude = bits & ~sign;
    if (magnitude > infinity) return ~K(0);           // NaN
    if (magnitude == 0) return sign;                  // either zero
    return bits & sign ? K(sign - magnitude) : K(sign + magnitude);
}
template <class T> __device__ __forceinline__ uint64_t key_of(T x) {
    if constexpr (std::is_same_v<T, float>) return float_key<uint32_t>(std::bit_cast<uint32_t>(x), 0x7f800000, 0x80000000);
    else if constexpr (std::is_same_v<T, double>) return float_key<uint64_t>(std::bit_cast<uint64_t>(x), 0x7ffull << 52, 1ull << 63);
    else if constexpr (std::is_same_v<T, bfloat16>) return float_key<uint16_t>(x.bits, 0x7f80, 0x8000);
    else if constexpr (std::is_same_v<T, float16>) return float_key<uint16_t>(x.bits, 0x7c00, 0x8000);
    else if constexpr (std::is_same_v<T, int64_t>) return uint64_t(x) ^ 1ull << 63;
    else if constexpr (std::is_same_v<T, int32_t>) return uint32_t(x) ^ 0x80000000u;
    else return uint64_t(x);
}

// 32 bits of the keys, from `shift` on, of the elements in their present order.
template <class T> __global__ __launch_bounds__(kThreads) void keys_kernel(const T* x, int64_t count, int shift, bool descending, bool first, uint32_t* keys, uint32_t* order) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= count) return;
    if (first) order[i] = uint32_t(i);
    const uint32_t key = uint32_t(key_of(x[first ? i : order[i]]) >> shift);
    keys[i] = descending ? ~key : key;
}
__global__ __launch_bounds__(kThreads) void rows_kernel(const uint32_t* order, int64_t count, uint32_t n, uint32_t* keys) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < count) keys[i] = order[i] / n;
}
template <class T> __global__ __launch_bounds__(kThreads) void take_kernel(const T* x, const uint32_t* order, int64_t rows, int64_t n, int64_t keep, T* y, int64_t* index) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= rows * keep) return;
    const int64_t row = i / keep, from = order[row * n + i % keep];
    y[i] = x[from];
    index[i] = from - row * n;
}

// ---- host -------------------------------------------------------------------------------------------------------------

template <class T> void sort_rows(const SortForward<T>& a) {
    const int64_t count = a.rows * a.n;
    const Scratch<uint32_t> work(4 * count);
    uint32_t* const keys[2] = {work.data(), work.data() + count};
    uint32_t* const order[2] = {work.data() + 2 * count, work.data() + 3 * count};
    int at = 0;
    const auto sort_by = [&](int bits) {              // what keys[at] holds
        uint32_t* const k[2] = {keys[at], keys[1 - at]};
        uint32_t* const o[2] = {order[at], order[1 - at]};
        if (radix_sort("sort", k, o, count, bits) == 1) at = 1 - at;
    };
    constexpr int kBits = 8 * int(sizeof(T));
    for (int shift = 0; shift < kBits; shift += 32) {
        launch("sort", keys_kernel<T>, thread_each(count, kThreads), a.x, count, shift, a.descending, shift == 0, keys[at], order[at]);
        sort_by(kBits < 32 ? kBits : 32);
    }
    if (a.rows > 1) {
        launch("sort", rows_kernel, thread_each(count, kThreads), order[at], count, uint32_t(a.n), keys[at]);
        sort_by(bits_of(a.rows - 1));
    }
    launch("sort", take_kernel<T>, thread_each(a.rows * a.keep, kThreads), a.x, order[at], a.rows, a.n, a.keep, a.y, a.index);
}

}  // namespace

template <class T> void sort_forward(const SortForward<T>& a) {
    constexpr int64_t kMost = (int64_t(1) << 31) - 1; // elements to a sort
    LC_CHECK(a.n <= kMost, ValueError, "sort: ", a.n, " elements along a dim; on CUDA there may be 2^31 - 1");
    if (a.rows * a.keep == 0) return;
    const int64_t together = kMost / a.n;
    for (int64_t row = 0; row < a.rows; row += together) {
        SortForward<T> part = a;
        part.rows = a.rows - row < together ? a.rows - row : together;
        part.x += row * a.n;
        part.y += row * a.keep;
        part.index += row * a.keep;
        sort_rows(part);
    }
}

template void sort_forward(const SortForward<float>&);
template void sort_forward(const SortForward<double>&);
template void sort_forward(const SortForward<bfloat16>&);
template void sort_forward(const SortForward<float16>&);
template void sort_forward(const SortForward<int64_t>&);
template void sort_forward(const SortForward<int32_t>&);
template void sort_forward(const SortForward<uint8_t>&);
template void sort_forward(const SortForward<bool>&);

}  // namespace lc::cuda
