// A consumer's share of a product on Hopper: 64 rows and `cols` columns of sums in registers, over slices of the depth that
// a ring in shared memory brings. A slice is 128 bytes deep, 64 elements or 32 floats, and walked in fours of 32 bytes.
#pragma once
#include "cuda/arch/cluster.cuh"
#include "cuda/arch/pipeline.cuh"
#include "cuda/arch/wgmma.cuh"

namespace lc::cuda {

constexpr int kSliceDepth = 64;

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

}  // namespace lc::cuda
