// What a kernel cannot go on without, such as an index inside its table. It ends the kernel, and the process's use of the
// device with it: the host asks first wherever it can without waiting for the device.
#pragma once
#include <cuda_runtime.h>
#include "cuda/arch/place.cuh"

namespace lc::cuda {

__device__ __forceinline__ void require(bool holds LC_AND_PLACE) {
    if (holds) return;
#ifdef LC_EMULATED
    emulator::give_up(place);
#else
    __trap();
#endif
}

}  // namespace lc::cuda
