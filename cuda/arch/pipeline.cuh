// Hopper's asynchronous machinery (sm_90): mbarriers, the tensor copy engine (TMA), proxy fences.
#pragma once
#include <cuda_runtime.h>
#ifndef LC_EMULATED
#include <cuda.h>
#endif
#include "cuda/arch/place.cuh"
#include "cuda/arch/shared.cuh"

namespace lc::cuda {

// A phase ends when `count` arrivals and all expected bytes have come; then the next one begins.
struct alignas(8) PhaseBarrier {
    uint64_t state;
};

__device__ __forceinline__ void phase_init(PhaseBarrier& b, int count) {
#ifdef LC_EMULATED
    emulator::mbarrier_init(&b, count);
#else
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(count) : "memory");
#endif
}
// Makes initialized barriers visible to the copy engine; a barrier of the block must follow.
__device__ __forceinline__ void phase_fence_init() {
#ifdef LC_EMULATED
    emulator::mbarrier_fence_init();
#else
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ __forceinline__ void phase_arrive(PhaseBarrier& b LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::mbarrier_arrive(&b, 0, place);
#else
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
#endif
}
__device__ __forceinline__ void phase_arrive_expecting(PhaseBarrier& b, int bytes LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::mbarrier_arrive(&b, bytes, place);
#else
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)), "r"(bytes) : "memory");
#endif
}
// Until the phase of this parity is over. The phase before the first one has parity 1 and is over from the start.
__device__ __forceinline__ void phase_wait(PhaseBarrier& b, int parity LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::mbarrier_wait(&b, parity, place);
#else
    asm volatile(
        "{\n.reg .pred done;\n"
        "WAIT%=:\n mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra DONE%=;\n bra WAIT%=;\nDONE%=:\n}\n" ::"r"(shared_address(&b)),
        "r"(parity) : "memory");
#endif
}

// Where a ring of `stages` stands: the stage, and the parity of its current lap.
template <int stages> struct RingPlace {
    int stage = 0, lap = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == stages) {
            stage = 0;
            lap ^= 1;
        }
    }
};

// ---- TMA: boxes of a tensor map; what lies outside the tensor reads as zero and is not written -----------------------

__device__ __forceinline__ void box_prefetch(const CUtensorMap& map) {
#ifndef LC_EMULATED
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#else
    (void)map;
#endif
}
__device__ __forceinline__ void box_load(void* to, const CUtensorMap& map, PhaseBarrier& full, int x, int y LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::box_load(to, &map, &full, {x, y}, place);
#else
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)), "l"(&map),
                 "r"(shared_address(&full)), "r"(x), "r"(y) : "memory");
#endif
}
__device__ __forceinline__ void box_load(void* to, const CUtensorMap& map, PhaseBarrier& full, int x, int y, int z, int w LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::box_load(to, &map, &full, {x, y, z, w}, place);
#else
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)),
                 "l"(&map), "r"(shared_address(&full)), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
#endif
}
// A line of pixels (im2col), from the one at w, h of image n on, each moved by the offsets: a window's tap.
__device__ __forceinline__ void pixels_load(void* to, const CUtensorMap& map, PhaseBarrier& full, int c, int w, int h, int n, int offset_w, int offset_h LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::pixels_load(to, &map, &full, {c, w, h, n, offset_w, offset_h}, place);
#else
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(to)),
                 "l"(&map), "r"(shared_address(&full)), "r"(c), "r"(w), "r"(h), "r"(n), "h"(uint16_t(offset_w)), "h"(uint16_t(offset_h)) : "memory");
#endif
}
__device__ __forceinline__ void box_store(const CUtensorMap& map, const void* from, int x, int y LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::box_store(&map, from, {x, y}, place);
#else
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map), "r"(shared_address(from)), "r"(x), "r"(y) : "memory");
#endif
}
__device__ __forceinline__ void box_store(const CUtensorMap& map, const void* from, int x, int y, int z, int w LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::box_store(&map, from, {x, y, z, w}, place);
#else
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map), "r"(shared_address(from)), "r"(x), "r"(y), "r"(z),
                 "r"(w) : "memory");
#endif
}
__device__ __forceinline__ void box_store_commit() {
#ifdef LC_EMULATED
    emulator::box_store_commit();
#else
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
// Until at most `pending` of this thread's store groups still read shared memory.
template <int pending> __device__ __forceinline__ void box_store_wait(LC_PLACE) {
#ifdef LC_EMULATED
    emulator::box_store_wait(pending, place);
#else
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
#endif
}
// Until all of this thread's stores have arrived: before it ends, or tells others that they are there.
__device__ __forceinline__ void box_store_finish(LC_PLACE) {
#ifdef LC_EMULATED
    emulator::box_store_wait(0, place);
#else
    asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
#endif
}

// Ordinary writes to shared memory before it become visible to TMA and wgmma; by every writing thread, before a barrier.
__device__ __forceinline__ void fence_async_proxy() {
#ifdef LC_EMULATED
    emulator::fence_async_proxy();
#else
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// One warpgroup's share of the registers: multiples of 8. Needs __launch_bounds__.
template <int n> __device__ __forceinline__ void give_registers() {
#ifndef LC_EMULATED
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
#endif
}
template <int n> __device__ __forceinline__ void take_registers() {
#ifndef LC_EMULATED
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
#endif
}

}  // namespace lc::cuda
