// The emulator as kernels see it: the implementations behind cuda/arch and the built-in functions of CUDA.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <tuple>
#include <utility>
#include "cuda_runtime.h"

namespace emulator {

using Place = std::source_location;
enum class Element : uint8_t { bfloat16,
                               float16,
                               tf32 };

// ---- shared memory and warps ----------------------------------------------------------------------------------------

void* dynamic_shared();                               // deliberately aligned to 16 bytes only
uint32_t shared_address(const void* p);
void syncthreads(Place at);
void syncwarp(uint32_t mask, Place at);
uint64_t shuffle(uint64_t value, int from_lane, uint32_t mask, Place at);
uint32_t ballot(bool value, uint32_t mask, Place at);
void atomic_access(const void* p, uint32_t bytes);    // the access that follows is atomic
template <class F> auto unchecked(F f);

// ---- what PTX does --------------------------------------------------------------------------------------------------

int cluster_rank();
void cluster_sync(Place at);
void named_barrier(int id, int threads, bool wait, Place at);
void load_matrix(uint32_t (&r)[4], const void* row, bool transposed, Place at);
void store_matrix(void* row, const uint32_t (&r)[4], bool transposed, Place at);
void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Element e, Place at);
void mma_16x8x8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place at);

void copy_async(void* to, const void* from, int bytes, Place at);
void copy_async_commit();
void copy_async_wait(int pending, Place at);

void mbarrier_init(void* barrier, int count);
void mbarrier_fence_init();
void mbarrier_arrive(void* barrier, int64_t bytes, Place at, int rank = -1);     // bytes to expect besides; rank: in that block of the cluster
void mbarrier_wait(void* barrier, int parity, Place at);

void box_load(void* to, const CUtensorMap* map, void* barrier, const int (&at)[6], Place place, uint32_t blocks = 0);     // a bit for each that gets it
void pixels_load(void* to, const CUtensorMap* map, void* barrier, const int (&at)[6], Place place, uint32_t blocks = 0);      // at: c, w, h, n, offsets of w, h
void box_store(const CUtensorMap* map, const void* from, const int (&at)[6], Place place);
void box_store_commit();
void box_store_wait(int pending, Place at);
void fence_async_proxy();

void warpgroup_fence();
void warpgroup_multiply(float* d, int columns, const uint32_t* a_registers, uint64_t a, uint64_t b, bool accumulate, bool a_transposed, bool b_transposed, Element e, Place at);
void warpgroup_commit();
void warpgroup_wait(int pending, Place at);

[[noreturn]] void give_up(Place at);                   // the kernel's own: what it requires does not hold

// ---- launches -------------------------------------------------------------------------------------------------------

void name_launch(const char* name);                   // of the next launch, for messages
void run(const cudaLaunchConfig_t& c, void (*body)(void*), void* argument);

// A kernel seen through a pointer to void: how its parameters are kept, and how it is called with them.
struct Kernel {
    std::shared_ptr<void> (*copy)(void** parameters);
    void (*call)(const void* kernel, void* parameters);
};
void introduce(const void* kernel, Kernel);
template <class... P> void introduce(void (*kernel)(P...)) {
    using Parameters = std::tuple<P...>;
    introduce(reinterpret_cast<const void*>(kernel),
              {[](void** from) -> std::shared_ptr<void> {
                   return [&]<size_t... i>(std::index_sequence<i...>) { return std::make_shared<Parameters>(*static_cast<P*>(from[i])...); }(std::index_sequence_for<P...>());
               },
               [](const void* kernel, void* p) { std::apply(reinterpret_cast<void (*)(P...)>(const_cast<void*>(kernel)), *static_cast<Parameters*>(p)); }});
}

// What the caching allocator tells, in the stream's order: [p, p + bytes) may be used and holds nothing yet; [p, p + bytes)
// may not be touched.
void own(void* p, size_t bytes, cudaStream_t s = nullptr);
void disown(void* p, size_t bytes, cudaStream_t s = nullptr);

}  // namespace emulator
