// A group of threads that shares a row: a warp, or a whole block.
#pragma once
#include "cuda/arch/shared.cuh"
#include "cuda/arch/warp.cuh"

namespace lc::cuda {

template <class A, int threads> struct GroupResults {
    A of[threads / 32];
};

// threads: 32, a warp of its own; or the block's size. Every thread of the group gets f over all of its values, in one
// fixed order.
template <class A, int threads> struct Group {
    GroupResults<A, threads>& results;                // of the block; not touched by warps

    __device__ __forceinline__ int rank() const { return threads == 32 ? lane_id() : int(threadIdx.x); }

    template <class F> __device__ __forceinline__ A reduce(A x, F f, A identity) const {
        x = warp_reduce(x, f);
        if (threads == 32) return x;
        __syncthreads();                              // the last reduction's results have been read
        if (lane_id() == 0) results.of[warp_id()] = x;
        __syncthreads();                              // all warps' results are there
        return warp_reduce(lane_id() < threads / 32 ? results.of[lane_id()] : identity, f);
    }
    __device__ __forceinline__ A sum(A x) const {
        return reduce(x, [](A a, A b) { return a + b; }, A(0));
    }
};

}  // namespace lc::cuda
