// A stable sort of 32-bit keys with 32-bit values, 4 bits at a time from the lowest: nothing depends on how blocks are
// scheduled. Three launches to 4 bits; a pass reads keys and values once, keys once more, and writes both.
#pragma once
#include "cuda/arch/shared.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {

constexpr int kSortThreads = 256, kSortEach = 8, kSortTile = kSortThreads * kSortEach, kDigits = 16;

namespace radix {

// How many keys of each digit every thread of the block has; then, where the first of them goes.
struct Counters {
    uint32_t of[kDigits][kSortThreads];
};

__device__ __forceinline__ int digit(uint32_t key, int shift) { return int(key >> shift & (kDigits - 1)); }

// A thread's keys are adjacent, and threads follow each other: the order of threads is that of the keys.
__device__ __forceinline__ void count_digits(Counters& c, const uint32_t* keys, int64_t n, int shift) {
    for (int d = 0; d < kDigits; ++d) c.of[d][threadIdx.x] = 0;
    const int64_t begin = int64_t(blockIdx.x) * kSortTile + int64_t(threadIdx.x) * kSortEach;
    for (int i = 0; i < kSortEach; ++i)
        if (begin + i < n) ++c.of[digit(keys[begin + i], shift)][threadIdx.x];
    __syncthreads();                                  // warps go over the counts of other threads
}
// Of all lanes before this one.
__device__ __forceinline__ uint32_t warp_before(uint32_t x) {
    uint32_t sum = x;
    for (int step = 1; step < 32; step *= 2) {
        const uint32_t other = __shfl_up_sync(kAllLanes, sum, step);
        if (lane_id() >= step) sum += other;
    }
    return sum - x;
}

static __global__ __launch_bounds__(kSortThreads) void count_kernel(const uint32_t* keys, int64_t n, int shift, uint32_t* counts) {
    auto& c = shared_memory<Counters>();
    count_digits(c, keys, n, shift);
    for (int d = warp_id(); d < kDigits; d += kSortThreads / 32) {
        uint32_t sum = 0;
        for (int t = lane_id(); t < kSortThreads; t += 32) sum += c.of[d][t];
        sum = warp_reduce(sum, [](uint32_t a, uint32_t b) { return a + b; });
        if (lane_id() == 0) counts[int64_t(d) * gridDim.x + blockIdx.x] = sum;
    }
}
// counts[i] becomes the sum of those before it; one warp.
static __global__ __launch_bounds__(32) void scan_kernel(uint32_t* counts, int64_t n) {
    uint32_t carry = 0;
    for (int64_t begin = 0; begin < n; begin += 32) {
        const int64_t i = begin + lane_id();
        const uint32_t x = i < n ? counts[i] : 0, before = carry + warp_before(x);
        if (i < n) counts[i] = before;
        carry = __shfl_sync(kAllLanes, before + x, 31);
    }
}
static __global__ __launch_bounds__(kSortThreads) void scatter_kernel(const uint32_t* keys, const uint32_t* values, int64_t n, int shift, const uint32_t* places, uint32_t* keys_out, uint32_t* values_out) {
    auto& c = shared_memory<Counters>();
    count_digits(c, keys, n, shift);
    for (int d = warp_id(); d < kDigits; d += kSortThreads / 32) {
        constexpr int kRun = kSortThreads / 32;       // threads of a lane
        uint32_t sum = 0;
        for (int j = 0; j < kRun; ++j) sum += c.of[d][lane_id() * kRun + j];
        uint32_t at = places[int64_t(d) * gridDim.x + blockIdx.x] + warp_before(sum);
        for (int j = 0; j < kRun; ++j) {
            const uint32_t count = c.of[d][lane_id() * kRun + j];
            c.of[d][lane_id() * kRun + j] = at;
            at += count;
        }
    }
    __syncthreads();                                  // every thread's places have been found
    const int64_t begin = int64_t(blockIdx.x) * kSortTile + int64_t(threadIdx.x) * kSortEach;
    for (int i = 0; i < kSortEach; ++i)
        if (begin + i < n) {
            const uint32_t key = keys[begin + i], to = c.of[digit(key, shift)][threadIdx.x]++;
            keys_out[to] = key;
            values_out[to] = values[begin + i];
        }
}

}  // namespace radix

// Bits of the numbers up to n.
inline int bits_of(int64_t n) {
    int bits = 0;
    while (int64_t(1) << bits <= n) ++bits;
    return bits;
}

// Sorts by the lowest `bits` of the keys. keys and values: two arrays each; the result is in the one that is returned.
inline int radix_sort(const char* name, uint32_t* const (&keys)[2], uint32_t* const (&values)[2], int64_t n, int bits) {
    const int64_t blocks = div_up(n, kSortTile);
    if (n == 0) return 0;
    const Scratch<uint32_t> counts(blocks * kDigits);
    constexpr int kShared = shared_bytes<radix::Counters>;
    int from = 0;
    for (int shift = 0; shift < bits; shift += 4, from = 1 - from) {
        launch(name, radix::count_kernel, {Blocks(blocks), dim3(kSortThreads), kShared}, keys[from], n, shift, counts.data());
        launch(name, radix::scan_kernel, {Blocks(1), dim3(32)}, counts.data(), blocks * kDigits);
        launch(name, radix::scatter_kernel, {Blocks(blocks), dim3(kSortThreads), kShared}, keys[from], values[from], n, shift, counts.data(), keys[1 - from], values[1 - from]);
    }
    return from;
}

}  // namespace lc::cuda
