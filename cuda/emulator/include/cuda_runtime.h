// The part of CUDA's runtime API and built-ins that littlecore uses, for the emulator: stands in for the toolkit's header.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <tuple>
#include <utility>
#include <source_location>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// ---- host API -------------------------------------------------------------------------------------------------------

enum cudaError_t { cudaSuccess = 0,
                   cudaErrorInvalidValue = 1,
                   cudaErrorMemoryAllocation = 2,
                   cudaErrorNoDevice = 100,
                   cudaErrorNotReady = 600 };
enum cudaMemcpyKind { cudaMemcpyHostToHost,
                      cudaMemcpyHostToDevice,
                      cudaMemcpyDeviceToHost,
                      cudaMemcpyDeviceToDevice,
                      cudaMemcpyDefault };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
constexpr unsigned cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1;
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount, l2CacheSize;
};
enum cudaLaunchAttributeID { cudaLaunchAttributeClusterDimension = 4 };
struct cudaLaunchAttributeValue {
    struct {
        unsigned x, y, z;
    } clusterDim;
};
struct cudaLaunchAttribute {
    cudaLaunchAttributeID id;
    cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes = 0;
    cudaStream_t stream = nullptr;
    cudaLaunchAttribute* attrs = nullptr;
    unsigned numAttrs = 0;
};
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphNode_t = struct CUgraphNode_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
struct cudaKernelNodeParams {
    void* func;
    dim3 gridDim, blockDim;
    unsigned sharedMemBytes;
    void** kernelParams;
    void** extra;
};
struct cudaMemsetParams {
    void* dst;
    size_t pitch;
    unsigned value, elementSize;
    size_t width, height;
};
struct alignas(128) CUtensorMap {
    uint64_t opaque[16];
};

cudaError_t cudaGetDeviceCount(int* n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocHost(void** p, size_t bytes);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void* p, int byte, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t e);
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* kernel, void** parameters);

cudaError_t cudaGraphCreate(cudaGraph_t* g, unsigned flags);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, const cudaKernelNodeParams* p);
cudaError_t cudaGraphKernelNodeSetAttribute(cudaGraphNode_t n, cudaLaunchAttributeID id, const cudaLaunchAttributeValue* v);
cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, const cudaMemsetParams* p);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t n, const cudaKernelNodeParams* p);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);

#include "cuda/emulator/emulator.h"

// ---- built-in variables and functions of kernels ----------------------------------------------------------------------

namespace emulator {
const uint3& thread_index();
const uint3& block_index();
const dim3& block_size();
const dim3& grid_size();
}  // namespace emulator
template <auto get, int axis> struct EmulatorAxis {
    operator unsigned() const { return axis == 0 ? get().x : axis == 1 ? get().y
                                                                       : get().z; }
};
template <auto get> struct EmulatorIndex {
    EmulatorAxis<get, 0> x;
    EmulatorAxis<get, 1> y;
    EmulatorAxis<get, 2> z;
};
inline constexpr EmulatorIndex<emulator::thread_index> threadIdx;
inline constexpr EmulatorIndex<emulator::block_index> blockIdx;
inline constexpr EmulatorIndex<emulator::block_size> blockDim;
inline constexpr EmulatorIndex<emulator::grid_size> gridDim;

using EmulatorPlace = std::source_location;
inline void __syncthreads(EmulatorPlace at = EmulatorPlace::current()) { emulator::syncthreads(at); }
inline void __syncwarp(uint32_t mask = ~0u, EmulatorPlace at = EmulatorPlace::current()) { emulator::syncwarp(mask, at); }
inline uint32_t __ballot_sync(uint32_t mask, int value, EmulatorPlace at = EmulatorPlace::current()) { return emulator::ballot(value != 0, mask, at); }
inline bool __any_sync(uint32_t mask, int value, EmulatorPlace at = EmulatorPlace::current()) { return emulator::ballot(value != 0, mask, at) != 0; }

namespace emulator {
template <class T> T shuffle_any(T value, int from_lane, uint32_t mask, Place at) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    bits = shuffle(bits, from_lane, mask, at);
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}
}  // namespace emulator
template <class T> T __shfl_xor_sync(uint32_t mask, T value, int lanes, int = 32, EmulatorPlace at = EmulatorPlace::current()) {
    return emulator::shuffle_any(value, int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32 ^ lanes, mask, at);
}
template <class T> T __shfl_up_sync(uint32_t mask, T value, int lanes, int = 32, EmulatorPlace at = EmulatorPlace::current()) {
    const int lane = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
    return emulator::shuffle_any(value, lane < lanes ? lane : lane - lanes, mask, at);
}
template <class T> T __shfl_sync(uint32_t mask, T value, int lane, int = 32, EmulatorPlace at = EmulatorPlace::current()) {
    return emulator::shuffle_any(value, lane & 31, mask, at);
}

template <class T> T atomicAdd(T* p, T value) {
    emulator::atomic_access(p, sizeof(T));
    return __atomic_fetch_add(p, value, __ATOMIC_RELAXED);
}
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
