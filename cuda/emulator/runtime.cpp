// The host API of the emulated GPU: one device. Streams are in streams.cpp, memory in memory.cpp.
// LITTLECORE_EMULATE=sm_80 makes it a chip without Hopper's instructions.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include "cuda/emulator/machine.h"
#include "cuda/emulator/tensor_map.h"

using namespace emulator;

cudaError_t cudaGetDeviceCount(int* n) {
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
    if (device != 0) return cudaErrorInvalidValue;
    const char* wanted = std::getenv("LITTLECORE_EMULATE");
    const bool ampere = wanted && !std::strcmp(wanted, "sm_80");
    *p = {};
    std::snprintf(p->name, sizeof(p->name), "emulated %s", ampere ? "sm_80" : "sm_90a");
    p->totalGlobalMem = size_t(4) << 30;
    p->sharedMemPerBlockOptin = ampere ? 101376 : kSharedLimit;
    p->major = ampere ? 8 : 9;
    p->multiProcessorCount = 4;                       // few, so that a persistent kernel's blocks take several tiles
    p->l2CacheSize = 50 << 20;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; }
cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) { return (*p = std::malloc(bytes ? bytes : 1)) ? cudaSuccess : cudaErrorMemoryAllocation; }
cudaError_t cudaFreeHost(void* p) {
    std::free(p);
    return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t e) {
    switch (e) {
        case cudaSuccess: return "no error";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorNoDevice: return "no device";
        default: return "invalid value";
    }
}

namespace emulator {

// The checks of cuTensorMapEncodeTiled. size, stride and box count from the innermost dimension; stride in bytes, from the second.
bool encode_tensor_map(CUtensorMap* out, const void* base, int item, int rank, const uint64_t* size, const uint64_t* stride, const uint32_t* box, bool swizzle_128, bool tf32) {
    if (uint64_t(base) % 16 || rank < 1 || rank > 5 || uint64_t(out) % 64) return false;
    TensorMap m{};
    m.magic = kTensorMapMagic;
    m.base = base;
    m.item = uint32_t(item);
    m.rank = int16_t(rank);
    m.swizzle_128 = swizzle_128;
    m.tf32 = tf32 && item == 4;
    m.stride[0] = uint64_t(item);
    for (int d = 0; d < rank; ++d) {
        if (size[d] < 1 || size[d] > 0xffffffffu || box[d] < 1 || box[d] > 256) return false;
        m.size[d] = uint32_t(size[d]);
        m.box[d] = box[d];
        if (d > 0) m.stride[d] = stride[d - 1];
        if (d > 0 && (stride[d - 1] % 16 || stride[d - 1] >= 1ull << 40)) return false;
    }
    const uint32_t inner = box[0] * uint32_t(item);
    if (inner % 16 || (swizzle_128 && inner > 128)) return false;
    *out = {};
    std::memcpy(static_cast<void*>(out), &m, sizeof(m));
    return true;
}

// The checks of cuTensorMapEncodeIm2col of four dimensions; corners and step are of w, h.
bool encode_pixels_map(CUtensorMap* out, const void* base, int item, const uint64_t* size, const uint64_t* stride, const int* lower, const int* upper, uint32_t channels,
                       uint32_t pixels, const uint32_t* step, bool swizzle_128) {
    const uint32_t box[4] = {channels, 1, 1, 1};
    if (pixels < 1 || pixels > 1024 || !encode_tensor_map(out, base, item, 4, size, stride, box, swizzle_128, false)) return false;
    TensorMap& m = *reinterpret_cast<TensorMap*>(out);
    m.pixels = true;
    m.box[1] = pixels;
    for (int d = 0; d < 2; ++d) {
        if (lower[d] < -128 || lower[d] > 127 || upper[d] < -128 || upper[d] > 127 || step[d] < 1 || step[d] > 8) return false;
        m.lower[d] = int16_t(lower[d]);
        m.upper[d] = int16_t(upper[d]);
        m.step[d] = uint8_t(step[d]);
    }
    return true;
}

}  // namespace emulator
