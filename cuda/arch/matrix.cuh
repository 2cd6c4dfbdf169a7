// Tensor cores of sm_80 and later: 8x8 matrices between shared memory and registers, and products of fragments.
//
// Fragments of a lane, g = lane / 4, t = lane % 4:
//   a (16 x 16)  a[i]: row g + 8 (i % 2), columns 2 t + 8 (i / 2), + 1        b (16 x 8)  b[i]: rows 2 t + 8 i, + 1, column g
//   d (16 x 8)   d[i]: row g + 8 (i / 2), column 2 t + i % 2
// Of tf32, a (16 x 8)  a[i]: row g + 8 (i % 2), column t + 4 (i / 2)     b (8 x 8)  b[i]: row t + 4 i, column g
#pragma once
#include <bit>
#include "cpp/core/dtype.h"
#include "cuda/arch/place.cuh"
#include "cuda/arch/shared.cuh"

namespace lc::cuda {

#ifdef LC_EMULATED
template <class T> constexpr emulator::Element element_of = std::is_same_v<T, bfloat16> ? emulator::Element::bfloat16
    : std::is_same_v<T, float16>                                                        ? emulator::Element::float16
                                                                                        : emulator::Element::tf32;
#endif

// Four matrices: lane 8 i + j points to row j of matrix i; r[i] is matrix i, elements (lane / 4, 2 (lane % 4)) and + 1.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::load_matrix(r, row, false, place);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void* row LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::load_matrix(r, row, true, place);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void store_matrices(void* row, const uint32_t (&r)[4] LC_AND_PLACE) {      // sm_90
#ifdef LC_EMULATED
    emulator::store_matrix(row, r, false, place);
#else
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
#endif
}

// d += a b for 16-bit T.
template <class T> __device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::mma_16x8x16(d, a, b, element_of<T>, place);
#else
    if constexpr (std::is_same_v<T, bfloat16>)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The bits of a float to those of a tf32: 10 bits of mantissa, to nearest, halves away from zero.
__device__ __forceinline__ uint32_t round_to_tf32(uint32_t x) {
    uint32_t y;
#ifdef LC_EMULATED
    y = ((x & 0x7fffffff) < 0x7f800000 ? x + 0x1000 : x) & 0xffffe000;
#else
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(std::bit_cast<float>(x)));
#endif
    return y;
}

// d += a b for tf32, of which the last 13 bits are not looked at.
__device__ __forceinline__ void mma_16x8x8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::mma_16x8x8_tf32(d, a, b, place);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

}  // namespace lc::cuda
