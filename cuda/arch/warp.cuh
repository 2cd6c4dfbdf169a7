// Warps: who am I, reductions, and barriers of part of a block.
#pragma once
#include <cuda_runtime.h>
#include "cuda/arch/place.cuh"

namespace lc::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ int lane_id() { return int(threadIdx.x) % 32; }
__device__ __forceinline__ int warp_id() { return int(threadIdx.x) / 32; }

// f(a, b) over the lanes of a warp in a fixed order; every lane gets the result.
template <class T, class F> __device__ __forceinline__ T warp_reduce(T x, F f) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x = f(x, __shfl_xor_sync(kAllLanes, x, lanes));
    return x;
}

// Named barriers 1 to 15; `threads` of the block meet there. The id is an immediate: a register would claim all 16.
template <int id> __device__ __forceinline__ void barrier_sync(int threads LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::named_barrier(id, threads, true, place);
#else
    asm volatile("bar.sync %0, %1;" ::"n"(id), "r"(threads) : "memory");
#endif
}
template <int id> __device__ __forceinline__ void barrier_arrive(int threads LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::named_barrier(id, threads, false, place);
#else
    asm volatile("bar.arrive %0, %1;" ::"n"(id), "r"(threads) : "memory");
#endif
}

}  // namespace lc::cuda
