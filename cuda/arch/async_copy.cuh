// cp.async: 16 bytes from global to shared memory without passing through registers, waited for by groups (sm_80).
#pragma once
#include "cuda/arch/place.cuh"
#include "cuda/arch/shared.cuh"

namespace lc::cuda {

// `bytes` of the 16 come from memory, the rest is zero; both addresses are multiples of 16.
__device__ __forceinline__ void copy_async(void* to, const void* from, int bytes LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::copy_async(to, from, bytes, place);
#else
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
#endif
}
__device__ __forceinline__ void copy_async_commit() {
#ifdef LC_EMULATED
    emulator::copy_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most `pending` of this thread's groups are under way; other threads see the data after a barrier.
template <int pending> __device__ __forceinline__ void copy_async_wait(LC_PLACE) {
#ifdef LC_EMULATED
    emulator::copy_async_wait(pending, place);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

}  // namespace lc::cuda
