// What products on Hopper share: the ring's beginning, the work of persistent blocks, and a consumer's share of a product, 64
// rows and `cols` columns of sums in registers, over slices of the depth that the ring brings. A slice is 128 bytes deep, 64
// elements or 32 floats, and walked in fours of 32 bytes.
#pragma once
#include "cuda/arch/cluster.cuh"
#include "cuda/arch/pipeline.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/arch/wgmma.cuh"

namespace lc::cuda {

constexpr int kSliceDepth = 64;

// By all of the block: barriers of a ring that `consumers` of each block of a pair, or of this one, release.
template <int stages>
__device__ __forceinline__ void begin_ring(PhaseBarrier (&full)[stages], PhaseBarrier (&empty)[stages], int consumers, bool pair, const CUtensorMap& map_a, const CUtensorMap& map_b) {
    if (threadIdx.x == 0) {
        for (int i = 0; i < stages; ++i) {
            phase_init(full[i], 1);
            phase_init(empty[i], consumers << pair);
        }
        phase_fence_init();
        box_prefetch(map_a);
        box_prefetch(map_b);
    }
    if (pair) cluster_sync();
    else __syncthreads();                             // everybody sees the barriers
}

// Tiles and parts by number; a pair of blocks counts as one.
template <class Problem> __device__ __forceinline__ int all_work(const Problem& p) { return (p.tiles_m >> p.pair) * p.tiles_n * p.parts; }
template <class Problem> __device__ __forceinline__ int first_work(const Problem& p) { return int(blockIdx.x) >> p.pair; }
template <class Problem> __device__ __forceinline__ int next_work(const Problem& p) { return int(gridDim.x) >> p.pair; }

// By all 128 threads of a consumer: a stage has been read, told to every block that loads into this one's ring.
__device__ __forceinline__ void release_stage(PhaseBarrier& empty, bool pair) {
    const int thread = int(threadIdx.x) % 128;
    if (!pair) {
        if (thread == 0) phase_arrive(empty);
    } else if (thread < 2) {
        phase_arrive_at(empty, thread);
    }
}

// first_a, first_b: where this consumer's operands begin in a stage, in the layouts of wgmma.cuh, across in slabs of 64.
template <class T, int cols, bool a_across, bool b_across, int a_size, int b_size, int stages>
__device__ __forceinline__ void multiply_slices(const T (&a)[stages][a_size], int first_a, const T (&b)[stages][b_size], int first_b, PhaseBarrier (&full)[stages], RingPlace<stages>& at,
                                                int slices, float (&sum)[cols / 2], PhaseBarrier (&empty)[stages], bool pair) {
    int before = -1;
    for (int done = 0; done < slices; ++done) {
        phase_wait(full[at.stage], at.lap);
        const uint64_t slice_a = tile_descriptor(&a[at.stage][first_a], 16, 1024);
        const uint64_t slice_b = tile_descriptor(&b[at.stage][first_b], b_across ? 64 * kSliceDepth * int(sizeof(T)) : 16, 1024);
        warpgroup_fence();
#pragma unroll
        for (int i = 0; i < kSliceDepth / 16; ++i)
            warpgroup_multiply<T, cols, a_across, b_across>(sum, advanced(slice_a, i * (a_across ? 2048 : 32)), advanced(slice_b, i * (b_across ? 2048 : 32)), done > 0 || i > 0);
        warpgroup_commit();
        warpgroup_wait<1>();                          // one stage's products stay under way; those before are done
        if (before >= 0) release_stage(empty[before], pair);
        before = at.stage;
        at.advance();
    }
    warpgroup_wait<0>();
    warpgroup_settle(sum);
    if (before >= 0) release_stage(empty[before], pair);
}

// A warp's 16 rows of sums as they are, to floats `stride` a row.
template <int cols> __device__ __forceinline__ void write_sums(float* to, int64_t stride, const float (&sum)[cols / 2]) {
    to += lane_id() / 4 * stride + lane_id() % 4 * 2;
#pragma unroll
    for (int i = 0; i < cols / 2; i += 4) {
        *reinterpret_cast<float2*>(to + i * 2) = make_float2(sum[i], sum[i + 1]);
        *reinterpret_cast<float2*>(to + i * 2 + 8 * stride) = make_float2(sum[i + 2], sum[i + 3]);
    }
}

}  // namespace lc::cuda
