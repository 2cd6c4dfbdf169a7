// Compiler spellings used everywhere.
#pragma once

// Functions that ISA-compiled files share with the rest must leave no symbol behind (the linker would keep one
// copy for all ISAs, perhaps one with instructions this machine lacks): they are inlined always.
#ifdef __CUDACC__
#define LC_INLINE __host__ __device__ __forceinline__
#else
#define LC_INLINE __attribute__((always_inline)) inline
#endif
// A thread's own, reached without a call. The loader has little room for those, and none beside CUDA's runtime (CMakeLists.txt).
#ifdef LC_DYNAMIC_TLS
#define LC_THREAD_LOCAL thread_local
#else
#define LC_THREAD_LOCAL [[gnu::tls_model("initial-exec")]] thread_local
#endif
#define LC_NOINLINE __attribute__((noinline))
#define LC_API __attribute__((visibility("default")))
#define LC_LIKELY(x) __builtin_expect(!!(x), 1)
#define LC_UNLIKELY(x) __builtin_expect(!!(x), 0)
