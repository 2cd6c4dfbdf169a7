// nonzero on CUDA: a pass that counts, a pass that writes, a block for each kNonzeroBlock elements. Contract: cpp/ops/nonzero.h
// Memory bound: reads x twice, writes 8 bytes a coordinate.
#include "cpp/ops/nonzero.h"
#include "cuda/arch/block.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

template <class T> __device__ __forceinline__ bool set(T x) {
    if constexpr (sizeof(T) == 2) return (x.bits & 0x7fff) != 0;       // 16-bit floats: either zero
    else return x != T(0);
}

template <class T> __global__ __launch_bounds__(kThreads) void count_kernel(NonzeroCount<T> a) {
    const Group<int, kThreads> group{shared_memory<GroupResults<int, kThreads>>()};
    const int64_t begin = int64_t(blockIdx.x) * kNonzeroBlock, end = begin + kNonzeroBlock < a.n ? begin + kNonzeroBlock : a.n;
    int count = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) count += set(a.x[i]);
    count = group.sum(count);
    if (threadIdx.x == 0) a.counts[blockIdx.x] = count;
}

struct Sizes {
    int rank;
    int64_t of[kMaxDims];
};

// As many elements at a time as the block has threads: in order, since a warp's place is the sum of the warps before it.
template <class T> __global__ __launch_bounds__(kThreads) void write_kernel(NonzeroForward<T> a, Sizes sizes) {
    auto& found = shared_memory<GroupResults<int, kThreads>>();
    const int64_t begin = int64_t(blockIdx.x) * kNonzeroBlock, end = begin + kNonzeroBlock < a.n ? begin + kNonzeroBlock : a.n;
    int64_t to = a.starts[blockIdx.x];
    for (int64_t first = begin; first < end; first += kThreads) {
        const int64_t i = first + threadIdx.x;
        const bool here = i < end && set(a.x[i]);
        const unsigned lanes = __ballot_sync(kAllLanes, here);
        __syncthreads();                              // the last counts have been read
        if (lane_id() == 0) found.of[warp_id()] = __popc(lanes);
        __syncthreads();                              // all warps' counts are there
        int before = __popc(lanes & ((1u << lane_id()) - 1)), all = 0;
        for (int w = 0; w < kThreads / 32; ++w) {
            if (w < warp_id()) before += found.of[w];
            all += found.of[w];
        }
        if (here) {
            int64_t* y = a.y + (to + before) * sizes.rank;
            int64_t left = i;
            for (int k = sizes.rank - 1; k > 0; --k) {
                y[k] = left % sizes.of[k];
                left /= sizes.of[k];
            }
            y[0] = left;
        }
        to += all;
    }
}

}  // namespace

template <class T> void nonzero_count(const NonzeroCount<T>& a) {
    if (a.n > 0) launch("nonzero", count_kernel<T>, {Blocks(div_up(a.n, kNonzeroBlock)), dim3(kThreads), shared_bytes<GroupResults<int, kThreads>>}, a);
}
template <class T> void nonzero_forward(const NonzeroForward<T>& a) {
    Sizes sizes{a.sizes->size(), {}};
    for (int k = 0; k < sizes.rank; ++k) sizes.of[k] = (*a.sizes)[k];
    launch("nonzero", write_kernel<T>, {Blocks(div_up(a.n, kNonzeroBlock)), dim3(kThreads), shared_bytes<GroupResults<int, kThreads>>}, a, sizes);
}

#define LC_INSTANTIATE(T) \
    template void nonzero_count(const NonzeroCount<T>&); \
    template void nonzero_forward(const NonzeroForward<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
LC_INSTANTIATE(bfloat16)
LC_INSTANTIATE(float16)
LC_INSTANTIATE(int64_t)
LC_INSTANTIATE(int32_t)
LC_INSTANTIATE(uint8_t)
LC_INSTANTIATE(bool)
#undef LC_INSTANTIATE

}  // namespace lc::cuda
