// Clusters (sm_90): blocks that run at the same time and reach each other's shared memory.
#pragma once
#include "cuda/arch/pipeline.cuh"

namespace lc::cuda {

__device__ __forceinline__ int cluster_rank() {
#ifdef LC_EMULATED
    return emulator::cluster_rank();
#else
    int rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
#endif
}
// All threads of all its blocks. Nothing of a block may be touched by another one before its first such barrier, which follows
// phase_fence_init(), and after its last.
__device__ __forceinline__ void cluster_sync(LC_PLACE) {
#ifdef LC_EMULATED
    emulator::cluster_sync(place);
#else
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
// At block `rank`'s own barrier at b's place. Not .release.cluster, which is a fence for the whole chip in every step: this
// hands over places that only wgmma read, before its wait, and only TMA writes.
__device__ __forceinline__ void phase_arrive_at(PhaseBarrier& b, int rank LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::mbarrier_arrive(&b, 0, place, rank);
#else
    asm volatile(
        "{\n.reg .b32 there;\n mapa.shared::cluster.u32 there, %0, %1;\n"
        " mbarrier.arrive.shared::cluster.b64 _, [there];\n}\n" ::"r"(shared_address(&b)),
        "r"(rank) : "memory");
#endif
}
// A box, or a line of pixels, into the same place of every block whose bit is set, each told by its own barrier at full's place.
__device__ __forceinline__ void box_load_to(uint16_t blocks, void* to, const CUtensorMap& map, PhaseBarrier& full, int x, int y LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::box_load(to, &map, &full, {x, y}, place, blocks);
#else
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(shared_address(to)),
                 "l"(&map), "r"(shared_address(&full)), "r"(x), "r"(y), "h"(blocks) : "memory");
#endif
}
__device__ __forceinline__ void box_load_to(uint16_t blocks, void* to, const CUtensorMap& map, PhaseBarrier& full, int x, int y, int z, int w LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::box_load(to, &map, &full, {x, y, z, w}, place, blocks);
#else
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(shared_address(to)),
                 "l"(&map), "r"(shared_address(&full)), "r"(x), "r"(y), "r"(z), "r"(w), "h"(blocks) : "memory");
#endif
}
__device__ __forceinline__ void pixels_load_to(uint16_t blocks, void* to, const CUtensorMap& map, PhaseBarrier& full, int c, int w, int h, int n, int offset_w,
                                               int offset_h LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::pixels_load(to, &map, &full, {c, w, h, n, offset_w, offset_h}, place, blocks);
#else
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8}, %9;" ::"r"(
                     shared_address(to)),
                 "l"(&map), "r"(shared_address(&full)), "r"(c), "r"(w), "r"(h), "r"(n), "h"(uint16_t(offset_w)), "h"(uint16_t(offset_h)), "h"(blocks) : "memory");
#endif
}

}  // namespace lc::cuda
