// The block's dynamic shared memory as one named struct, and its 32-bit addresses.
#pragma once
#include <cuda_runtime.h>
#include <cstdint>

namespace lc::cuda {

// Bytes to ask for at launch: what S takes and what aligning its start may skip.
template <class S> constexpr int shared_bytes = int(sizeof(S) + (alignof(S) > 16 ? alignof(S) : 0));

template <class S> __device__ __forceinline__ S& shared_memory() {
#ifdef LC_EMULATED
    const uint64_t raw = uint64_t(emulator::dynamic_shared());
    return *reinterpret_cast<S*>((raw + alignof(S) - 1) / alignof(S) * alignof(S));
#else
    extern __shared__ __align__(16) unsigned char raw[];
    const uint32_t at = uint32_t(__cvta_generic_to_shared(raw));
    return *reinterpret_cast<S*>(raw + ((at + alignof(S) - 1) / alignof(S) * alignof(S) - at));
#endif
}

__device__ __forceinline__ uint32_t shared_address(const void* p) {
#ifdef LC_EMULATED
    return emulator::shared_address(p);
#else
    return uint32_t(__cvta_generic_to_shared(p));
#endif
}

}  // namespace lc::cuda
