// Memory of the runtime's own small objects: handles, nodes and lists of them come and go with every call of an op. A
// thread keeps what it frees for its next one of that size.
#pragma once
#include <cstddef>
#include "cpp/core/macros.h"

namespace lc {

LC_API void* pool_allocate(size_t bytes);             // bad_alloc on failure
LC_API void pool_release(void*, size_t bytes) noexcept;

// For the standard's containers.
template <class T> struct PoolAllocator {
    using value_type = T;
    PoolAllocator() = default;
    template <class U> PoolAllocator(const PoolAllocator<U>&) {}
    T* allocate(size_t n) { return static_cast<T*>(pool_allocate(n * sizeof(T))); }
    void deallocate(T* p, size_t n) noexcept { pool_release(p, n * sizeof(T)); }
    bool operator==(const PoolAllocator&) const { return true; }
};

}  // namespace lc
