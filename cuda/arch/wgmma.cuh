// wgmma (sm_90a): d[64 x N] (+)= a[64 x 16] b[16 x N] by a warpgroup, operands in shared memory with 128-byte swizzle; a also
// in registers. Of floats, read as tf32, it is 8 of k, the same 32 bytes, and only along the depth.
//
// A descriptor names an operand's tile. Along depth (k adjacent): rows of 64 elements, groups of 8 rows stride_bytes
// apart; a step of 16 in k is 32 bytes. Across (m or n adjacent): slabs of 64 elements leading_bytes apart, each with
// rows of k, groups of 8 of them stride_bytes apart; a step of 16 in k is 2048 bytes.
#pragma once
#include "cpp/core/dtype.h"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/place.cuh"
#include "cuda/arch/shared.cuh"

namespace lc::cuda {

__device__ __forceinline__ uint64_t tile_descriptor(const void* tile, int leading_bytes, int stride_bytes) {
    return uint64_t((shared_address(tile) & 0x3ffff) >> 4) | uint64_t(leading_bytes >> 4) << 16 | uint64_t(stride_bytes >> 4) << 32 | uint64_t(1) << 62;
}
// The descriptor of what lies `bytes` further on: addresses do not reach the upper half.
__device__ __forceinline__ uint64_t advanced(uint64_t descriptor, int bytes) { return (descriptor >> 32 << 32) | (uint32_t(descriptor) + uint32_t(bytes >> 4)); }

__device__ __forceinline__ void warpgroup_fence() {
#ifdef LC_EMULATED
    emulator::warpgroup_fence();
#else
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void warpgroup_commit() {
#ifdef LC_EMULATED
    emulator::warpgroup_commit();
#else
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int pending> __device__ __forceinline__ void warpgroup_wait(LC_PLACE) {
#ifdef LC_EMULATED
    emulator::warpgroup_wait(pending, place);
#else
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
#endif
}
// After the wait: what is computed from d stays behind it. The compiler sees registers, and not that a wait fills them.
template <int n> __device__ __forceinline__ void warpgroup_settle(float (&d)[n]) {
#ifndef LC_EMULATED
#pragma unroll
    for (int i = 0; i < n; ++i) asm volatile("" : "+f"(d[i])::"memory");
#else
    (void)d;
#endif
}

#define LC_D8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define LC_D32(i) LC_D8(i), LC_D8(i + 8), LC_D8(i + 16), LC_D8(i + 24)
#define LC_SUMS_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LC_SUMS_64 \
    LC_SUMS_32 \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define LC_SUMS_128 \
    LC_SUMS_64 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// The operands that follow the sums, by number: a, b, whether to add, which of a and b lie across.
#define LC_WGMMA(n, type, sums, a, b, add, across) \
    "{\n.reg .pred add;\n setp.ne.b32 add, " add ", 0;\n wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" sums "}, " a ", " b ", add, 1, 1, " across ";\n}\n"

#define LC_WGMMA_TF32(n, sums, a, b, add) \
    "{\n.reg .pred add;\n setp.ne.b32 add, " add ", 0;\n wgmma.mma_async.sync.aligned.m64n" n "k8.f32.tf32.tf32 {" sums "}, " a ", " b ", add, 1, 1;\n}\n"

// d[i]: row 16 (warp % 4) + lane / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (lane % 4) + i % 2. Not to be touched before the
// wait. a_across, b_across: the operand's adjacent elements run along m or n.
template <class T, int n, bool a_across, bool b_across>
__device__ __forceinline__ void warpgroup_multiply(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate LC_AND_PLACE) {
    static_assert(n == 64 || n == 128 || n == 256, "the widths written out here");
    static_assert(sizeof(T) == 2 || (n >= 128 && !a_across && !b_across));
#ifdef LC_EMULATED
    emulator::warpgroup_multiply(d, n, nullptr, a, b, accumulate, a_across, b_across, element_of<T>, place);
#else
#define LC_INPUTS "l"(a), "l"(b), "r"(int(accumulate)), "n"(int(a_across)), "n"(int(b_across))
#define LC_64(type) asm volatile(LC_WGMMA("64", type, LC_SUMS_32, "%32", "%33", "%34", "%35, %36") : LC_D32(0) : LC_INPUTS)
#define LC_128(type) asm volatile(LC_WGMMA("128", type, LC_SUMS_64, "%64", "%65", "%66", "%67, %68") : LC_D32(0), LC_D32(32) : LC_INPUTS)
#define LC_256(type) \
    asm volatile(LC_WGMMA("256", type, LC_SUMS_128, "%128", "%129", "%130", "%131, %132") : LC_D32(0), LC_D32(32), LC_D32(64), LC_D32(96) : LC_INPUTS)
    if constexpr (n == 128 && sizeof(T) == 4)
        asm volatile(LC_WGMMA_TF32("128", LC_SUMS_64, "%64", "%65", "%66") : LC_D32(0), LC_D32(32) : "l"(a), "l"(b), "r"(int(accumulate)));
    else if constexpr (sizeof(T) == 4)
        asm volatile(LC_WGMMA_TF32("256", LC_SUMS_128, "%128", "%129", "%130") : LC_D32(0), LC_D32(32), LC_D32(64), LC_D32(96) : "l"(a), "l"(b), "r"(int(accumulate)));
    else if constexpr (n == 64 && std::is_same_v<T, bfloat16>) LC_64("bf16");
    else if constexpr (n == 64) LC_64("f16");
    else if constexpr (n == 128 && std::is_same_v<T, bfloat16>) LC_128("bf16");
    else if constexpr (n == 128) LC_128("f16");
    else if constexpr (std::is_same_v<T, bfloat16>) LC_256("bf16");
    else LC_256("f16");
#undef LC_256
#undef LC_128
#undef LC_64
#undef LC_INPUTS
#endif
}

// The same with a in registers, fragments as of mma_16x8x16: a warp's 16 rows. They are read until the wait, as d is
// written: not to be touched before it, and to be held until it.
template <class T, int n, bool b_across>
__device__ __forceinline__ void warpgroup_multiply(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate LC_AND_PLACE) {
    static_assert(n == 64 || n == 128, "the widths written out here");
#ifdef LC_EMULATED
    emulator::warpgroup_multiply(d, n, a, 0, b, accumulate, false, b_across, element_of<T>, place);
#else
#define LC_INPUTS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(int(b_across))
#define LC_64(type) asm volatile(LC_WGMMA("64", type, LC_SUMS_32, "{%32, %33, %34, %35}", "%36", "%37", "%38") : LC_D32(0) : LC_INPUTS)
#define LC_128(type) asm volatile(LC_WGMMA("128", type, LC_SUMS_64, "{%64, %65, %66, %67}", "%68", "%69", "%70") : LC_D32(0), LC_D32(32) : LC_INPUTS)
    if constexpr (n == 64 && std::is_same_v<T, bfloat16>) LC_64("bf16");
    else if constexpr (n == 64) LC_64("f16");
    else if constexpr (std::is_same_v<T, bfloat16>) LC_128("bf16");
    else LC_128("f16");
#undef LC_128
#undef LC_64
#undef LC_INPUTS
#endif
}
// After the wait: until here the registers belonged to the product, whatever the compiler thinks of them.
template <int k> __device__ __forceinline__ void warpgroup_hold(uint32_t (&a)[k][4]) {
#ifndef LC_EMULATED
#pragma unroll
    for (int i = 0; i < k; ++i) asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
#else
    (void)a;
#endif
}
#undef LC_WGMMA_TF32
#undef LC_WGMMA
#undef LC_SUMS_128
#undef LC_SUMS_64
#undef LC_SUMS_32
#undef LC_D32
#undef LC_D8

}  // namespace lc::cuda
