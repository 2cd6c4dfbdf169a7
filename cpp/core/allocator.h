// The one allocator: every tensor and every scratch buffer comes from here.
//
// Blocks are 64-byte aligned at least, cached by size class and not given back to the system until empty_cache(), so a
// steady training step asks the system for nothing. Large regions are mapped with huge pages: first touch of fresh
// memory costs twenty times its traffic otherwise.
#pragma once
#include <cstddef>
#include <cstdint>
#include "cpp/core/macros.h"

namespace lc {

constexpr size_t kAlignment = 64;                     // a cache line, and what JAX asks for to alias an array

LC_API void* allocate(size_t bytes);                  // MemoryError on failure; allocate(0) is a valid unique pointer
LC_API void release(void*) noexcept;                  // nullptr is allowed

struct Region;

struct MemoryStats {
    int64_t live_bytes, live_blocks;                  // handed out now
    int64_t peak_bytes;                               // highest live_bytes since reset_peak()
    int64_t reserved_bytes;                           // held from the system
    int64_t allocations;                              // calls of allocate() so far
    int64_t system_allocations;                       // times the system was asked
    int64_t overruns;                                 // poisoned blocks released with the bytes behind them written to
};

namespace memory {
LC_API MemoryStats stats();
LC_API void reset_peak();
LC_API void empty_cache();                            // gives unused regions back
LC_API void fail_at(int64_t n);                       // the n-th allocate() from now raises MemoryError, once; 0: none
LC_API void poison(bool on);                          // new blocks are filled with 0xFF, NaN in every float type, and guarded
LC_API bool poisoned();

// Memory of its own for one plan: what is allocated while the thread uses a region is reused within it alone.
LC_API Region* new_region();
LC_API void drop_region(Region*) noexcept;            // given back to the system when its last block is released
LC_API Region* use_region(Region*) noexcept;          // for this thread; null: the common one. Returns the one before
LC_API Region* region_of(const void* data);           // of a live block
LC_API int64_t live_blocks(const Region*);
}  // namespace memory

// Scratch of one kernel call. Inlined into ISA-compiled files.
template <class T> class Buffer {
public:
    explicit LC_INLINE Buffer(int64_t count) : data_(static_cast<T*>(allocate(size_t(count) * sizeof(T)))) {}
    LC_INLINE ~Buffer() { release(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    LC_INLINE T* data() const { return data_; }
    LC_INLINE T& operator[](int64_t i) const { return data_[i]; }

private:
    T* data_;
};

}  // namespace lc
